//! What Linux containers need of a machine beside control groups and overlayfs, and whether a node can run any.

use dunlin_link::container_support::ContainerSupport;

use super::{Cgroups, Finding, Machine, Severity, kernel};

/// What was read of that.
#[derive(Clone, Debug, Default)]
pub struct Containers {
    /// `CapEff` of this process.
    pub capabilities: u64,
    /// The runtimes that are asked for and here, the best first.
    pub runtimes: Vec<OciRuntime>,
    /// What was asked for.
    pub wanted: Wanted,
    /// Kinds of namespaces that the kernel has, as in `/proc/self/ns`.
    pub namespaces: Vec<String>,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// Where nf_tables is.
    pub nf_tables: NfTables,
    /// `net.ipv4.ip_forward`; `None` where that cannot be read.
    pub ip_forward: Option<bool>,
    /// Whether the kernel makes mounts read-only with all below them.
    pub recursive_read_only: bool,
    /// Whether the kernel applies profiles of AppArmor.
    pub app_armor: bool,
    /// Whether the program is here that loads them.
    pub app_armor_parser: bool,
}

impl Containers {
    /// The best one that can be run, or else the one to complain of.
    fn runtime(&self) -> Option<&OciRuntime> {
        let runs = self.runtimes.iter().find(|runtime| !runtime.version.is_empty());
        runs.or_else(|| self.runtimes.first())
    }
}

/// Which runtime a node is to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Any that is known.
    #[default]
    Any,
    /// The one of this name, or at this path.
    This(String),
    /// None: it runs WASM alone.
    None,
}

/// An OCI runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciRuntime {
    /// `crun`, `runc` or `youki`, or what else its file is called.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What it says of itself; empty when it cannot be run.
    pub version: String,
}

/// Where nf_tables is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NfTables {
    /// In the running kernel.
    Ready,
    /// A module, which the kernel loads by itself.
    Loadable,
    /// Not to be found.
    #[default]
    Absent,
}

/// Whether a node on this machine runs Linux containers, and by which runtime.
///
/// # Errors
/// With the one reason to see to first.
pub fn usable_runtime(machine: &Machine) -> Result<&OciRuntime, ContainerSupport> {
    let containers = &machine.containers;
    let memory = match machine.cgroups {
        Cgroups::Absent => NO_CGROUPS,
        Cgroups::V1(_) | Cgroups::V2(_) => NO_MEMORY_CGROUP,
    };
    let needs = [
        ("NoRuntime", runtime(containers)),
        ("NotPrivileged", capabilities(containers)),
        ("NoNamespaces", namespaces(containers)),
        (memory, kernel::memory_cgroup(machine)),
        (NO_CPU_CGROUP, kernel::cpu_cgroup(machine)),
        ("NoSeccomp", seccomp(containers)),
    ];
    match (containers.runtime(), needs.into_iter().find(|(_, finding)| finding.severity > Severity::Good)) {
        (Some(runtime), None) => Ok(runtime),
        (_, lack) => {
            let (reason, finding) = lack.unwrap_or_else(|| ("NoRuntime", runtime(containers)));
            let message = format!("{}; {}", finding.message, finding.remedy);
            Err(ContainerSupport::Lacks { reason: reason.to_owned(), message })
        }
    }
}

/// The same, as a node tells it.
pub fn container_support(machine: &Machine) -> ContainerSupport {
    match usable_runtime(machine) {
        Ok(OciRuntime { name, version, .. }) => ContainerSupport::Runs {
            runtime: name.clone(),
            version: version.clone(),
            recursive_read_only: machine.containers.recursive_read_only,
        },
        Err(lacks) => lacks,
    }
}

pub(super) fn containers(machine: &Machine) -> Vec<Finding> {
    let containers = &machine.containers;
    let [namespaces, seccomp] = [namespaces(containers), seccomp(containers)];
    vec![
        runtime(containers),
        capabilities(containers),
        namespaces,
        seccomp,
        nf_tables(containers.nf_tables),
        forwarding(containers.ip_forward),
        app_armor(containers),
    ]
}

