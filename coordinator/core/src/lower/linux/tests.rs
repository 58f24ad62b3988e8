//! What reaches Linux containers of what a manifest says.

use dunlin_link::{Bytes, linux::Signal, volumes::VolumePart};
use serde_json::{Value, json};

use super::*;

fn lowered(spec: Value) -> PodLinux {
    pod_linux(&serde_json::from_value(spec).unwrap(), None, &PodEphemeral::default())
}

/// What one container is told that says this, in a pod with this security context.
fn container(pod: Value, container: Value) -> ContainerLinux {
    let lowered = lowered(json!({ "securityContext": pod, "containers": [container] }));
    lowered.of(0).cloned().unwrap_or_default()
}

fn context(pod: Value, own: Value) -> ContainerLinux {
    container(pod, json!({ "name": "c", "securityContext": own }))
}

#[test]
fn a_pod_that_says_what_happens_anyway_says_nothing() {
    let silent = lowered(json!({
        "dnsPolicy": "ClusterFirst", "securityContext": {}, "hostPID": false, "shareProcessNamespace": false,
        "volumes": [{ "name": "unused", "image": { "reference": "i" } }],
        "initContainers": [{ "name": "i" }],
        "containers": [{
            "name": "c", "tty": false, "ports": [{ "containerPort": 80, "hostPort": 80, "hostIP": "0.0.0.0" }],
            "securityContext": {
                "allowPrivilegeEscalation": true, "privileged": false, "procMount": "Default",
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumeMounts": [{ "name": "v", "mountPath": "/v", "mountPropagation": "None" }],
        }],
    }));
    assert!(silent.is_default(), "{silent:?}");
}

#[test]
fn what_containers_share_is_carried() {
    let spec = json!({
        "hostIPC": true, "shareProcessNamespace": true, "subdomain": "sub", "setHostnameAsFQDN": true,
        "securityContext": {
            "fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [5, 6],
            "supplementalGroupsPolicy": "Strict", "sysctls": [{ "name": "kernel.shm_rmid_forced", "value": "1" }],
        },
        "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["a", "b"] }],
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["10.0.0.53"], "searches": ["x"],
            "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }],
        },
        "containers": [{ "name": "c" }],
    });
    let pod = pod_linux(&serde_json::from_value(spec).unwrap(), Some("Burstable"), &PodEphemeral::default());
    assert_eq!((pod.qos, pod.processes, pod.host_ipc), (QosClass::Burstable, ProcessNamespace::Pod, true));
    assert_eq!((&*pod.subdomain, pod.hostname_is_fqdn), ("sub", true));
    assert_eq!(pod.fs_group, Some(FsGroup { gid: 2000, policy: FsGroupPolicy::OnRootMismatch }));
    assert_eq!(pod.groups().collect::<Vec<_>>(), [2000, 5, 6]);
    assert_eq!(pod.groups_policy, GroupsPolicy::Strict);
    assert_eq!(pod.sysctls, [("kernel.shm_rmid_forced".to_owned(), "1".to_owned())]);
    assert_eq!(
        pod.host_aliases,
        [HostAlias { ip: "10.0.0.1".into(), hostnames: vec!["a".into(), "b".into()] }]
    );
    let options = vec![("ndots".to_owned(), Some("2".to_owned())), ("edns0".to_owned(), None)];
    let dns = PodDns {
        policy: DnsPolicy::None,
        nameservers: vec!["10.0.0.53".into()],
        searches: vec!["x".into()],
        options,
    };
    assert_eq!(pod.dns, dns);
    assert!(pod.containers.is_empty());
}

#[test]
fn the_machines_network_has_the_machines_names() {
    let check = |spec: Value, expected| {
        let mut spec = spec;
        spec["containers"] = json!([]);
        assert_eq!(lowered(spec.clone()).dns.policy, expected, "{spec}");
    };
    check(json!({}), DnsPolicy::ClusterFirst);
    check(json!({ "hostNetwork": true, "dnsPolicy": "ClusterFirst" }), DnsPolicy::Default);
    check(json!({ "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet" }), DnsPolicy::ClusterFirst);
    check(json!({ "dnsPolicy": "Default" }), DnsPolicy::Default);
    let overridden = lowered(json!({ "hostnameOverride": "h.x", "subdomain": "s", "containers": [] }));
    assert_eq!(overridden.subdomain, "");
    let both = lowered(json!({ "hostPID": true, "shareProcessNamespace": false, "containers": [] }));
    assert_eq!(both.processes, ProcessNamespace::Host);
}

#[test]
fn a_container_counts_before_its_pod() {
    let pod = json!({
        "runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true,
        "seccompProfile": { "type": "Localhost", "localhostProfile": "p.json" },
        "appArmorProfile": { "type": "RuntimeDefault" },
    });
    let inherits = context(pod.clone(), json!({}));
    assert_eq!((inherits.uid, inherits.gid, inherits.refuse_root), (Some(1), Some(2), true));
    assert_eq!(inherits.seccomp, SeccompProfile::Localhost("p.json".into()));
    assert_eq!(inherits.app_armor, AppArmorProfile::RuntimeDefault);
    let own = json!({
        "runAsUser": 0, "runAsNonRoot": false, "readOnlyRootFilesystem": true,
        "seccompProfile": { "type": "Unconfined" },
        "appArmorProfile": { "type": "Localhost", "localhostProfile": "tight" },
    });
    let replaces = context(pod, own);
    assert_eq!((replaces.uid, replaces.gid, replaces.refuse_root), (Some(0), Some(2), false));
    assert!(replaces.read_only_root);
    assert_eq!(replaces.seccomp, SeccompProfile::Unconfined);
    assert_eq!(replaces.app_armor, AppArmorProfile::Localhost("tight".into()));
}

