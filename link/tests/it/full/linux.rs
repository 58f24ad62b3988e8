//! What pods say of Linux containers, with every field filled and every variant held.

use dunlin_link::{
    Bytes, PodUid,
    linux::{
        AppArmorProfile, ContainerLinux, DnsPolicy, FsGroup, FsGroupPolicy, GroupsPolicy, HostAddress,
        HostAlias, ImageMount, ImageVolume, MountOptions, MountPropagation, PodDns, PodLinux,
        ProcessNamespace, QosClass, RecursiveReadOnly, SeccompProfile, Signal, Stdin, VolumeDevice,
    },
    message::AssignmentLinux,
    pod::{Protocol, PullPolicy},
    volumes::VolumePart,
};

/// Of three pods.
pub(crate) fn linux() -> AssignmentLinux {
    let fs_group = |policy| Some(FsGroup { gid: 2000, policy });
    let dns = |policy| PodDns { policy, ..PodDns::default() };
    let first = PodLinux {
        qos: QosClass::Burstable,
        processes: ProcessNamespace::Pod,
        host_ipc: true,
        sysctls: vec![("net.ipv4.ip_unprivileged_port_start".into(), "0".into())],
        fs_group: fs_group(FsGroupPolicy::Always),
        supplemental_groups: vec![1, 300],
        groups_policy: GroupsPolicy::Strict,
        host_aliases: vec![HostAlias {
            ip: "10.0.0.9".into(),
            hostnames: vec!["a".into(), "b.example".into()],
        }],
        dns: PodDns {
            policy: DnsPolicy::None,
            nameservers: vec!["10.0.0.53".into()],
            searches: vec!["example".into()],
            options: vec![("ndots".into(), Some("2".into())), ("edns0".into(), None)],
        },
        subdomain: "sub".into(),
        hostname_is_fqdn: true,
        images: vec![ImageVolume {
            name: "model".into(),
            reference: "registry.example/model:1".into(),
            pull_policy: PullPolicy::Always,
        }],
        containers: containers(),
    };
    let second = PodLinux {
        qos: QosClass::Guaranteed,
        processes: ProcessNamespace::Host,
        fs_group: fs_group(FsGroupPolicy::OnRootMismatch),
        dns: dns(DnsPolicy::Default),
        ..PodLinux::default()
    };
    let third = PodLinux { containers: vec![ContainerLinux::default()], ..PodLinux::default() };
    let pods = [first, second, third].into_iter().zip(1..);
    AssignmentLinux {
        linux: pods.map(|(linux, number)| (PodUid::new(format!("uid-{number}")), linux)).collect(),
    }
}

pub(super) fn containers() -> Vec<ContainerLinux> {
    let mount = |path: &str, propagation, recursive_read_only| MountOptions {
        path: path.into(),
        propagation,
        recursive_read_only,
    };
    let full = ContainerLinux {
        uid: Some(1000),
        gid: Some(3000),
        refuse_root: true,
        privileged: true,
        read_only_root: true,
        no_new_privileges: true,
        add_capabilities: vec!["NET_ADMIN".into()],
        drop_capabilities: vec!["ALL".into()],
        seccomp: SeccompProfile::Localhost("audit.json".into()),
        app_armor: AppArmorProfile::Localhost("tight".into()),
        unmasked_proc: true,
        stdin: Stdin::Once,
        tty: true,
        stop_signal: Some(Signal(3)),
        huge_pages: vec![(Bytes(2 << 20), Bytes(64 << 20))],
        mounts: vec![
            mount("/a", MountPropagation::HostToContainer, RecursiveReadOnly::Disabled),
            mount("/b", MountPropagation::Bidirectional, RecursiveReadOnly::IfPossible),
            mount("/c", MountPropagation::None, RecursiveReadOnly::Enabled),
        ],
        images: vec![ImageMount {
            volume: "model".into(),
            path: "/model".into(),
            part: VolumePart::Path("weights".into()),
        }],
        devices: vec![VolumeDevice { volume: "disk".into(), path: "/dev/xvda".into() }],
        host_addresses: vec![HostAddress {
            host_port: 8080,
            protocol: Protocol::Udp,
            address: "127.0.0.1".into(),
        }],
    };
    let open = ContainerLinux {
        seccomp: SeccompProfile::Unconfined,
        app_armor: AppArmorProfile::Unconfined,
        stdin: Stdin::Open,
        ..ContainerLinux::default()
    };
    let usual = ContainerLinux {
        seccomp: SeccompProfile::RuntimeDefault,
        app_armor: AppArmorProfile::RuntimeDefault,
        ..ContainerLinux::default()
    };
    vec![full, open, usual]
}