fn runtime(containers: &Containers) -> Finding {
    match (&containers.wanted, containers.runtime()) {
        (Wanted::None, _) => Finding::warning(
            RUNTIME,
            "containers are switched off on this node",
            "to have them, set `runtime: auto` in section `edgeNode` of its configuration and restart it",
        ),
        (_, Some(runtime)) if runtime.version.is_empty() => Finding::warning(
            RUNTIME,
            format!("`{} --version` fails; containers need a runtime, WASM modules do not", runtime.path),
            "install another one, for instance `apt install crun`, and restart the node",
        ),
        (_, Some(OciRuntime { name, version, path })) => {
            Finding::good(RUNTIME, format!("{name} {version} at {path}"))
        }
        (Wanted::This(wanted), None) => Finding::warning(
            RUNTIME,
            format!(
                "there is no `{wanted}`, which this node was told to use; containers need it, WASM modules do not"
            ),
            "install it, or set `runtime: auto` in section `edgeNode` of the node's configuration, and restart the node",
        ),
        (Wanted::Any, None) => Finding::warning(
            RUNTIME,
            "no OCI runtime is installed (crun, runc or youki); containers need one, WASM modules do not",
            "run `apt install crun` (or `dnf install crun`, `apk add crun`) and restart the node",
        ),
    }
}

fn capabilities(containers: &Containers) -> Finding {
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(bit, _)| containers.capabilities >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Finding::good(PRIVILEGES, "enough to run containers");
    }
    Finding::warning(
        PRIVILEGES,
        format!("this process lacks {}; containers need that, WASM modules do not", missing.join(", ")),
        "run the node as root: its systemd unit without `User=`, or `sudo dunlin edge-node`",
    )
}

fn namespaces(containers: &Containers) -> Finding {
    let is_there = |name: &&&str| containers.namespaces.iter().any(|known| known == **name);
    let missing: Vec<_> = NAMESPACES.iter().filter(|name| !is_there(name)).copied().collect();
    if missing.is_empty() {
        return Finding::good(NAMESPACE, "all kinds that containers need");
    }
    let options: Vec<_> = missing.iter().map(|name| format!("CONFIG_{}_NS", name.to_uppercase())).collect();
    Finding::warning(
        NAMESPACE,
        format!(
            "this kernel has no namespaces of kind {}; containers need them, WASM modules do not",
            missing.join(", ")
        ),
        format!("install the distribution's standard kernel ({})", options.join(", ")),
    )
}

fn seccomp(containers: &Containers) -> Finding {
    if containers.seccomp {
        return Finding::good(SECCOMP, "the kernel filters system calls");
    }
    Finding::warning(
        SECCOMP,
        "this kernel cannot filter system calls; containers are not run without, WASM modules are",
        "install the distribution's standard kernel (CONFIG_SECCOMP_FILTER)",
    )
}

fn nf_tables(found: NfTables) -> Finding {
    match found {
        NfTables::Ready => Finding::good(NETFILTER, "nf_tables is there"),
        NfTables::Loadable => {
            Finding::good(NETFILTER, "nf_tables is a module that is loaded when it is needed")
        }
        NfTables::Absent => Finding::warning(
            NETFILTER,
            "nf_tables is not found; without it containers reach no other machine, and their host ports are closed, unless they have \
             the machine's own network",
            "install the distribution's standard kernel with its modules (CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ)",
        ),
    }
}

/// The node sees to it itself, with its bridge; plugins do where they are used instead.
fn forwarding(forwards: Option<bool>) -> Finding {
    let message = match forwards {
        Some(false) => {
            "the machine forwards nothing yet; the node switches that on with its first pod that has a network of its own"
        }
        _ => "the machine forwards between networks",
    };
    Finding::good(FORWARDING, message)
}

fn app_armor(containers: &Containers) -> Finding {
    match (containers.app_armor, containers.app_armor_parser) {
        (true, true) => Finding::good(APP_ARMOR, "containers are confined by the profile dunlin-default"),
        (true, false) => Finding::warning(
            APP_ARMOR,
            "the kernel has it, but nothing here loads profiles: containers run without one, and pods that ask for the usual one are refused",
            "run `apt install apparmor` and restart the node",
        ),
        (false, _) => {
            Finding::good(APP_ARMOR, "this kernel has none; pods that ask for a profile are refused")
        }
    }
}

const RUNTIME: &str = "container runtime";
const PRIVILEGES: &str = "privileges";
const NAMESPACE: &str = "namespaces";
const SECCOMP: &str = "seccomp";
const NETFILTER: &str = "nf_tables";
const FORWARDING: &str = "forwarding";
const APP_ARMOR: &str = "AppArmor";

const NO_CGROUPS: &str = "NoCgroups";
const NO_MEMORY_CGROUP: &str = "NoMemoryCgroup";
const NO_CPU_CGROUP: &str = "NoCpuCgroup";

/// Kinds that every container gets of its own, or shares with its pod.
const NAMESPACES: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];

/// Capabilities by number (capabilities(7)): to make namespaces, mounts, devices and networks, to become another user, and to end
/// others' processes.
const NEEDED: [(u32, &str); 11] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (3, "CAP_FOWNER"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (27, "CAP_MKNOD"),
];

#[cfg(test)]
pub(super) mod tests;
