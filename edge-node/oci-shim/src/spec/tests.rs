//! Bundles as runtimes read them.

use dunlin_edge_node_core::sandbox::{
    Owner,
    linux::{LinuxMount, LinuxResources, LinuxUser, PodNetwork, Propagation, Seccomp, Security, Share},
};
use dunlin_link::{ContainerId, volumes::Access};
use serde_json::{Value, json};

use super::*;

/// A container that says as little as possible.
fn container() -> LinuxSpec {
    LinuxSpec {
        id: ContainerId::new("i"),
        owner: Owner {
            pod_uid: "u".into(),
            namespace: "n".into(),
            pod: "p".into(),
            container: "c".into(),
            attempt: 0,
        },
        layers: Vec::new(),
        args: vec!["run".into()],
        env: Vec::new(),
        working_dir: String::new(),
        user: LinuxUser::default(),
        stdio: Stdio::Log,
        log: String::new(),
        resources: LinuxResources::default(),
        security: Security { seccomp: Seccomp::Unconfined, ..Security::default() },
        mounts: Vec::new(),
        volumes: Vec::new(),
        devices: Vec::new(),
        hosts: String::new(),
        resolv_conf: String::new(),
        termination_message: None,
        processes_of: None,
        stop_signal: 15,
    }
}

/// A pod that says as little as possible.
fn pod() -> LinuxPod {
    LinuxPod {
        hostname: "gull".into(),
        network: PodNetwork::Own,
        ipc: Share::Own,
        processes: ProcessSharing::Container,
        cgroup: "/dunlin/podu".into(),
        resources: LinuxResources::default(),
        sysctls: Vec::new(),
    }
}

/// What of the bundle is at `pointer`, in such a pod.
fn check(container: &LinuxSpec, pointer: &str, expected: &Value) {
    check_in(&pod(), container, pointer, expected);
}

/// What of the bundle is at `pointer`.
fn check_in(pod: &LinuxPod, container: &LinuxSpec, pointer: &str, expected: &Value) {
    let sources: Vec<_> = container.mounts.iter().map(|mount| PathBuf::from(&mount.source)).collect();
    let namespaces = shared_namespaces(pod.network, pod.ipc);
    let namespaces = namespaces.into_iter().map(|kind| (kind, PathBuf::from(format!("/ns/{kind}"))));
    let cgroup = CgroupPath::parse(&pod.cgroup).unwrap().child("i").unwrap();
    let place = Place {
        pod,
        cgroup: &cgroup,
        rootfs: Path::new("/rootfs"),
        shared: Path::new("/pod"),
        namespaces: namespaces.collect(),
        user: ResolvedUser { uid: 3, gid: 4, groups: vec![5], home: Some("/home".into()) },
        sources: &sources,
        image_volumes: &[],
        available: Available { capabilities: u64::MAX >> 23, own_oom_score_adj: 0 },
        devices: Vec::new(),
        cgroup_view: View::Shown,
        swap: Swap::Counted,
        short_of_memory: ShortOfMemory::EndsAll,
        page_sizes: &[],
        seccomp: None,
    };
    let built = serde_json::to_value(build(container, &place)).unwrap();
    assert_eq!(built.pointer(pointer).unwrap_or(&Value::Null), expected, "{pointer}");
}

#[test]
fn a_process_is_who_it_should_be_and_knows_where_it_is() {
    let mut c = container();
    check(&c, "/ociVersion", &json!("1.0.2"));
    check(&c, "/root", &json!({"path": "/rootfs", "readonly": false}));
    check(&c, "/process/user", &json!({"uid": 3, "gid": 4, "additionalGids": [5]}));
    check(&c, "/process/cwd", &json!("/"));
    check(&c, "/process/terminal", &json!(false));
    check(&c, "/process/env", &json!([PATH, "HOSTNAME=gull", "HOME=/home"]));
    c.env = vec![("HOME".into(), "/own".into()), ("PATH".into(), "/bin".into())];
    (c.stdio, c.working_dir) = (Stdio::Terminal, "/srv".into());
    check(&c, "/process/env", &json!(["HOME=/own", "PATH=/bin", "HOSTNAME=gull", "TERM=xterm"]));
    check(&c, "/process/terminal", &json!(true));
    check(&c, "/process/cwd", &json!("/srv"));
    c.security.read_only_root = true;
    check(&c, concat!("/root", "/readonly"), &json!(true));
}

