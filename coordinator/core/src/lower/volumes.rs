//! What files containers see: volumes, mounts, and where last words are left.
//!
//! A volume of a kind that no node serves is left out, but its mounts are not, so that containers wait for it; what it is, they say beside
//! (`refused_fields`). The API warns of it when the pod is written.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{
    ephemeral::PodEphemeral,
    pod::{ConfigKind, ConfigRef},
    volumes::{
        Access, ConfigItem, ContainerFiles, DownwardItem, DownwardValue, HostPathKind, Medium, PodVolumes,
        Projection, TERMINATION_MESSAGE_PATH, Volume, VolumeMount, VolumePart, VolumeSource,
    },
};
use k8s_openapi::api::core::v1;

use super::divisor_milli;
use crate::amounts;

/// Of a pod; the default where there is nothing to say.
pub(super) fn pod_volumes(spec: &v1::PodSpec, ephemeral: &PodEphemeral) -> PodVolumes {
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let mounted: BTreeSet<&str> = all()
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .map(|mount| &*mount.name)
        .chain(ephemeral.containers.iter().flat_map(|added| &added.files.mounts).map(|mount| &*mount.volume))
        .collect();
    let volumes: Vec<Volume> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| mounted.contains(&*volume.name))
        .filter_map(|volume| Some(Volume { name: volume.name.clone(), source: source(volume)? }))
        .collect();
    let images = images(spec);
    let mut containers: Vec<_> = all().map(|container| files(container, &images)).collect();
    if containers.iter().all(|files| *files == ContainerFiles::default()) {
        containers.clear();
    }
    PodVolumes { volumes, containers }
}

/// Volumes that are images: they are mounted beside the others.
pub(super) fn images(spec: &v1::PodSpec) -> BTreeSet<&str> {
    let images = spec.volumes.iter().flatten().filter(|volume| volume.image.is_some());
    images.map(|volume| &*volume.name).collect()
}

/// Volumes that no node can serve, or not all of, with the fields that say so.
pub(super) type Unserved = BTreeMap<String, Vec<String>>;

/// Of a pod.
pub(super) fn unserved(spec: &v1::PodSpec) -> Unserved {
    let volumes = spec.volumes.iter().flatten().filter(|volume| volume.image.is_none());
    let unserved = volumes.filter_map(|volume| {
        let fields = match &volume.projected {
            Some(projected) => unserved_sources(projected),
            None if source(volume).is_some() => Vec::new(),
            None => kind(volume).into_iter().collect(),
        };
        (!fields.is_empty()).then(|| (volume.name.clone(), fields))
    });
    unserved.collect()
}

/// Fields that keep a container from starting: those of the volumes that it mounts.
pub(super) fn refused(container: &v1::Container, unserved: &Unserved) -> Vec<String> {
    let mounted: BTreeSet<&str> =
        container.volume_mounts.iter().flatten().map(|mount| &*mount.name).collect();
    let volumes = mounted.into_iter().filter_map(|name| Some((name, unserved.get(name)?)));
    volumes
        .flat_map(|(name, fields)| fields.iter().map(move |field| format!("volumes[{name}].{field}")))
        .collect()
}

fn unserved_sources(projected: &v1::ProjectedVolumeSource) -> Vec<String> {
    let sources = projected.sources.iter().flatten().enumerate();
    let unserved = sources.filter_map(|(index, source)| {
        let bundle = source.cluster_trust_bundle.as_ref();
        let kind = match (bundle, &source.pod_certificate) {
            (Some(bundle), _) if bundle.optional != Some(true) => "clusterTrustBundle",
            (_, Some(_)) => "podCertificate",
            _ => return None,
        };
        Some(format!("projected.sources[{index}].{kind}"))
    });
    unserved.collect()
}

/// What says of what kind a volume is.
fn kind(volume: &v1::Volume) -> Option<String> {
    let json = serde_json::to_value(volume).ok()?;
    json.as_object()?.keys().find(|key| *key != "name").cloned()
}

