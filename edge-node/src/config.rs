//! The node's options: what the command line, the environment and the config file may say, and what they mean together.

use std::{ops::RangeInclusive, path::PathBuf};

use dunlin_edge_node_core::{
    address::{BLOCKS, BlockRange, Loopback},
    admission::AllowedSysctls,
    doctor::Wanted,
    pressure::{EvictionTexts, Thresholds},
};
use dunlin_link::{Bytes, MilliCpu, labels::is_own_label, status::NodeResources};
use dunlin_registry::RegistriesConfig;
use serde::Deserialize;

use crate::{
    CompileMode, doctor::RUNTIMES, images::ImageBounds, pod_network::BlockClaim, runner::own_compiler,
    session::Transport,
};

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
    #[arg(long, env = "DUNLIN_STATE_DIR", value_name = "DIR")]
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

/// What this machine makes of options that are not given.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its host name.
    pub hostname: String,
    /// Last eight characters of the board's serial number, if it has one.
    pub serial: Option<String>,
    /// First eight characters of `/etc/machine-id`, if there is one.
    pub machine_id: Option<String>,
    /// Where this user's state belongs.
    pub state_dir: PathBuf,
}

impl Machine {
    /// This machine; `state_dir` is where this user's state belongs.
    pub fn this(state_dir: PathBuf) -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let serial = SERIAL_FILES.iter().find_map(read).and_then(|text| short_serial(&text));
        let machine_id =
            read(&MACHINE_ID_FILE).and_then(|text| text.get(..SHORT_ID_BYTES).map(str::to_owned));
        Self { hostname: Self::hostname(), serial, machine_id, state_dir }
    }

    /// A node's name from its template; fails with the placeholder that this machine has nothing for.
    fn fill(&self, template: &str) -> Result<String, &'static str> {
        let known = [
            ("{hostname}", Some(&self.hostname)),
            ("{serial}", self.serial.as_ref()),
            ("{machineId}", self.machine_id.as_ref()),
        ];
        let used = known.into_iter().filter(|(placeholder, _)| template.contains(placeholder));
        used.into_iter().try_fold(template.to_owned(), |name, (placeholder, value)| {
            value.map(|value| name.replace(placeholder, value)).ok_or(placeholder)
        })
    }

    /// The name of a node on this machine that was given none.
    pub(crate) fn hostname() -> String {
        rustix::system::uname().nodename().to_string_lossy().to_lowercase()
    }
}

/// Everything that is wrong with the options, one line each.
#[derive(Debug, thiserror::Error)]
#[error("invalid edge-node options:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

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
            image_gc_high_threshold: self.image_gc_high_threshold.or(file.image_gc_high_threshold),
            image_gc_low_threshold: self.image_gc_low_threshold.or(file.image_gc_low_threshold),
            address_blocks: self.address_blocks.or(file.address_blocks),
            loopback: self.loopback.or(file.loopback),
            registries: self.registries.or(file.registries),
        }
    }

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
            image_bounds,
            blocks,
            registries: self.registries.unwrap_or_default(),
            claim: None,
            loopback: Loopback { octet, first_port: crate::facts::first_port() },
        })
    }
}

impl EdgeNodeArgs {
    fn eviction_texts(&self) -> EvictionTexts<'_> {
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

/// What was found wrong so far.
#[derive(Default)]
struct Problems {
    list: Vec<String>,
}

impl Problems {
    /// The name that a template makes on this machine.
    fn node_name(&mut self, template: &str, machine: &Machine) -> String {
        let node_name = machine.fill(template).unwrap_or_else(|missing| {
            self.list.push(format!("node name `{template}`: this machine has no {missing}"));
            template.replace(['{', '}'], "")
        });
        if !is_subdomain(&node_name) {
            let form =
                "lower-case letters, digits, `-` and `.`, at most 253, with a letter or digit at each end";
            self.list.push(format!("node name `{node_name}`: {form}"));
        }
        node_name
    }

    /// The part of the pod range that was given, or follows from the node's name.
    fn blocks(&mut self, given: Option<&str>, node_name: &str) -> Option<BlockRange> {
        let blocks = given.map_or_else(|| Some(default_blocks(node_name)), parse_blocks);
        if blocks.is_none() {
            let (given, last) = (given.unwrap_or_default(), BLOCKS - 1);
            self.list.push(format!("address blocks `{given}`: FIRST or FIRST+COUNT within 0 to {last}"));
        }
        blocks
    }

