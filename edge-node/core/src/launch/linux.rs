//! From a container as declared to an ordinary Linux container as a pod's shim starts it. Everything that an image says gives way to
//! what the pod says, as the kubelet and container runtimes have it.

mod files;
pub(crate) mod resources;

use std::path::Path;

use dunlin_link::{
    linux::{
        ContainerLinux, MountOptions, MountPropagation, ProcessNamespace, QosClass, RecursiveReadOnly,
        SeccompProfile, Signal, Stdin,
    },
    pod::{Container, PodAssignment},
    volumes::Access,
};

use super::{ImageDefaults, Launch, Of, binds, owner};
use crate::{
    app_armor::AppArmor,
    env::{self, ConfigError, Surroundings, expand::expand},
    pod::container_at,
    sandbox::linux::{
        LinuxMount, LinuxPod, LinuxSpec, LinuxUser, PodNetwork, ProcessSharing, Propagation, Seccomp,
        Security, Share, Stdio,
    },
};

/// What a Linux container's run is made of, as it is on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinuxMaterial {
    /// Folders of the image's layers, the lowest first.
    pub layers: Vec<String>,
    /// How the image runs where the pod says nothing else.
    pub image: ImageDefaults,
    /// What it sees of the machine.
    pub mounts: Vec<LinuxMount>,
    /// Where it leaves its last words; `None` where it has no place for them.
    pub termination_message: Option<String>,
    /// What the machine itself has.
    pub machine: MachineFiles,
}

/// Files of the machine that a pod may get to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineFiles {
    /// Text of its `/etc/hosts`.
    pub hosts: String,
    /// Text of its `/etc/resolv.conf`: of one whose name servers can be reached from elsewhere.
    pub resolv_conf: String,
    /// The folder that `Localhost` profiles of seccomp are in.
    pub seccomp_folder: String,
    /// What it has of AppArmor.
    pub app_armor: AppArmor,
}

/// What the containers of a pod share.
pub fn pod_spec(assignment: &PodAssignment) -> LinuxPod {
    let linux = assignment.linux();
    LinuxPod {
        hostname: files::hostname(assignment),
        network: if assignment.spec.host_network { PodNetwork::Host } else { PodNetwork::Own },
        ipc: if linux.host_ipc { Share::Host } else { Share::Own },
        processes: match linux.processes {
            ProcessNamespace::Container => ProcessSharing::Container,
            ProcessNamespace::Pod => ProcessSharing::Pod,
            ProcessNamespace::Host => ProcessSharing::Host,
        },
        cgroup: format!("/{CGROUP_ROOT}/{}/pod{}", qos_folder(linux.qos), assignment.uid),
        resources: resources::of_pod(assignment),
        sysctls: linux.sysctls.clone(),
    }
}

/// What a shim needs to start a container.
///
/// # Errors
/// When its configuration is incomplete, or asks for what there is not; the message is for `CreateContainerConfigError`.
pub fn container_spec(
    of: Of<'_>,
    launch: Launch,
    material: LinuxMaterial,
    around: &Surroundings<'_>,
) -> Result<LinuxSpec, ConfigError> {
    let (assignment, index) = of;
    let container = container_at(assignment, index);
    let nothing = ContainerLinux::default();
    let says = assignment.linux_of(index.0).unwrap_or(&nothing);
    refuse_unhonoured(says)?;
    let refused = container.refused_always().filter(|field| binds(field, around));
    let refused: Vec<_> = refused.map(str::to_owned).collect();
    if !refused.is_empty() {
        return Err(ConfigError::NotHonoured(refused));
    }
    let recursive = |mount: &MountOptions| mount.recursive_read_only == RecursiveReadOnly::Enabled;
    if says.mounts.iter().any(recursive) && !around.mounts_read_only_recursively {
        return Err(ConfigError::NotHonoured(vec!["volumeMounts.recursiveReadOnly: Enabled".to_owned()]));
    }
    let LinuxMaterial { layers, image, mut mounts, termination_message, machine } = material;
    refuse_root(assignment, container, says, &image)?;
    let declared = env::resolve(assignment, container, around)?;
    let args = arguments(container, &image, &declared)?;
    let declared = env::with_host_name(assignment, declared, around);
    for mount in &mut mounts {
        mount.propagation = propagation(says, &mount.path);
        mount.all_read_only = around.mounts_read_only_recursively && is_all_read_only(says, mount);
    }
    let is_mounted = |path: &String| {
        let path = Path::new("/").join(path);
        mounts.iter().any(|mount| Path::new(&mount.path) == path)
    };
    let volumes = image.volumes.iter().filter(|path| !is_mounted(path)).cloned().collect();
    Ok(LinuxSpec {
        id: launch.id,
        owner: owner(of, launch.attempt),
        layers,
        args,
        env: environment(&image, says, declared),
        working_dir: container.working_dir.clone().unwrap_or(image.working_dir),
        user: LinuxUser {
            of_image: image.user,
            uid: says.uid,
            gid: says.gid,
            groups: assignment.linux().groups().collect(),
            groups_policy: assignment.linux().groups_policy,
            refuse_root: says.refuse_root,
        },
        stdio: match (says.tty, says.stdin) {
            (true, _) => Stdio::Terminal,
            (false, Stdin::None) => Stdio::Log,
            (false, Stdin::Open | Stdin::Once) => Stdio::Input,
        },
        log: launch.log,
        processes_of: launch.target,
        resources: resources::of_container(assignment, (container, says), around),
        security: security(says, &machine)?,
        mounts,
        volumes,
        hosts: files::hosts(assignment, &machine, around),
        resolv_conf: files::resolv_conf(&assignment.linux().dns, &machine),
        termination_message,
        devices: Vec::new(),
        stop_signal: i32::from(stop_signal(says, &image.stop_signal)?.0),
    })
}

