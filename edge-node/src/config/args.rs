//! The options as they are given.

use std::path::PathBuf;

use dunlin_edge_node_core::pressure::EvictionTexts;
use dunlin_registry::RegistriesConfig;
use serde::Deserialize;

use crate::{CompileMode, session::Transport};

/// Options as given; each is a flag, a `DUNLIN_*` variable and a key of the config file's `edgeNode` section.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EdgeNodeArgs {
    /// Name of the node, a DNS name in lower case; {hostname}, {serial} and {machineId} stand for what the machine has, so that
    /// cards with the same files become different nodes [default: {hostname}]
    #[arg(long, env = "DUNLIN_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Folder for the node's state, modules and logs
    /// [default: /var/lib/dunlin/node for root, else $XDG_STATE_HOME/dunlin/node]
    #[arg(long, alias = "state", env = "DUNLIN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Token to join a cluster with; needed once, ignored by a node that has joined
    #[arg(long, env = "DUNLIN_JOIN", value_name = "TOKEN", hide_env_values = true)]
    pub join: Option<String>,

    /// File that holds the token; keeps it out of process lists
    #[arg(long, env = "DUNLIN_JOIN_FILE", value_name = "FILE", conflicts_with = "join")]
    pub join_file: Option<PathBuf>,

    /// Addresses of coordinators, in place of those in the token; may be given several times
    #[arg(long, env = "DUNLIN_COORDINATOR", value_name = "HOST:PORT", value_delimiter = ',')]
    pub coordinator: Vec<String>,

    /// How to reach the coordinator: by UDP and over TCP while UDP does not pass, or by one of them alone [default: auto]
    #[arg(long, env = "DUNLIN_TRANSPORT", value_name = "WAY")]
    pub transport: Option<Transport>,

    /// What is done about a module of which the coordinator has no compiled code: compile it here where there is nobody to ask and memory
    /// enough, or never [default: auto, and never in a build without a compiler]
    #[arg(long, env = "DUNLIN_COMPILE", value_name = "WHEN")]
    pub compile: Option<CompileMode>,

    /// What runs Linux containers: auto for the first of crun, runc and youki that is installed, one of them or the path of another OCI
    /// runtime, or none [default: auto]
    #[arg(long, env = "DUNLIN_RUNTIME", value_name = "NAME|PATH")]
    pub runtime: Option<String>,

    /// Folder of configurations of network plugins (CNI), of which the first by name is the network of pods with Linux containers
    /// [default: a bridge of the node's own]
    #[arg(long, env = "DUNLIN_CNI_CONF_DIR", value_name = "DIR")]
    pub cni_conf_dir: Option<PathBuf>,

    /// Folder of the plugins' programs [default: /opt/cni/bin]
    #[arg(long, env = "DUNLIN_CNI_BIN_DIR", value_name = "DIR")]
    pub cni_bin_dir: Option<PathBuf>,

    /// Label of the Node object; may be given several times; of those of Kubernetes only what a kubelet may set, and no role
    #[arg(long = "label", env = "DUNLIN_NODE_LABELS", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub labels: Vec<String>,

    /// Taint of the Node object; may be given several times
    #[arg(
        long = "taint",
        env = "DUNLIN_NODE_TAINTS",
        value_name = "KEY[=VALUE]:EFFECT",
        value_delimiter = ','
    )]
    pub taints: Vec<String>,

    /// Address by which other machines reach this node [default: the one it sends from]; may be given several times
    #[arg(
        long = "node-address",
        env = "DUNLIN_NODE_ADDRESSES",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub node_addresses: Vec<String>,

    /// Folder of pod manifests that the node runs by itself, with no coordinator ever seen; looked at every 5 s [default: none]
    #[arg(long, env = "DUNLIN_STATIC_PODS", value_name = "DIR")]
    pub static_pods: Option<PathBuf>,

    /// Most pods this node takes [default: what the kernel's limits allow]
    #[arg(long, env = "DUNLIN_MAX_PODS", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub max_pods: Option<u32>,

    /// CPU kept from pods, in thousandths of a core [default: 0]
    #[arg(long, env = "DUNLIN_RESERVED_MILLI_CPU", value_name = "MILLI")]
    pub reserved_milli_cpu: Option<u64>,

    /// Memory kept from pods, in MiB [default: 64]
    #[arg(long, env = "DUNLIN_RESERVED_MEMORY_MIB", value_name = "MIB")]
    pub reserved_memory_mib: Option<u64>,

    /// What the logs of all pods may take together, in MiB; when they take more, rotated parts and runs before the last go, the oldest
    /// first [default: a tenth of the disk, at most 1024]
    #[arg(long, env = "DUNLIN_LOGS_MAX_MIB", value_name = "MIB")]
    pub logs_max_mib: Option<u64>,

    /// What guests of a namespace may keep on this node by `wasi:keyvalue` together, in MiB; a change counts when the runner starts anew
    /// [default: 64]
    #[arg(long, env = "DUNLIN_KEYVALUE_QUOTA_MIB", value_name = "MIB")]
    pub keyvalue_quota_mib: Option<u64>,

    /// Below what the node ends pods: signals memory.available, nodefs.available, nodefs.inodesFree and pid.available, with amounts like
    /// 100Mi or 10%; empty for never
    /// [default: memory.available<5%, at most 100Mi; nodefs.available<10%, at most 1Gi; nodefs.inodesFree<5%; pid.available<5%]
    #[arg(long, env = "DUNLIN_EVICTION_HARD", value_name = "SIGNAL<AMOUNT,...")]
    pub eviction_hard: Option<String>,

    /// Below what the node ends pods if it stays so for the time that --eviction-soft-grace-period gives; the signals are the same
    /// [default: none]
    #[arg(long, env = "DUNLIN_EVICTION_SOFT", value_name = "SIGNAL<AMOUNT,...")]
    pub eviction_soft: Option<String>,

    /// How long each soft threshold may be met before pods are ended, for instance memory.available=1m30s
    #[arg(long, env = "DUNLIN_EVICTION_SOFT_GRACE_PERIOD", value_name = "SIGNAL=TIME,...")]
    pub eviction_soft_grace_period: Option<String>,

    /// What there has to be beyond a threshold before the node stops ending pods, for instance nodefs.available=500Mi [default: none]
    #[arg(long, env = "DUNLIN_EVICTION_MINIMUM_RECLAIM", value_name = "SIGNAL=AMOUNT,...")]
    pub eviction_minimum_reclaim: Option<String>,

    /// What a pod has to stop by itself when it is ended for a soft threshold, if its own grace is longer, in seconds [default: 0]
    #[arg(long, env = "DUNLIN_EVICTION_MAX_POD_GRACE_PERIOD", value_name = "SECONDS")]
    pub eviction_max_pod_grace_period: Option<u32>,

    /// How long the node says that it is short after it was last [default: 5m]
    #[arg(long, env = "DUNLIN_EVICTION_PRESSURE_TRANSITION_PERIOD", value_name = "TIME")]
    pub eviction_pressure_transition_period: Option<String>,

    /// Settings of the kernel (sysctls) that pods may have for themselves beyond those that harm nobody, names or beginnings with `*`, for
    /// instance net.core.somaxconn,kernel.msg*; may be given several times [default: none]
    #[arg(
        long = "allowed-unsafe-sysctls",
        env = "DUNLIN_ALLOWED_UNSAFE_SYSCTLS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub allowed_unsafe_sysctls: Vec<String>,

    /// Folder of archives whose images the node loads by itself, each once, for sites without a network; looked at every 30 s
    /// [default: images-to-load in the state folder]
    #[arg(long, env = "DUNLIN_IMAGES_DIR", value_name = "DIR")]
    pub images_dir: Option<PathBuf>,

    /// Folder of whose files pods may run modules as `image: file:///PATH`, with no link in it followed; may be given several times
    /// [default: none]
    #[arg(long = "module-dir", env = "DUNLIN_MODULE_DIRS", value_name = "DIR", value_delimiter = ',')]
    pub module_dirs: Vec<PathBuf>,

    /// How full the disk may get, in percent, before images for Linux that no pod needs are removed, those that were not used for longest
    /// first [default: 85]
    #[arg(long, env = "DUNLIN_IMAGE_GC_HIGH_THRESHOLD", value_name = "PERCENT")]
    pub image_gc_high_threshold: Option<u8>,

    /// Down to where that makes room, in percent [default: 80]
    #[arg(long, env = "DUNLIN_IMAGE_GC_LOW_THRESHOLD", value_name = "PERCENT")]
    pub image_gc_low_threshold: Option<u8>,

    /// Blocks of 64 pod addresses in 10.42.0.0/16 that belong to this node, 0 to 1023
    /// [default: 16 blocks chosen by the node's name]
    #[arg(long, env = "DUNLIN_ADDRESS_BLOCKS", value_name = "FIRST[+COUNT]")]
    pub address_blocks: Option<String>,

    /// Second number of the loopback addresses that stand for pods on this machine, 127.N.x.y; 1 to 254 [default: 42]
    #[arg(long, env = "DUNLIN_LOOPBACK", value_name = "N")]
    pub loopback: Option<u8>,

    /// How registries are reached: mirrors, credentials, certificates. Only in the config file.
    #[arg(skip)]
    pub registries: Option<RegistriesConfig>,
}