/// The ConfigMaps and Secrets that volumes name.
pub(super) fn config_refs(volumes: &PodVolumes) -> impl Iterator<Item = ConfigRef> {
    let projections = volumes.volumes.iter().flat_map(|volume| match &volume.source {
        VolumeSource::Projected { sources, .. } => sources.as_slice(),
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => &[],
    });
    projections.filter_map(|projection| match projection {
        Projection::Config { kind, name, .. } => {
            Some(ConfigRef { kind: *kind, name: name.clone(), digest: None })
        }
        Projection::Downward { .. } => None,
    })
}

/// What a container sees but for the volumes that are images.
pub(super) fn files(container: &v1::Container, images: &BTreeSet<&str>) -> ContainerFiles {
    let mounts = container.volume_mounts.iter().flatten().filter(|mount| !images.contains(&*mount.name));
    let path = container.termination_message_path.clone();
    ContainerFiles {
        mounts: mounts.map(mount).collect(),
        termination_message_path: path.filter(|path| !path.is_empty() && path != TERMINATION_MESSAGE_PATH),
    }
}

/// What of its volume is mounted.
pub(super) fn volume_part(mount: &v1::VolumeMount) -> VolumePart {
    let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (Some(path), _) => VolumePart::Path(path),
        (None, Some(expression)) => VolumePart::Expression(expression),
        (None, None) => VolumePart::Whole,
    }
}

fn mount(mount: &v1::VolumeMount) -> VolumeMount {
    let part = volume_part(mount);
    let access = if mount.read_only == Some(true) { Access::ReadOnly } else { Access::ReadWrite };
    VolumeMount { volume: mount.name.clone(), path: mount.mount_path.clone(), part, access }
}

/// `None` for a kind that nodes do not serve.
fn source(volume: &v1::Volume) -> Option<VolumeSource> {
    if let Some(empty) = &volume.empty_dir {
        let is_memory = empty.medium.as_deref() == Some("Memory");
        return Some(VolumeSource::EmptyDir {
            medium: if is_memory { Medium::Memory } else { Medium::Disk },
            size_limit: empty.size_limit.as_ref().map(amounts::bytes).filter(|limit| limit.0 > 0),
        });
    }
    if let Some(host) = &volume.host_path {
        let kind = host_path_kind(host.type_.as_deref().unwrap_or_default());
        return Some(VolumeSource::HostPath { path: host.path.clone(), kind });
    }
    let (default_mode, sources) = if let Some(map) = &volume.config_map {
        let source = (map.name.as_str(), &map.items, map.optional);
        (map.default_mode, vec![config(ConfigKind::ConfigMap, source)])
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        (secret.default_mode, vec![config(ConfigKind::Secret, (name, &secret.items, secret.optional))])
    } else if let Some(downward) = &volume.downward_api {
        (downward.default_mode, vec![self::downward(downward.items.as_ref())])
    } else {
        let projected = volume.projected.as_ref()?;
        (projected.default_mode, projected.sources.iter().flatten().filter_map(projection).collect())
    };
    Some(VolumeSource::Projected { default_mode: mode(default_mode).unwrap_or(MODE_DEFAULT), sources })
}

/// `None` for a source that nodes do not serve, and for tokens, which are told beside the volumes.
pub(super) fn projection(source: &v1::VolumeProjection) -> Option<Projection> {
    if let Some(map) = &source.config_map {
        return Some(config(ConfigKind::ConfigMap, (&map.name, &map.items, map.optional)));
    }
    if let Some(secret) = &source.secret {
        return Some(config(ConfigKind::Secret, (&secret.name, &secret.items, secret.optional)));
    }
    source.downward_api.as_ref().map(|downward| self::downward(downward.items.as_ref()))
}

type ConfigSource<'a> = (&'a str, &'a Option<Vec<v1::KeyToPath>>, Option<bool>);

