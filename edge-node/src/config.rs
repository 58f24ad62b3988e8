//! The node's options: what the command line, the environment and the config file may say, and what they mean together.

mod args;
mod form;
mod machine;
mod problems;

use std::{ops::RangeInclusive, path::PathBuf};

use dunlin_edge_node_core::{
    address::{BlockRange, Loopback},
    admission::AllowedSysctls,
    doctor::Wanted,
    pressure::Thresholds,
};
use dunlin_link::{Bytes, MilliCpu, labels::is_own_label, status::NodeResources};
use dunlin_registry::RegistriesConfig;

pub use self::{args::EdgeNodeArgs, machine::Machine};
use self::{
    form::{parse_label, parse_taint},
    problems::Problems,
};
use crate::{CompileMode, images::ImageBounds, pod_network::BlockClaim, session::Transport};

/// Valid options.
#[derive(Clone, Debug)]
pub struct EdgeNodeConfig {
    /// Name of the node.
    pub node_name: String,
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// How to join, for a node that has not.
    pub join: Option<JoinSource>,
    /// Coordinators, in place of those in the token.
    pub coordinators: Vec<String>,
    /// How the coordinator may be reached.
    pub transport: Transport,
    /// Whether modules are compiled here.
    pub compile: CompileMode,
    /// What runs Linux containers.
    pub runtime: Wanted,
    /// Network plugins, where they are used.
    pub plugins: Option<PluginFolders>,
    /// Labels for the Node object.
    pub labels: Vec<(String, String)>,
    /// Taints for the Node object: key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// Addresses by which other machines reach the node; empty means the detected one.
    pub addresses: Vec<String>,
    /// Folder of manifests of static pods.
    pub static_pods: Option<PathBuf>,
    /// Upper bound on pods.
    pub pods_max: Option<u32>,
    /// Kept from pods.
    pub reserved: NodeResources,
    /// Upper bound on the logs of all pods together; `None` for what the disk can spare.
    pub logs_max: Option<Bytes>,
    /// What guests of a namespace may keep together, in MiB; `None` is the runner's own default.
    pub keyvalue_quota_mib: Option<u64>,
    /// Below which pods are ended.
    pub thresholds: Thresholds,
    /// What pods may set of the kernel beyond what every pod may.
    pub sysctls: AllowedSysctls,
    /// Folder of archives with images that are loaded; `None` for the usual one.
    pub images_dir: Option<PathBuf>,
    /// Folders of whose files pods may run modules.
    pub module_dirs: Vec<PathBuf>,
    /// How full the disk may get of images that no pod needs.
    pub image_bounds: ImageBounds,
    /// Where pod addresses come from. Two nodes on one machine need ranges that do not overlap.
    pub blocks: BlockRange,
    /// Where these are its own already; otherwise it claims them with its first Linux container.
    pub claim: Option<BlockClaim>,
    /// How pods are reached on the machine.
    pub loopback: Loopback,
    /// How registries are reached.
    pub registries: RegistriesConfig,
}

/// Where network plugins are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFolders {
    /// Their configurations.
    pub conf_dir: PathBuf,
    /// Their programs.
    pub bin_dir: PathBuf,
}

impl PluginFolders {
    fn new(conf_dir: PathBuf, bin_dir: Option<PathBuf>) -> Self {
        Self { conf_dir, bin_dir: bin_dir.unwrap_or_else(|| PathBuf::from(CNI_BIN_DIR)) }
    }
}

/// Where the programs of network plugins are by default, as everywhere.
const CNI_BIN_DIR: &str = "/opt/cni/bin";

/// Where the join token is.
#[derive(Clone, PartialEq, Eq)]
pub enum JoinSource {
    /// Given as it is.
    Token(String),
    /// In this file.
    File(PathBuf),
}