    /// What was asked for, as far as this build can do it.
    fn mebibytes(&mut self, what: &str, asked: Option<u64>, allowed: &RangeInclusive<u64>) {
        if let Some(mib) = asked.filter(|mib| !allowed.contains(mib)) {
            let (least, most) = (allowed.start(), allowed.end());
            self.list.push(format!("{what} `{mib}` MiB: {least} to {most}"));
        }
    }

    fn compile_mode(&mut self, asked: Option<CompileMode>) -> CompileMode {
        if own_compiler().is_some() {
            return asked.unwrap_or_default();
        }
        if asked == Some(CompileMode::Auto) {
            self.list.push(
                "compile `auto`: this build of dunlin has no compiler, so it can only be `never`".to_owned(),
            );
        }
        CompileMode::Never
    }

    /// The second number of addresses that stand for pods.
    fn loopback(&mut self, given: Option<u8>) -> u8 {
        let octet = given.unwrap_or(42);
        if !(1..=254).contains(&octet) {
            self.list.push(format!("loopback `{octet}`: 1 to 254"));
        }
        octet
    }

    /// How full the disk may get of images.
    fn image_bounds(&mut self, percents: (Option<u8>, Option<u8>)) -> ImageBounds {
        ImageBounds::new(percents).unwrap_or_else(|problem| {
            self.list.push(problem);
            ImageBounds::default()
        })
    }

    /// What runs containers, as it was asked for.
    fn runtime(&mut self, asked: Option<&str>) -> Wanted {
        match asked.unwrap_or("auto") {
            "auto" => Wanted::Any,
            "none" => Wanted::None,
            asked if asked.starts_with('/') || RUNTIMES.contains(&asked) => Wanted::This(asked.to_owned()),
            asked => {
                let known = RUNTIMES.join(", ");
                self.list.push(format!("runtime `{asked}`: auto, {known}, the path of another, or none"));
                Wanted::None
            }
        }
    }

    /// The thresholds of evictions that were asked for.
    fn thresholds(&mut self, texts: EvictionTexts<'_>) -> Thresholds {
        Thresholds::read(texts).unwrap_or_else(|error| {
            self.list.push(format!("eviction: {error}"));
            Thresholds::none()
        })
    }

    /// What pods may set of the kernel.
    fn sysctls(&mut self, patterns: &[String]) -> AllowedSysctls {
        AllowedSysctls::read(patterns).unwrap_or_else(|problems| {
            self.list
                .extend(problems.into_iter().map(|problem| format!("allowed unsafe sysctls: {problem}")));
            AllowedSysctls::default()
        })
    }

    fn parsed<T>(
        &mut self,
        texts: &[String],
        what: &str,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.list.push(format!("{what} `{text}`: {form}")),
            }
        }
        values
    }
}

fn is_subdomain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|byte| letter(*byte))
            && bytes.last().is_some_and(|byte| letter(*byte))
            && bytes.iter().all(|byte| letter(*byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn parse_label(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    (is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned()))
}

fn parse_taint(text: &str) -> Option<(String, String, String)> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
    (known && is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned(), effect.to_owned()))
}

