//! What files pods see, with every field filled and every variant held.

use dunlin_link::{
    Bytes, PodUid,
    message::AssignmentVolumes,
    pod::ConfigKind,
    volumes::{
        Access, ConfigItem, ContainerFiles, DownwardItem, DownwardValue, HostPathKind, Medium, PodVolumes,
        Projection, Volume, VolumeMount, VolumePart, VolumeSource,
    },
};

/// Volumes of two pods.
pub(crate) fn volumes() -> AssignmentVolumes {
    let mount =
        |path: &str, part, access| VolumeMount { volume: "v".into(), path: path.into(), part, access };
    let mounts = vec![
        mount("/a", VolumePart::Whole, Access::ReadWrite),
        mount("/b", VolumePart::Path("c/d".into()), Access::ReadOnly),
        mount("/e", VolumePart::Expression("$(F)".into()), Access::ReadOnly),
    ];
    let containers = vec![
        ContainerFiles::default(),
        ContainerFiles { mounts, termination_message_path: Some("/t".into()) },
    ];
    let last = ContainerFiles { termination_message_path: Some("/x".into()), ..ContainerFiles::default() };
    AssignmentVolumes {
        volumes: vec![
            (PodUid::new("uid-1"), PodVolumes { volumes: sources(), containers }),
            (PodUid::new("uid-2"), PodVolumes { containers: vec![last], ..PodVolumes::default() }),
        ],
    }
}

fn sources() -> Vec<Volume> {
    let empty = |medium, size_limit| VolumeSource::EmptyDir { medium, size_limit };
    let host = |kind| VolumeSource::HostPath { path: "/h".into(), kind };
    let sources = [
        empty(Medium::Disk, None),
        empty(Medium::Memory, Some(Bytes(300))),
        host(HostPathKind::Unset),
        host(HostPathKind::DirectoryOrCreate),
        host(HostPathKind::Directory),
        host(HostPathKind::FileOrCreate),
        host(HostPathKind::File),
        host(HostPathKind::Socket),
        host(HostPathKind::CharDevice),
        host(HostPathKind::BlockDevice),
        VolumeSource::Projected { default_mode: 0o644, sources: vec![config(), secret(), downward()] },
    ];
    let named = sources.into_iter().enumerate();
    named.map(|(number, source)| Volume { name: format!("v{number}"), source }).collect()
}

fn config() -> Projection {
    let item = |mode| ConfigItem { key: "k".into(), path: "p/q".into(), mode };
    let items = vec![item(None), item(Some(0o400))];
    Projection::Config { kind: ConfigKind::ConfigMap, name: "c".into(), items, optional: true }
}

fn secret() -> Projection {
    Projection::Config { kind: ConfigKind::Secret, name: "s".into(), items: Vec::new(), optional: false }
}

fn downward() -> Projection {
    let resource =
        DownwardValue::Resource { container: "c".into(), resource: "limits.cpu".into(), divisor_milli: 1000 };
    let field = DownwardValue::Field("metadata.labels".into());
    Projection::Downward {
        items: vec![
            DownwardItem { path: "l".into(), mode: Some(0o600), value: field },
            DownwardItem { path: "r".into(), mode: None, value: resource },
        ],
    }
}
