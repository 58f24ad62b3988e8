//! What image and pod say together; texts of files as the kubelet writes them.

use std::sync::Arc;

use dunlin_link::{
    Bytes, ContainerId,
    linux::{DnsPolicy, FsGroup, FsGroupPolicy, HostAlias, PodDns, PodLinux, VolumeDevice},
    pod::ConfigObject,
    status::NodeResources,
};

use super::*;
use crate::{
    content::NoContent,
    pod::{ContainerIndex, fixture},
};

fn image() -> ImageDefaults {
    let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
    ImageDefaults {
        entrypoint: words(&["/entry", "$(A)"]),
        cmd: words(&["cmd"]),
        env: words(&["PATH=/bin", "A=of image", "B=kept", "EMPTY"]),
        working_dir: "/of-image".to_owned(),
        user: "app".to_owned(),
        volumes: words(&["/data", "/var//lib/", "cache"]),
        stop_signal: "SIGQUIT".to_owned(),
    }
}

fn spec_of(pod: &PodAssignment, material: LinuxMaterial) -> Result<LinuxSpec, ConfigError> {
    spec_on(pod, material, Kernel::Old)
}

/// Whether it makes mounts read-only with all below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Old,
    New,
}

fn spec_on(pod: &PodAssignment, material: LinuxMaterial, kernel: Kernel) -> Result<LinuxSpec, ConfigError> {
    let objects = |_: &_| -> Result<Arc<ConfigObject>, NoContent> { Err(NoContent::Absent) };
    let around = Surroundings {
        node_name: "n1",
        host_name: "machine",
        host_ip: "192.0.2.1",
        pod_ip: "10.42.0.5",
        allocatable: NodeResources { memory: Bytes(1 << 29), ..NodeResources::default() },
        capacity: NodeResources { memory: Bytes(1 << 30), ..NodeResources::default() },
        mounts_read_only_recursively: kernel == Kernel::New,
        se_linux: false,
        api: None,
        objects: &objects,
        tokens: &|_| None,
    };
    let launch = Launch { id: ContainerId::new("i"), attempt: 0, log: "l".to_owned(), target: None };
    container_spec((pod, ContainerIndex(0)), launch, material, &around)
}

fn spec(pod: &PodAssignment) -> LinuxSpec {
    spec_of(pod, LinuxMaterial { image: image(), ..LinuxMaterial::default() }).unwrap()
}

fn linux(pod: &mut PodAssignment) -> &mut PodLinux {
    pod.linux.as_mut().unwrap()
}

/// A pod with one container that says this.
fn saying(says: ContainerLinux) -> PodAssignment {
    let mut pod = fixture::pod(vec![fixture::container("c")]);
    pod.linux = Some(Box::new(PodLinux { containers: vec![says], ..PodLinux::default() }));
    pod
}

#[test]
fn what_is_mounted_takes_the_place_of_the_images_volumes() {
    let mount = |path: &str| LinuxMount {
        source: "/machine".to_owned(),
        layers: Vec::new(),
        inside: String::new(),
        path: path.to_owned(),
        access: Access::ReadWrite,
        propagation: Propagation::None,
        all_read_only: false,
    };
    let mounts = vec![mount("/var/lib"), mount("/cache/"), mount("/data/below")];
    let material = LinuxMaterial { image: image(), mounts, ..LinuxMaterial::default() };
    let spec = spec_of(&saying(ContainerLinux::default()), material).unwrap();
    assert_eq!(spec.volumes, ["/data"]);
}

#[test]
fn command_and_args_take_the_place_of_the_images() {
    let check = |command: &[&str], args: &[&str], expected: &[&str]| {
        let mut container = fixture::container("c");
        container.command = command.iter().map(|word| (*word).to_owned()).collect();
        container.args = args.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(spec(&fixture::pod(vec![container])).args, expected);
    };
    // What the image says is not expanded.
    check(&[], &[], &["/entry", "$(A)", "cmd"]);
    check(&[], &["x"], &["/entry", "$(A)", "x"]);
    check(&["/own"], &[], &["/own"]);
    check(&["/own"], &["$(HOSTNAME)", "$$(HOSTNAME)"], &["/own", "$(HOSTNAME)", "$(HOSTNAME)"]);
    let mut refused = saying(ContainerLinux::default());
    let mut refuse = |fields: &[&str]| {
        refused.spec.containers[0].refused_fields = fields.iter().map(|&field| field.to_owned()).collect();
        let material = LinuxMaterial { image: image(), ..LinuxMaterial::default() };
        spec_of(&refused, material).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(refuse(&["securityContext.seLinuxOptions", "securityContext.seccompProfile"]), Ok(()));
    let expected = "this node does not honour yet, and must not ignore: spec.hostUsers";
    assert_eq!(refuse(&["spec.hostUsers"]), Err(expected.to_owned()));
    let empty = spec_of(&saying(ContainerLinux::default()), LinuxMaterial::default());
    assert_eq!(empty.unwrap_err().to_string(), "no command specified");
}

#[test]
fn the_pods_variables_are_over_the_images() {
    let mut container = fixture::container("c");
    let variable = |name: &str, value: &str| dunlin_link::pod::EnvVar {
        name: name.to_owned(),
        value: dunlin_link::pod::EnvValue::Literal(value.to_owned()),
    };
    container.env = vec![variable("A", "own"), variable("C", "new")];
    let env = spec(&fixture::pod(vec![container])).env;
    let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["PATH=/bin", "A=own", "B=kept", "EMPTY=", "HOSTNAME=p", "C=new"]);
    let bare = spec_of(
        &saying(ContainerLinux { tty: true, ..ContainerLinux::default() }),
        LinuxMaterial {
            image: ImageDefaults { cmd: vec!["x".to_owned()], ..ImageDefaults::default() },
            ..LinuxMaterial::default()
        },
    );
    let env = bare.unwrap().env;
    assert_eq!(env[0], ("PATH".to_owned(), PATH.to_owned()));
    assert_eq!(env[1], ("TERM".to_owned(), "xterm".to_owned()));
}