/// A qualified name: an optional DNS prefix and a name of at most 63 characters.
fn is_key(key: &str) -> bool {
    let (prefix_ok, name) = match key.split_once('/') {
        Some((prefix, name)) => (is_subdomain(prefix), name),
        None => (true, key),
    };
    prefix_ok && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn parse_blocks(text: &str) -> Option<BlockRange> {
    let (first, count) = text.split_once('+').unwrap_or((text, "1"));
    BlockRange::new(first.parse().ok()?, count.parse().ok()?)
}

/// The end of a serial number, where boards of one batch differ; lower case, as names are.
fn short_serial(text: &str) -> Option<String> {
    let serial: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let start = serial.len().saturating_sub(SHORT_ID_BYTES);
    (!serial.is_empty()).then(|| serial[start..].to_lowercase())
}

/// Until the coordinator hands out blocks, a node takes a run of them by its name.
fn default_blocks(node_name: &str) -> BlockRange {
    let digest = dunlin_link::Digest::of(node_name.as_bytes());
    let [high, low, ..] = *digest.as_bytes();
    let runs = BLOCKS / DEFAULT_BLOCK_COUNT;
    let first = u16::from_be_bytes([high, low]) % runs * DEFAULT_BLOCK_COUNT;
    BlockRange::new(first, DEFAULT_BLOCK_COUNT).expect("a run below the last one is within the range")
}

const TAINT_FORM: &str = "KEY[=VALUE]:NoSchedule|PreferNoSchedule|NoExecute";

/// Blocks of a node that was given none: 992 addresses.
const DEFAULT_BLOCK_COUNT: u16 = 16;

/// The board's, or of a PC the machine's, which only root may read.
const SERIAL_FILES: [&str; 2] = ["/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial"];

/// Made at the first start of an installed system.
const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// Enough to tell a fleet's machines apart.
const SHORT_ID_BYTES: usize = 8;

/// What agent and runner need beside the guests.
const RESERVED_MEMORY_MIB: u64 = 64;

/// Less than one full file of one container helps nobody; more than 1 PiB is a slip.
const LOGS_MIB: RangeInclusive<u64> = 10..=1 << 30;

/// What a namespace may be allowed to keep: at most what a file of the store may reasonably have.
const KEYVALUE_MIB: RangeInclusive<u64> = 1..=64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            hostname: "gull".to_owned(),
            serial: Some("0a1b2c3d".to_owned()),
            machine_id: None,
            state_dir: PathBuf::from("/state"),
        }
    }

    #[test]
    fn nothing_given_is_valid() {
        let config = EdgeNodeArgs::default().validate(machine()).unwrap();
        assert_eq!((config.node_name.as_str(), config.state_dir), ("gull", PathBuf::from("/state")));
        assert_eq!(config.blocks.capacity(), 992);
    }

    #[test]
    fn names_are_made_of_what_the_machine_has() {
        let check = |template: &str, expected: &str| {
            let args = EdgeNodeArgs { node_name: Some(template.to_owned()), ..EdgeNodeArgs::default() };
            let found = args.validate(machine());
            let found = found.map(|config| config.node_name).unwrap_or_else(|error| error.to_string());
            assert!(found.contains(expected), "{found}");
        };
        check("pi-{serial}.{hostname}", "pi-0a1b2c3d.gull");
        check("pi-{machineId}", "node name `pi-{machineId}`: this machine has no {machineId}");
        check("pi-{model}", "node name `pi-{model}`: lower-case");
        assert_eq!(short_serial("10000000a1b2c3D4\0").as_deref(), Some("a1b2c3d4"));
        assert_eq!(short_serial("\n"), None);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let args = EdgeNodeArgs {
            node_name: Some("Not_A_Name".to_owned()),
            labels: ["a=b", "nothing", "node-role.kubernetes.io/worker=", "node.kubernetes.io/x=y"]
                .map(str::to_owned)
                .to_vec(),
            taints: vec!["k=v:Sometimes".to_owned()],
            coordinator: vec!["host".to_owned()],
            address_blocks: Some("1020+9".to_owned()),
            loopback: Some(0),
            logs_max_mib: Some(9),
            eviction_soft: Some("pid.available<7".to_owned()),
            ..EdgeNodeArgs::default()
        };
        let text = args.validate(machine()).unwrap_err().to_string();
        assert!(!text.contains("node.kubernetes.io/x"), "{text}");
        let role = "label `node-role.kubernetes.io/worker=`: no node may give itself this one";
        let parts = [
            "Not_A_Name",
            "label `nothing`",
            role,
            "k=v:Sometimes",
            "`host`",
            "1020+9",
            "loopback `0`",
            "`9` MiB",
            "grace period must be specified for the soft eviction threshold pid.available",
        ];
        for part in parts {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn given_options_hide_those_of_the_file() {
        let given = EdgeNodeArgs { join: Some("token".to_owned()), ..EdgeNodeArgs::default() };
        let file = EdgeNodeArgs {
            join_file: Some(PathBuf::from("/file")),
            taints: vec!["k:NoExecute".to_owned()],
            ..EdgeNodeArgs::default()
        };
        let config = given.or(file).validate(machine()).unwrap();
        assert_eq!(config.join, Some(JoinSource::Token("token".to_owned())));
        assert_eq!(config.taints, [("k".to_owned(), String::new(), "NoExecute".to_owned())]);
    }
}
