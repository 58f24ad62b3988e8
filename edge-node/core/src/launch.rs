//! From a container as declared to a container as its sandbox starts it: arguments, environment, limits, listeners.

mod image;
pub mod linux;

use std::net::Ipv4Addr;

use dunlin_link::{
    ContainerId,
    care::{Action, ContainerCare, PortName},
    guest::{BadSetting, GuestSettings},
    pod::{Container, PodAssignment, Protocol},
};

pub use self::{image::ImageDefaults, linux::LinuxMaterial};
use crate::{
    address::PodAddress,
    env::{self, ConfigError, Surroundings, expand::expand},
    host_port,
    pod::{ContainerIndex, container_at},
    sandbox::{ContainerSpec, GuestNetwork, Listen, Mount, Owner},
};

/// One run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Drawn for this run.
    pub id: ContainerId,
    /// Number of the run.
    pub attempt: u32,
    /// Where its log goes.
    pub log: String,
    /// Whose processes it sees, if it is a Linux container that names one.
    pub target: Option<ContainerId>,
}

/// What a run is made of, as it is on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A guest.
    Module {
        /// The verified module.
        module: String,
        /// Its files.
        files: GuestFiles,
    },
    /// A Linux container.
    Linux(Box<LinuxMaterial>),
}

/// The files of a guest's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestFiles {
    /// What the guest sees.
    pub mounts: Vec<Mount>,
    /// Where it leaves its last words; `None` where it has no place for them.
    pub termination_message: Option<String>,
    /// The file of the node's key-value store.
    pub keyvalue: Option<String>,
    /// How its image runs where the pod says nothing else; nothing for a module by itself.
    pub image: Box<ImageDefaults>,
}

/// A container of a pod.
pub type Of<'a> = (&'a PodAssignment, ContainerIndex);

/// What the runner needs to start a guest.
///
/// # Errors
/// When its configuration is incomplete; the message is for `CreateContainerConfigError`.
pub fn container_spec(
    of: Of<'_>,
    launch: Launch,
    (module, files): (String, GuestFiles),
    address: &PodAddress,
    around: &Surroundings<'_>,
) -> Result<ContainerSpec, ConfigError> {
    let (assignment, index) = of;
    let container = container_at(assignment, index);
    let fields = host_port::refused_of_guest(assignment, index);
    let fields = fields.filter(|field| binds(field, around) && !OF_LINUX.contains(field));
    let fields: Vec<_> = fields.map(str::to_owned).collect();
    if !fields.is_empty() {
        return Err(ConfigError::Refused { fields });
    }
    if let Some(says) = assignment.linux_of(index.0) {
        linux::refuse_unhonoured(says)?;
    }
    let env = env::resolve(assignment, container, around)?;
    let image = files.image;
    let working_dir = Some(image.working_dir.clone()).filter(|folder| !folder.is_empty());
    let limits = linux::resources::with_pod_limits(container.resources, assignment);
    Ok(ContainerSpec {
        id: launch.id,
        owner: owner(of, launch.attempt),
        module,
        args: arguments(container, &image, &env),
        env: image.env_under(Vec::new(), env::with_host_name(assignment, env, around)),
        working_dir: container.working_dir.clone().or(working_dir),
        log: launch.log,
        memory_limit: limits.memory_limit,
        cpu_limit: limits.cpu_limit,
        listen: listeners(of, address),
        pod_ip: address.ip(),
        network: match (address.own, address.slot) {
            (Some(_), Some(_)) => GuestNetwork::Pod,
            _ => GuestNetwork::Machine,
        },
        settings: guest_settings(assignment).map_err(ConfigError::Settings)?,
        mounts: files.mounts,
        termination_message: files.termination_message,
        keyvalue: files.keyvalue,
    })
}

/// Whether a field that must not be ignored means anything on this machine.
fn binds(field: &str, around: &Surroundings<'_>) -> bool {
    around.se_linux || !field.ends_with(".seLinuxOptions")
}

fn owner((assignment, index): Of<'_>, attempt: u32) -> Owner {
    Owner {
        pod_uid: assignment.uid.as_str().to_owned(),
        namespace: assignment.namespace.clone(),
        pod: assignment.name.clone(),
        container: container_at(assignment, index).name.clone(),
        attempt,
    }
}