#[test]
fn who_it_is_and_how_it_ends_is_the_images_affair_unless_the_pod_says() {
    let plain = spec(&saying(ContainerLinux::default()));
    assert_eq!((plain.user.of_image.as_str(), plain.user.uid, plain.stop_signal), ("app", None, 3));
    assert_eq!((plain.working_dir.as_str(), plain.stdio), ("/of-image", Stdio::Log));
    assert_eq!(plain.security, Security::default());
    let mut pod = saying(ContainerLinux {
        uid: Some(7),
        stop_signal: Some(Signal(10)),
        stdin: Stdin::Open,
        seccomp: SeccompProfile::Localhost("p/audit.json".to_owned()),
        ..ContainerLinux::default()
    });
    linux(&mut pod).fs_group = Some(FsGroup { gid: 5, policy: FsGroupPolicy::Always });
    linux(&mut pod).supplemental_groups = vec![6];
    pod.spec.containers[0].working_dir = Some("/own".to_owned());
    let machine = MachineFiles { seccomp_folder: "/s".to_owned(), ..MachineFiles::default() };
    let said = spec_of(&pod, LinuxMaterial { image: image(), machine, ..LinuxMaterial::default() }).unwrap();
    assert_eq!((said.user.uid, said.user.groups, said.stop_signal), (Some(7), vec![5, 6], 10));
    assert_eq!((said.working_dir.as_str(), said.stdio), ("/own", Stdio::Input));
    assert_eq!(said.security.seccomp, Seccomp::Localhost("/s/p/audit.json".to_owned()));
    let refused = |says| spec_of(&saying(says), LinuxMaterial { image: image(), ..LinuxMaterial::default() });
    let outside = SeccompProfile::Localhost("../p".to_owned());
    let refused = refused(ContainerLinux { seccomp: outside, ..ContainerLinux::default() });
    assert!(refused.unwrap_err().to_string().starts_with("seccomp profile \"../p\""));
}

#[test]
fn who_asked_for_less_is_killed_first() {
    let check = |qos, request: u64, priority, expected| {
        let mut pod = saying(ContainerLinux::default());
        linux(&mut pod).qos = qos;
        pod.care.priority = priority;
        pod.spec.containers[0].resources.memory_request = Some(Bytes(request));
        assert_eq!(spec(&pod).resources.oom_score_adj, expected, "{qos:?} {request} {priority}");
    };
    check(QosClass::Guaranteed, 1 << 29, 0, -997);
    check(QosClass::BestEffort, 0, 0, 1000);
    check(QosClass::BestEffort, 0, 2_000_000_000, 1000);
    check(QosClass::BestEffort, 0, 2_000_001_000, -997);
    check(QosClass::Burstable, 1 << 29, 0, 500);
    check(QosClass::Burstable, 1, 0, 999);
    check(QosClass::Burstable, 1 << 40, 0, 3);
    // A sidecar goes no sooner than the containers that it is for.
    let mut pod = saying(ContainerLinux::default());
    linux(&mut pod).qos = QosClass::Burstable;
    let mut sidecar = fixture::container("s");
    (sidecar.sidecar, sidecar.resources.memory_request) = (true, Some(Bytes(1)));
    pod.spec.init_containers = vec![sidecar];
    pod.spec.containers[0].resources.memory_request = Some(Bytes(1 << 29));
    assert_eq!(spec(&pod).resources.oom_score_adj, 500);
}