#[test]
fn a_container_is_in_the_namespaces_of_its_pod() {
    let kinds = |kinds: &[&str]| {
        let path = |kind: &str| match kind {
            "network" => Some("/ns/net"),
            "uts" => Some("/ns/uts"),
            "ipc" => Some("/ns/ipc"),
            _ => None,
        };
        let namespace = |kind: &&str| match path(kind) {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        };
        kinds.iter().map(namespace).collect::<Value>()
    };
    let (c, mut p) = (container(), pod());
    check(&c, "/linux/namespaces", &kinds(&["mount", "cgroup", "pid", "network", "uts", "ipc"]));
    p.network = PodNetwork::Host;
    check_in(&p, &c, "/linux/namespaces", &kinds(&["mount", "cgroup", "pid", "ipc"]));
    (p.ipc, p.processes) = (Share::Host, ProcessSharing::Host);
    check_in(&p, &c, "/linux/namespaces", &kinds(&["mount", "cgroup"]));
    p.processes = ProcessSharing::Pod;
    check_in(&p, &c, "/linux/namespaces", &kinds(&["mount", "cgroup"]));
    check(&c, "/linux/cgroupsPath", &json!("/dunlin/podu/i"));
}

#[test]
fn what_hides_the_machine_can_be_taken_away() {
    let mut c = container();
    check(&c, "/linux/readonlyPaths", &json!(get_default_readonly_paths()));
    check(&c, "/linux/maskedPaths", &json!(masked_paths()));
    check(&c, "/linux/resources/devices", &json!([{"allow": false, "access": "rwm"}]));
    check(&c, "/linux/resources/unified", &json!({"memory.oom.group": "1"}));
    c.security.unmasked_proc = true;
    check(&c, "/linux/maskedPaths", &Value::Null);
    c.security = Security { privileged: true, ..Security::default() };
    check(&c, "/linux/readonlyPaths", &Value::Null);
    check(&c, "/linux/seccomp", &Value::Null);
    check(&c, "/linux/resources/devices", &json!([{"allow": true, "access": "rwm"}]));
}

#[test]
fn outer_mounts_come_before_inner_ones() {
    let mount = |source: &str, path: &str, access, propagation| LinuxMount {
        layers: Vec::new(),
        source: source.into(),
        inside: String::new(),
        path: path.into(),
        access,
        propagation,
        all_read_only: false,
    };
    let mut c = container();
    c.mounts = vec![
        mount("/inner", "/data/deep/er", Access::ReadOnly, Propagation::None),
        mount("/outer", "/data", Access::ReadWrite, Propagation::HostToContainer),
        mount("/names", "/etc/hosts", Access::ReadOnly, Propagation::None),
    ];
    let bind = |path: &str, source: &str, options: &[&str]| json!({"destination": path, "type": "bind", "source": source, "options": options});
    check(&c, "/mounts/7", &bind("/data", "/outer", &["rbind", "rslave", "rw"]));
    check(&c, "/mounts/8", &bind("/etc/hostname", "/pod/hostname", &["rbind", "rprivate", "rw"]));
    check(&c, "/mounts/10", &bind("/etc/hosts", "/names", &["rbind", "rprivate", "ro"]));
    check(&c, "/mounts/11", &bind("/data/deep/er", "/inner", &["rbind", "rprivate", "ro"]));
    check(&c, "/mounts/12", &Value::Null);
    check(&c, "/linux/rootfsPropagation", &json!("slave"));
    // One over all of the pod's files hides none of them, and one in place of what all have takes that place.
    c.mounts = vec![
        mount("/all", "/etc/", Access::ReadWrite, Propagation::None),
        mount("/own", "/dev/shm", Access::ReadWrite, Propagation::None),
    ];
    c.security.read_only_root = true;
    check(&c, "/mounts/6", &bind("/etc/", "/all", &["rbind", "rprivate", "rw"]));
    check(&c, "/mounts/7", &bind("/etc/hosts", "/pod/hosts", &["rbind", "rprivate", "ro"]));
    check(&c, "/mounts/10", &bind("/dev/shm", "/own", &["rbind", "rprivate", "rw"]));
    check(&c, "/mounts/11", &Value::Null);
}

#[test]
fn another_process_is_like_the_first() {
    let (c, pod) = (container(), pod());
    let cgroup = CgroupPath::parse(&pod.cgroup).unwrap();
    let place = Place {
        pod: &pod,
        cgroup: &cgroup,
        rootfs: Path::new("/rootfs"),
        shared: Path::new("/pod"),
        namespaces: Vec::new(),
        user: ResolvedUser::default(),
        sources: &[],
        image_volumes: &[],
        available: Available { capabilities: 0, own_oom_score_adj: 0 },
        devices: Vec::new(),
        cgroup_view: View::Shown,
        swap: Swap::Counted,
        short_of_memory: ShortOfMemory::EndsOne,
        page_sizes: &[],
        seccomp: None,
    };
    let own = process(&c, &place);
    let request = ExecRequest {
        uid: dunlin_link::PodUid::new("u"),
        container: "c".into(),
        command: vec!["other".into()],
        stdin: false,
        stdout: true,
        stderr: false,
        tty: true,
    };
    let other = exec_process(&own, &request);
    assert_eq!(other.args(), &Some(vec!["other".to_owned()]));
    assert!(other.env().iter().flatten().any(|entry| entry == TERM));
    assert_eq!((other.terminal(), own.terminal()), (Some(true), Some(false)));
    assert_eq!((other.user(), other.capabilities()), (own.user(), own.capabilities()));
}