/// `argv`: command and args expanded, in the place of the image's own words as with Linux containers; a program that neither names is
/// called by its image's name.
fn arguments(container: &Container, image: &ImageDefaults, env: &[(String, String)]) -> Vec<String> {
    let value = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let expanded = |words: &[String]| words.iter().map(|word| expand(word, value)).collect::<Vec<_>>();
    let args = expanded(&container.args);
    if !container.command.is_empty() {
        return [expanded(&container.command), args].concat();
    }
    let args = if args.is_empty() { &image.cmd } else { &args };
    let names_program = !image.entrypoint.is_empty() || container.args.is_empty() && !image.cmd.is_empty();
    let program = (!names_program).then(|| program_name(&container.image.reference).to_owned());
    program.iter().chain(&image.entrypoint).chain(args).cloned().collect()
}

/// The last part of an image's name, without tag and digest.
fn program_name(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

/// What the pod's annotations say of its guests.
///
/// # Errors
/// With those that say nothing.
fn guest_settings(assignment: &PodAssignment) -> Result<GuestSettings, Vec<BadSetting>> {
    let annotations = &assignment.spec.annotations;
    GuestSettings::of(annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Where the container's ports are; the one that is called `http` comes first, for that is where a handler is served.
fn listeners((assignment, index): Of<'_>, address: &PodAddress) -> Vec<Listen> {
    let ports = host_port::ports_of(assignment, index);
    let mut ports: Vec<_> = ports.filter(|(port, _)| port.protocol != Protocol::Sctp).collect();
    ports.sort_by_key(|(port, _)| port.name != "http");
    let listeners = ports.into_iter().map(|(port, host)| {
        let listen =
            |address| Listen { container_port: port.container_port, protocol: port.protocol, address };
        let of_host = host
            .map(|host| (host.address.unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.into()), host.number).into());
        match of_host {
            // It is on the machine itself.
            Some(of_host) if assignment.spec.host_network => (listen(of_host), None),
            _ => {
                let own = listen(address.listener(assignment, port.container_port));
                // In a network of its own the machine leads its port there.
                (own, of_host.filter(|_| address.own.is_none()).map(listen))
            }
        }
    });
    let listeners = listeners.flat_map(|(own, host)| std::iter::once(own).chain(host));
    let mut listeners: Vec<_> = listeners.collect();
    if !listeners.iter().any(|listen| listen.protocol == Protocol::Tcp) {
        // Kubernetes does not ask that a port is declared: where it is asked whether the container is well, it is served.
        listeners.extend(asked_port(assignment, container_at(assignment, index)).map(|port| Listen {
            container_port: port,
            protocol: Protocol::Tcp,
            address: address.listener(assignment, port),
        }));
    }
    listeners
}

/// The first port that the container's own probes and hooks name by its number, and that no container of the pod declares.
fn asked_port(assignment: &PodAssignment, container: &Container) -> Option<u16> {
    let all = || assignment.spec.init_containers.iter().chain(&assignment.spec.containers);
    let care = assignment.care.of(all().position(|other| other.name == container.name)?)?;
    let port = |action: &Action| match action {
        Action::HttpGet(get) if get.host.is_empty() => number(&get.port),
        Action::TcpSocket { host, port } if host.is_empty() => number(port),
        Action::Grpc { port, .. } => Some(*port),
        Action::HttpGet(_) | Action::TcpSocket { .. } | Action::Exec { .. } | Action::Sleep { .. } => None,
    };
    let is_declared =
        |port: &u16| all().flat_map(|other| &other.ports).any(|declared| declared.container_port == *port);
    asked(care).filter_map(port).find(|port| !is_declared(port))
}

fn asked(care: &ContainerCare) -> impl Iterator<Item = &Action> {
    let probes = [&care.readiness, &care.liveness, &care.startup].into_iter().flatten();
    let hooks = [&care.post_start, &care.pre_stop].into_iter().flatten();
    probes.map(|probe| &probe.action).chain(hooks.map(|hook| &**hook))
}

fn number(port: &PortName) -> Option<u16> {
    match port {
        PortName::Number(port) if *port > 0 => Some(*port),
        PortName::Number(_) | PortName::Name(_) => None,
    }
}

/// Fields that mean nothing to a guest, which has no users at all and a runtime of its own.
const OF_LINUX: [&str; 2] = ["spec.hostUsers", "spec.runtimeClassName"];

#[cfg(test)]
mod tests {
    use dunlin_link::{
        care::ContainerProbe,
        linux::{ContainerLinux, HostAddress, PodLinux},
        pod::ContainerPort,
    };

    use super::*;
    use crate::{
        address::{Loopback, OwnNetwork, PodSlot},
        pod::fixture::{container, pod},
    };

    #[test]
    fn a_program_without_a_command_is_called_like_its_image() {
        let check = |reference: &str, expected: &str| assert_eq!(program_name(reference), expected);
        check("hello", "hello");
        check("dunlin.local/hello:v1", "hello");
        check("registry:5000/team/hello@sha256:00", "hello");
        check("registry:5000/team/hello:1.2@sha256:00", "hello");
    }

    #[test]
    fn an_image_s_words_are_used_where_the_pod_has_none() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let check = |(entrypoint, cmd): (&str, &str), (command, args): (&str, &str), expected: &str| {
            let image =
                ImageDefaults { entrypoint: words(entrypoint), cmd: words(cmd), ..ImageDefaults::default() };
            let mut container = Container { command: words(command), args: words(args), ..container("c") };
            container.image.reference = "r.io/app:1".to_owned();
            assert_eq!(arguments(&container, &image, &[]), words(expected), "{image:?}");
        };
        check(("", ""), ("", ""), "app");
        check(("", ""), ("", "a"), "app a");
        check(("/e.wasm -f", "c d"), ("", ""), "/e.wasm -f c d");
        check(("/e.wasm -f", "c d"), ("", "a"), "/e.wasm -f a");
        check(("/e.wasm -f", "c d"), ("/x.wasm", ""), "/x.wasm");
        check(("/e.wasm -f", "c d"), ("/x.wasm", "a"), "/x.wasm a");
        check(("", "/c.wasm d"), ("", ""), "/c.wasm d");
        check(("", "/c.wasm d"), ("", "a"), "app a");
    }

    #[test]
    fn a_port_of_the_machine_is_at_one_of_its_addresses_if_the_pod_says_so() {
        let port = ContainerPort {
            name: String::new(),
            container_port: 80,
            host_port: Some(80),
            protocol: Protocol::Tcp,
        };
        let mut pod = pod(vec![Container { ports: vec![port], ..container("c") }]);
        let host_addresses =
            vec![HostAddress { host_port: 80, protocol: Protocol::Tcp, address: "192.0.2.1".to_owned() }];
        let says = ContainerLinux { host_addresses, ..ContainerLinux::default() };
        pod.linux = Some(Box::new(PodLinux { containers: vec![says], ..PodLinux::default() }));
        let slot = Some(PodSlot(0x0105));
        let check = |pod: &PodAssignment, slot, own, expected: &[&str]| {
            let address = PodAddress { slot, own, loopback: Loopback { octet: 42, first_port: 1024 } };
            let listeners = listeners((pod, ContainerIndex(0)), &address);
            let seen: Vec<_> = listeners.iter().map(|listen| listen.address.to_string()).collect();
            assert_eq!(seen, expected);
        };
        check(&pod, slot, None, &["127.42.1.5:10080", "192.0.2.1:80"]);
        check(&pod, slot, Some(OwnNetwork::default()), &["0.0.0.0:80"]);
        pod.spec.host_network = true;
        check(&pod, None, None, &["192.0.2.1:80"]);
        pod.linux = None;
        check(&pod, None, None, &["0.0.0.0:80"]);
    }

    #[test]
    fn a_port_is_declared_or_asked_over() {
        let declared = |name: &str, number, host_port| ContainerPort {
            name: name.to_owned(),
            container_port: number,
            host_port,
            protocol: Protocol::Tcp,
        };
        let tcp = |port| ContainerProbe {
            action: Action::TcpSocket { host: String::new(), port: PortName::Number(port) },
            initial_delay_seconds: 0,
            period_seconds: 1,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 1,
            termination_grace_seconds: None,
        };
        let check = |ports: Vec<ContainerPort>, asked, expected: &[(u16, &str)]| {
            let other = Container { ports: vec![declared("", 9000, None)], ..container("other") };
            let mut pod = pod(vec![other, Container { ports, ..container("c") }]);
            let care = ContainerCare { liveness: Some(Box::new(tcp(asked))), ..ContainerCare::default() };
            pod.care.containers = vec![ContainerCare::default(), care];
            let address = PodAddress {
                slot: Some(PodSlot(0x0105)),
                own: None,
                loopback: Loopback { octet: 42, first_port: 1024 },
            };
            let listeners = listeners((&pod, ContainerIndex(1)), &address);
            let seen: Vec<_> =
                listeners.iter().map(|listen| (listen.container_port, listen.address.to_string())).collect();
            let seen: Vec<_> = seen.iter().map(|(port, address)| (*port, address.as_str())).collect();
            assert_eq!(seen, expected);
        };
        let (own, host) = ((8080, "127.42.1.5:8080"), (8080, "0.0.0.0:80"));
        check(
            vec![declared("", 8081, None), declared("http", 8080, Some(80))],
            1,
            &[own, host, (8081, "127.42.1.5:8081")],
        );
        check(Vec::new(), 8080, &[own]);
        // What is asked over another container's port is not this one's.
        check(Vec::new(), 9000, &[]);
        check(Vec::new(), 0, &[]);
    }
}