impl std::fmt::Debug for JoinSource {
    /// A token is a secret: only files are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Everything that is wrong with the options, one line each.
#[derive(Debug, thiserror::Error)]
#[error("invalid edge-node options:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl EdgeNodeArgs {
    /// Checks all options together.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn validate(self, machine: Machine) -> Result<EdgeNodeConfig, ConfigError> {
        let mut problems = Problems::default();
        let node_name = problems.node_name(self.node_name.as_deref().unwrap_or("{hostname}"), &machine);
        let labels = problems.parsed(&self.labels, "label", "KEY=VALUE", parse_label);
        // The coordinator would refuse the whole node.
        for (key, value) in labels.iter().filter(|(key, _)| !is_own_label(key)) {
            problems.list.push(format!(
                "label `{key}={value}`: no node may give itself this one; let an administrator do it: dunlin label node {node_name} \
                 {key}={value}"
            ));
        }
        let taints = problems.parsed(&self.taints, "taint", TAINT_FORM, parse_taint);
        let addresses = problems.parsed(&self.node_addresses, "node address", "an IP address", |text| {
            text.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
        });
        let coordinators = problems.parsed(&self.coordinator, "coordinator", "HOST:PORT", |text| {
            let (host, port) = text.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
        });
        let blocks = problems.blocks(self.address_blocks.as_deref(), &node_name);
        let octet = problems.loopback(self.loopback);
        if self.max_pods == Some(0) {
            problems.list.push("max pods: at least 1".to_owned());
        }
        problems.mebibytes("logs max", self.logs_max_mib, &LOGS_MIB);
        problems.mebibytes("keyvalue quota", self.keyvalue_quota_mib, &KEYVALUE_MIB);
        let compile = problems.compile_mode(self.compile);
        let runtime = problems.runtime(self.runtime.as_deref());
        let thresholds = problems.thresholds(self.eviction_texts());
        let sysctls = problems.sysctls(&self.allowed_unsafe_sysctls);
        for dir in self.module_dirs.iter().filter(|dir| !dir.is_absolute()) {
            problems.list.push(format!("module dir `{}`: a path from the root", dir.display()));
        }
        let image_bounds = problems.image_bounds((self.image_gc_high_threshold, self.image_gc_low_threshold));
        let join = match (self.join, self.join_file) {
            (Some(token), _) => Some(JoinSource::Token(token)),
            (None, file) => file.map(JoinSource::File),
        };
        let (Some(blocks), true) = (blocks, problems.list.is_empty()) else {
            return Err(ConfigError(problems.list));
        };
        Ok(EdgeNodeConfig {
            node_name,
            state_dir: self.state_dir.unwrap_or(machine.state_dir),
            join,
            coordinators,
            transport: self.transport.unwrap_or_default(),
            compile,
            runtime,
            plugins: self.cni_conf_dir.map(|conf_dir| PluginFolders::new(conf_dir, self.cni_bin_dir)),
            labels,
            taints,
            addresses,
            static_pods: self.static_pods,
            pods_max: self.max_pods,
            reserved: NodeResources {
                cpu: MilliCpu(self.reserved_milli_cpu.unwrap_or(0)),
                memory: Bytes(self.reserved_memory_mib.unwrap_or(RESERVED_MEMORY_MIB) << 20),
                ..NodeResources::default()
            },
            logs_max: self.logs_max_mib.map(|mib| Bytes(mib << 20)),
            keyvalue_quota_mib: self.keyvalue_quota_mib,
            thresholds,
            sysctls,
            images_dir: self.images_dir,
            module_dirs: self.module_dirs,
            image_bounds,
            blocks,
            registries: self.registries.unwrap_or_default(),
            claim: None,
            loopback: Loopback { octet, first_port: crate::facts::first_port() },
        })
    }
}

const TAINT_FORM: &str = "KEY[=VALUE]:NoSchedule|PreferNoSchedule|NoExecute";

/// What agent and runner need beside the guests.
const RESERVED_MEMORY_MIB: u64 = 64;

/// Less than one full file of one container helps nobody; more than 1 PiB is a slip.
const LOGS_MIB: RangeInclusive<u64> = 10..=1 << 30;

/// What a namespace may be allowed to keep: at most what a file of the store may reasonably have.
const KEYVALUE_MIB: RangeInclusive<u64> = 1..=64 << 10;

#[cfg(test)]
mod tests;