fn config(kind: ConfigKind, (name, items, optional): ConfigSource<'_>) -> Projection {
    let items = items.iter().flatten().map(|item| ConfigItem {
        key: item.key.clone(),
        path: item.path.clone(),
        mode: mode(item.mode),
    });
    let items = items.collect();
    Projection::Config { kind, name: name.to_owned(), items, optional: optional.unwrap_or(false) }
}

fn downward(items: Option<&Vec<v1::DownwardAPIVolumeFile>>) -> Projection {
    let items = items.into_iter().flatten().filter_map(|item| {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => DownwardValue::Field(field.field_path.clone()),
            (None, Some(resource)) => DownwardValue::Resource {
                container: resource.container_name.clone().unwrap_or_default(),
                resource: resource.resource.clone(),
                divisor_milli: divisor_milli(resource.divisor.as_ref()),
            },
            (None, None) => return None,
        };
        Some(DownwardItem { path: item.path.clone(), mode: mode(item.mode), value })
    });
    Projection::Downward { items: items.collect() }
}

fn mode(mode: Option<i32>) -> Option<u32> {
    mode.and_then(|mode| u32::try_from(mode).ok())
}

fn host_path_kind(kind: &str) -> HostPathKind {
    match kind {
        "DirectoryOrCreate" => HostPathKind::DirectoryOrCreate,
        "Directory" => HostPathKind::Directory,
        "FileOrCreate" => HostPathKind::FileOrCreate,
        "File" => HostPathKind::File,
        "Socket" => HostPathKind::Socket,
        "CharDevice" => HostPathKind::CharDevice,
        "BlockDevice" => HostPathKind::BlockDevice,
        _ => HostPathKind::Unset,
    }
}

/// Kubernetes' default of `defaultMode`.
const MODE_DEFAULT: u32 = 0o644;

#[cfg(test)]
mod tests {
    use dunlin_link::Bytes;
    use serde_json::{Value, json};

    use super::*;

    fn lowered(spec: Value) -> PodVolumes {
        pod_volumes(&serde_json::from_value(spec).unwrap(), &PodEphemeral::default())
    }

    #[test]
    fn a_pod_that_says_nothing_of_files_has_nothing_to_say() {
        let bare = lowered(json!({
            "volumes": [{"name": "unused", "emptyDir": {}}],
            "containers": [{"name": "c", "terminationMessagePath": "/dev/termination-log"}],
        }));
        assert!(bare.is_default(), "{bare:?}");
    }