#[test]
fn hosts_are_as_the_kubelet_writes_them() {
    let mut pod = saying(ContainerLinux::default());
    let alias = HostAlias { ip: "192.0.2.9".to_owned(), hostnames: vec!["a".to_owned(), "b".to_owned()] };
    let plain = spec(&pod).hosts;
    assert!(plain.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{plain}");
    assert!(plain.ends_with("\n10.42.0.5\tp\n"), "{plain}");
    linux(&mut pod).subdomain = "sub".to_owned();
    linux(&mut pod).host_aliases = vec![alias];
    let text = spec(&pod).hosts;
    let expected =
        "\n10.42.0.5\tp.sub.ns.svc.cluster.local\tp\n\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n";
    assert!(text.ends_with(expected), "{text}");
    assert_eq!(pod_spec(&pod).hostname, "p");
    linux(&mut pod).hostname_is_fqdn = true;
    assert_eq!(pod_spec(&pod).hostname, "p.sub.ns.svc.cluster.local");
    pod.spec.host_network = true;
    let text = spec(&pod).hosts;
    assert!(text.starts_with("# Kubernetes-managed hosts file (host network).\n"), "{text}");
}

#[test]
fn resolv_conf_begins_where_the_policy_says() {
    let machine = MachineFiles {
        resolv_conf: "search site\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:1 edns0\n"
            .to_owned(),
        ..MachineFiles::default()
    };
    let text = |text: &str| text.to_owned();
    let dns = |policy| PodDns {
        policy,
        nameservers: vec![text("192.0.2.2"), text("192.0.2.3"), text("192.0.2.4")],
        searches: vec![text("own")],
        options: vec![(text("ndots"), Some(text("5"))), (text("debug"), None)],
    };
    assert_eq!(
        files::resolv_conf(&dns(DnsPolicy::ClusterFirst), &machine),
        "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch site own\noptions edns0 ndots:5 debug\n"
    );
    assert_eq!(
        files::resolv_conf(&dns(DnsPolicy::None), &machine),
        "nameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\nsearch own\noptions ndots:5 debug\n"
    );
}

#[test]
fn what_is_not_honoured_yet_keeps_a_container_from_starting() {
    let check = |says, expected: &str| {
        let material = LinuxMaterial { image: image(), ..LinuxMaterial::default() };
        let error = spec_of(&saying(says), material).unwrap_err().to_string();
        assert_eq!(error, format!("this node does not honour yet, and must not ignore: {expected}"));
    };
    let text = |text: &str| text.to_owned();
    let devices = vec![VolumeDevice { volume: text("v"), path: text("/dev/x") }];
    check(ContainerLinux { devices, ..ContainerLinux::default() }, "volumeDevices");
    let mounts = vec![MountOptions {
        path: text("/v"),
        propagation: MountPropagation::None,
        recursive_read_only: RecursiveReadOnly::Enabled,
    }];
    check(ContainerLinux { mounts, ..ContainerLinux::default() }, "volumeMounts.recursiveReadOnly: Enabled");
}

#[test]
fn mounts_are_read_only_with_all_below_them_where_that_can_be() {
    use RecursiveReadOnly::{Disabled, Enabled, IfPossible};
    let check = |kernel, asked, access, expected: Option<bool>| {
        let options = MountOptions {
            path: "/v".to_owned(),
            propagation: MountPropagation::None,
            recursive_read_only: asked,
        };
        let pod = saying(ContainerLinux { mounts: vec![options], ..ContainerLinux::default() });
        let mount = LinuxMount {
            source: "/s".to_owned(),
            inside: String::new(),
            path: "/v".to_owned(),
            access,
            propagation: Propagation::None,
            layers: Vec::new(),
            all_read_only: false,
        };
        let material = LinuxMaterial { image: image(), mounts: vec![mount], ..LinuxMaterial::default() };
        let said = spec_on(&pod, material, kernel).ok().map(|spec| spec.mounts[0].all_read_only);
        assert_eq!(said, expected, "{kernel:?} {asked:?}");
    };
    check(Kernel::New, Enabled, Access::ReadOnly, Some(true));
    check(Kernel::New, IfPossible, Access::ReadOnly, Some(true));
    check(Kernel::New, Disabled, Access::ReadOnly, Some(false));
    check(Kernel::New, IfPossible, Access::ReadWrite, Some(false));
    check(Kernel::Old, IfPossible, Access::ReadOnly, Some(false));
    check(Kernel::Old, Enabled, Access::ReadOnly, None);
}

#[test]
fn root_is_refused_where_it_is_ruled_out() {
    let check = |uid: Option<u32>, of_image: &str, expected: Option<&str>| {
        let says = ContainerLinux { uid, refuse_root: true, ..ContainerLinux::default() };
        let image = ImageDefaults { user: of_image.to_owned(), ..image() };
        let error = spec_of(&saying(says), LinuxMaterial { image, ..LinuxMaterial::default() }).err();
        let pod = fixture::pod(Vec::new());
        let title = format!("p_{}({})", pod.namespace, pod.uid);
        let expected = expected.map(|text| format!("{text} (pod: \"{title}\", container: c)"));
        assert_eq!(error.map(|error| error.to_string()), expected);
    };
    let image = Some("container has runAsNonRoot and image will run as root");
    check(None, "", image);
    check(None, "0:5", image);
    check(None, "1000:0", None);
    check(None, "app", None);
    check(Some(7), "", None);
    check(Some(0), "1000", Some("container's runAsUser breaks non-root policy"));
}