/// Refuses root where the pod rules it out. Of a user whose name the image says only its files tell who that is, which the shim looks at.
fn refuse_root(
    assignment: &PodAssignment,
    container: &Container,
    says: &ContainerLinux,
    image: &ImageDefaults,
) -> Result<(), ConfigError> {
    if !says.refuse_root {
        return Ok(());
    }
    let PodAssignment { name, namespace, uid, .. } = assignment;
    let (pod, container) = (format!("{name}_{namespace}({uid})"), container.name.clone());
    let of_image = image.user.split(':').next().unwrap_or_default();
    match says.uid {
        Some(0) => Err(ConfigError::RunsAsRoot { pod, container }),
        None if of_image.is_empty() || of_image.parse() == Ok(0_u32) => {
            Err(ConfigError::ImageRunsAsRoot { pod, container })
        }
        _ => Ok(()),
    }
}

/// Refuses what would be missing in a container of either kind.
pub(super) fn refuse_unhonoured(says: &ContainerLinux) -> Result<(), ConfigError> {
    if says.devices.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::NotHonoured(vec!["volumeDevices".to_owned()]))
    }
}

/// `command` takes the place of both of the image's words, `args` of the second.
fn arguments(
    container: &Container,
    image: &ImageDefaults,
    env: &[(String, String)],
) -> Result<Vec<String>, ConfigError> {
    let value = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let expanded = |words: &[String]| words.iter().map(|word| expand(word, value)).collect::<Vec<_>>();
    let mut words =
        if container.command.is_empty() { image.entrypoint.clone() } else { expanded(&container.command) };
    if !container.args.is_empty() {
        words.extend(expanded(&container.args));
    } else if container.command.is_empty() {
        words.extend(image.cmd.iter().cloned());
    }
    if words.is_empty() { Err(ConfigError::NoCommand) } else { Ok(words) }
}

/// The image's variables, with the container's over them. Every process has a `PATH`.
fn environment(
    image: &ImageDefaults,
    says: &ContainerLinux,
    declared: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let mut all = vec![("PATH".to_owned(), PATH.to_owned())];
    if says.tty {
        all.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    image.env_under(all, declared)
}

fn security(says: &ContainerLinux, machine: &MachineFiles) -> Result<Security, ConfigError> {
    Ok(Security {
        privileged: says.privileged,
        read_only_root: says.read_only_root,
        no_new_privileges: says.no_new_privileges,
        add_capabilities: says.add_capabilities.clone(),
        drop_capabilities: says.drop_capabilities.clone(),
        seccomp: match &says.seccomp {
            // As everywhere, a privileged container is not held back by it.
            _ if says.privileged => Seccomp::Unconfined,
            SeccompProfile::RuntimeDefault => Seccomp::RuntimeDefault,
            SeccompProfile::Unconfined => Seccomp::Unconfined,
            SeccompProfile::Localhost(path) if crate::volumes::is_safe_relative(path) => {
                Seccomp::Localhost(format!("{}/{path}", machine.seccomp_folder))
            }
            SeccompProfile::Localhost(path) => return Err(ConfigError::ProfilePath(path.clone())),
        },
        apparmor: machine.app_armor.profile(&says.app_armor)?,
        unmasked_proc: says.unmasked_proc,
    })
}

fn propagation(says: &ContainerLinux, path: &str) -> Propagation {
    let options = says.mounts.iter().find(|options| options.path == path);
    match options.map(|options| options.propagation).unwrap_or_default() {
        MountPropagation::None => Propagation::None,
        MountPropagation::HostToContainer => Propagation::HostToContainer,
        MountPropagation::Bidirectional => Propagation::Bidirectional,
    }
}

/// Whether a mount is asked to be read-only with all below it, where that can be.
fn is_all_read_only(says: &ContainerLinux, mount: &LinuxMount) -> bool {
    let options = says.mounts.iter().find(|options| options.path == mount.path);
    mount.access == Access::ReadOnly
        && options.is_some_and(|options| options.recursive_read_only != RecursiveReadOnly::Disabled)
}

fn stop_signal(says: &ContainerLinux, of_image: &str) -> Result<Signal, ConfigError> {
    match says.stop_signal {
        Some(signal) => Ok(signal),
        None if of_image.is_empty() => Ok(Signal::TERM),
        None => of_image.parse().map_err(|_| ConfigError::ImageSignal(of_image.to_owned())),
    }
}

const fn qos_folder(qos: QosClass) -> &'static str {
    match qos {
        QosClass::BestEffort => "besteffort",
        QosClass::Burstable => "burstable",
        QosClass::Guaranteed => "guaranteed",
    }
}

/// Where the cgroups of all pods are.
pub const CGROUP_ROOT: &str = "dunlin";

/// Where programs are when nobody says so; as container runtimes have it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests;