impl EdgeNodeArgs {
    /// These options, with those of `file` where these say nothing.
    pub fn or(self, file: Self) -> Self {
        let list = |mine: Vec<String>, theirs| if mine.is_empty() { theirs } else { mine };
        // A token and a file of one source belong together: one given here hides both given there.
        let (join, join_file) = match (self.join, self.join_file) {
            (None, None) => (file.join, file.join_file),
            given => given,
        };
        Self {
            node_name: self.node_name.or(file.node_name),
            state_dir: self.state_dir.or(file.state_dir),
            join,
            join_file,
            coordinator: list(self.coordinator, file.coordinator),
            transport: self.transport.or(file.transport),
            compile: self.compile.or(file.compile),
            runtime: self.runtime.or(file.runtime),
            cni_conf_dir: self.cni_conf_dir.or(file.cni_conf_dir),
            cni_bin_dir: self.cni_bin_dir.or(file.cni_bin_dir),
            labels: list(self.labels, file.labels),
            taints: list(self.taints, file.taints),
            node_addresses: list(self.node_addresses, file.node_addresses),
            static_pods: self.static_pods.or(file.static_pods),
            max_pods: self.max_pods.or(file.max_pods),
            reserved_milli_cpu: self.reserved_milli_cpu.or(file.reserved_milli_cpu),
            reserved_memory_mib: self.reserved_memory_mib.or(file.reserved_memory_mib),
            logs_max_mib: self.logs_max_mib.or(file.logs_max_mib),
            keyvalue_quota_mib: self.keyvalue_quota_mib.or(file.keyvalue_quota_mib),
            eviction_hard: self.eviction_hard.or(file.eviction_hard),
            eviction_soft: self.eviction_soft.or(file.eviction_soft),
            eviction_soft_grace_period: self.eviction_soft_grace_period.or(file.eviction_soft_grace_period),
            eviction_minimum_reclaim: self.eviction_minimum_reclaim.or(file.eviction_minimum_reclaim),
            eviction_max_pod_grace_period: self
                .eviction_max_pod_grace_period
                .or(file.eviction_max_pod_grace_period),
            eviction_pressure_transition_period: self
                .eviction_pressure_transition_period
                .or(file.eviction_pressure_transition_period),
            allowed_unsafe_sysctls: list(self.allowed_unsafe_sysctls, file.allowed_unsafe_sysctls),
            images_dir: self.images_dir.or(file.images_dir),
            module_dirs: if self.module_dirs.is_empty() { file.module_dirs } else { self.module_dirs },
            image_gc_high_threshold: self.image_gc_high_threshold.or(file.image_gc_high_threshold),
            image_gc_low_threshold: self.image_gc_low_threshold.or(file.image_gc_low_threshold),
            address_blocks: self.address_blocks.or(file.address_blocks),
            loopback: self.loopback.or(file.loopback),
            registries: self.registries.or(file.registries),
        }
    }

    pub(super) fn eviction_texts(&self) -> EvictionTexts<'_> {
        EvictionTexts {
            hard: self.eviction_hard.as_deref(),
            soft: self.eviction_soft.as_deref(),
            soft_grace: self.eviction_soft_grace_period.as_deref(),
            minimum_reclaim: self.eviction_minimum_reclaim.as_deref(),
            max_pod_grace_seconds: self.eviction_max_pod_grace_period.unwrap_or(0),
            transition: self.eviction_pressure_transition_period.as_deref(),
        }
    }
}