    #[test]
    fn every_source_is_carried_and_what_nodes_do_not_serve_is_waited_for() {
        let names = ["e", "m", "h", "c", "s", "d", "p", "claim"];
        let mounts: Vec<_> = names.iter().map(|name| json!({"name": name, "mountPath": "/x"})).collect();
        let field = json!({"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}});
        let lowered = lowered(json!({
            "volumes": [
                {"name": "e", "emptyDir": {}},
                {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "h", "hostPath": {"path": "/h", "type": "DirectoryOrCreate"}},
                {"name": "c", "configMap": {"name": "map", "defaultMode": 256, "items": [{"key": "k", "path": "a/b", "mode": 384}]}},
                {"name": "s", "secret": {"secretName": "sec", "optional": true}},
                {"name": "d", "downwardAPI": {"items": [field]}},
                {"name": "p", "projected": {"sources": [
                    {"secret": {"name": "sec2"}}, {"serviceAccountToken": {"path": "t"}},
                ]}},
                {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
            ],
            "containers": [{"name": "c", "volumeMounts": mounts}],
        }));
        let source = |name: &str| {
            lowered.volumes.iter().find(|volume| volume.name == name).map(|volume| volume.source.clone())
        };
        let empty = |medium, size_limit| Some(VolumeSource::EmptyDir { medium, size_limit });
        assert_eq!(source("e"), empty(Medium::Disk, None));
        assert_eq!(source("m"), empty(Medium::Memory, Some(Bytes(1 << 20))));
        let kind = HostPathKind::DirectoryOrCreate;
        assert_eq!(source("h"), Some(VolumeSource::HostPath { path: "/h".into(), kind }));
        let item = ConfigItem { key: "k".into(), path: "a/b".into(), mode: Some(0o600) };
        let config = |kind, name: &str, items, optional| Projection::Config {
            kind,
            name: name.into(),
            items,
            optional,
        };
        let projected =
            |default_mode, source| Some(VolumeSource::Projected { default_mode, sources: vec![source] });
        assert_eq!(source("c"), projected(0o400, config(ConfigKind::ConfigMap, "map", vec![item], false)));
        assert_eq!(source("s"), projected(0o644, config(ConfigKind::Secret, "sec", Vec::new(), true)));
        assert_eq!(source("p"), projected(0o644, config(ConfigKind::Secret, "sec2", Vec::new(), false)));
        let value = DownwardValue::Field("metadata.labels".into());
        let items = vec![DownwardItem { path: "l".into(), mode: None, value }];
        assert_eq!(source("d"), projected(0o644, Projection::Downward { items }));
        assert_eq!(source("claim"), None);
        assert_eq!(lowered.containers[0].mounts.len(), 8, "what is not served is missed");
        let named: Vec<_> = config_refs(&lowered).map(|config| config.name).collect();
        assert_eq!(named, ["map", "sec", "sec2"]);
    }

    #[test]
    fn what_nodes_do_not_serve_is_named_where_it_is_mounted() {
        let spec: v1::PodSpec = serde_json::from_value(json!({
            "volumes": [
                {"name": "n", "nfs": {"server": "s", "path": "/"}},
                {"name": "e", "emptyDir": {}},
                {"name": "i", "image": {"reference": "r"}},
                {"name": "p", "projected": {"sources": [
                    {"secret": {"name": "s"}},
                    {"podCertificate": {"keyType": "t", "signerName": "s"}},
                    {"clusterTrustBundle": {"path": "p", "optional": true}},
                ]}},
            ],
            "containers": [
                {"name": "a", "volumeMounts": [{"name": "p", "mountPath": "/p"}, {"name": "n", "mountPath": "/n"}, {"name": "n", "mountPath": "/m"}]},
                {"name": "b", "volumeMounts": [{"name": "e", "mountPath": "/e"}, {"name": "i", "mountPath": "/i"}]},
            ],
        })).unwrap();
        let unserved = unserved(&spec);
        let of = |index: usize| refused(&spec.containers[index], &unserved);
        assert_eq!(of(0), ["volumes[n].nfs", "volumes[p].projected.sources[1].podCertificate"]);
        assert_eq!(of(1), [""; 0]);
        let mounts: Vec<usize> = pod_volumes(&spec, &PodEphemeral::default())
            .containers
            .iter()
            .map(|files| files.mounts.len())
            .collect();
        assert_eq!(mounts, [3, 1]);
    }

    #[test]
    fn mounts_say_what_of_a_volume_and_how() {
        let mounts = json!([
            {"name": "e", "mountPath": "/a"},
            {"name": "e", "mountPath": "/b", "subPath": "x", "readOnly": true},
            {"name": "e", "mountPath": "/c", "subPathExpr": "$(Y)"},
        ]);
        let lowered = lowered(json!({
            "volumes": [{"name": "e", "emptyDir": {}}],
            "initContainers": [{"name": "i", "terminationMessagePath": "/msg"}],
            "containers": [{"name": "c", "volumeMounts": mounts}],
        }));
        assert_eq!(lowered.of(0).unwrap().termination_message_path.as_deref(), Some("/msg"));
        let of =
            |path: &str, part, access| VolumeMount { volume: "e".into(), path: path.into(), part, access };
        assert_eq!(
            lowered.of(1).unwrap().mounts,
            [
                of("/a", VolumePart::Whole, Access::ReadWrite),
                of("/b", VolumePart::Path("x".into()), Access::ReadOnly),
                of("/c", VolumePart::Expression("$(Y)".into()), Access::ReadWrite),
            ]
        );
    }
}