#[test]
fn privileges_are_given_and_taken_as_kubernetes_does() {
    let add = |name: &str| json!({ "allowPrivilegeEscalation": false, "capabilities": { "add": [name], "drop": ["all"] } });
    let bounded = context(json!({}), add("CAP_NET_ADMIN"));
    assert!(bounded.no_new_privileges && !bounded.privileged);
    assert_eq!((&*bounded.add_capabilities[0], &*bounded.drop_capabilities[0]), ("NET_ADMIN", "ALL"));
    assert!(!context(json!({}), add("SYS_ADMIN")).no_new_privileges);
    let profile = json!({ "type": "RuntimeDefault" });
    let own = json!({ "privileged": true, "allowPrivilegeEscalation": false, "procMount": "Unmasked" });
    let privileged = context(json!({ "seccompProfile": profile, "appArmorProfile": profile }), own);
    assert!(privileged.privileged && !privileged.no_new_privileges && privileged.unmasked_proc);
    assert_eq!(privileged.seccomp, SeccompProfile::Unconfined);
    assert_eq!(privileged.app_armor, AppArmorProfile::Unconfined);
}

#[test]
fn everything_else_of_a_container_is_carried() {
    let said = container(
        json!({}),
        json!({
            "name": "c", "stdin": true, "stdinOnce": true, "tty": true,
            "lifecycle": { "stopSignal": "SIGUSR1" },
            "resources": { "limits": { "hugepages-2Mi": "64Mi", "cpu": "1" } },
            "volumeDevices": [{ "name": "disk", "devicePath": "/dev/x" }],
            "ports": [
                { "containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1" },
                { "containerPort": 81, "hostIP": "127.0.0.1" },
            ],
            "volumeMounts": [
                { "name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional" },
                { "name": "v", "mountPath": "/b", "recursiveReadOnly": "Enabled", "readOnly": true },
            ],
        }),
    );
    assert_eq!((said.stdin, said.tty, said.stop_signal), (Stdin::Once, true, Some(Signal(10))));
    assert_eq!(said.huge_pages, [(Bytes(2 << 20), Bytes(64 << 20))]);
    assert_eq!(said.devices, [VolumeDevice { volume: "disk".into(), path: "/dev/x".into() }]);
    let [address] = said.host_addresses.as_slice() else { panic!("{:?}", said.host_addresses) };
    assert_eq!((address.host_port, &*address.address), (8080, "127.0.0.1"));
    let mounts: Vec<_> = said
        .mounts
        .iter()
        .map(|mount| (&*mount.path, mount.propagation, mount.recursive_read_only))
        .collect();
    assert_eq!(
        mounts,
        [
            ("/a", MountPropagation::Bidirectional, RecursiveReadOnly::Disabled),
            ("/b", MountPropagation::None, RecursiveReadOnly::Enabled),
        ]
    );
}

#[test]
fn what_volumes_of_own_images_are_is_told_beside() {
    let mounts = ["own", "missing", "foreign"].map(|name| json!({ "name": name, "mountPath": name }));
    let pod = json!({
        "metadata": {},
        "spec": {
            "volumes": [
                { "name": "own", "image": { "reference": "dunlin.local/m:1" } },
                { "name": "missing", "image": { "reference": "dunlin.local/n" } },
                { "name": "unused", "image": { "reference": "dunlin.local/m:1" } },
                { "name": "foreign", "image": { "reference": "r.io/m:1" } },
            ],
            "containers": [{ "name": "c", "volumeMounts": mounts }],
        },
    });
    let digest = Digest::of(b"m");
    let resolve = |image: &str| if image == "dunlin.local/m:1" { Ok(digest) } else { Err("no".to_owned()) };
    let told = crate::lower::lower(pod.to_string().as_bytes(), &resolve).unwrap().volume_images;
    let image = |volume: &str, digest, unresolved: &str| VolumeImage {
        volume: volume.into(),
        digest,
        unresolved: unresolved.into(),
    };
    assert_eq!(told.volumes, [image("own", Some(digest), ""), image("missing", None, "no")]);
}

#[test]
fn images_are_volumes() {
    let pod = lowered(json!({
        "volumes": [
            { "name": "model", "image": { "reference": "r/m:1", "pullPolicy": "Always" } },
            { "name": "unused", "image": { "reference": "r/u:1" } },
        ],
        "initContainers": [{ "name": "i" }],
        "containers": [{
            "name": "c",
            "volumeMounts": [{ "name": "model", "mountPath": "/m", "subPath": "weights", "readOnly": true }],
        }],
    }));
    let volume = ImageVolume {
        name: "model".into(),
        reference: "r/m:1".into(),
        pull_policy: dunlin_link::pod::PullPolicy::Always,
    };
    assert_eq!(pod.images, [volume]);
    assert!(pod.of(0).unwrap().images.is_empty());
    let part = VolumePart::Path("weights".into());
    assert_eq!(pod.of(1).unwrap().images, [ImageMount { volume: "model".into(), path: "/m".into(), part }]);
    assert!(pod.of(1).unwrap().mounts.is_empty());
}
