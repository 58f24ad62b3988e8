//! The coordinator's options: what the command line, the environment and the config file may say, and what they mean together.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use dunlin_api::{ip::Cidr, time::parse_duration};
use dunlin_compiler::Compiler;
use dunlin_link::bandwidth::BytesPerSecond;
use dunlin_registry::RegistriesConfig;
use serde::Deserialize;

use crate::{
    backup::snapshots::SnapshotOptions, driver::Controllers, pki::ServingCertificate,
    server_time::ClockTrust, service::ServiceNetwork,
};

/// Options as given; each is a flag, a `DUNLIN_*` variable and a key of the config file's `coordinator` section.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CoordinatorArgs {
    /// Folder for the store, the certificate authority and pushed modules
    /// [default: /var/lib/dunlin/coordinator for root, else $XDG_STATE_HOME/dunlin/coordinator]
    #[arg(long, env = "DUNLIN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address on which nodes and clients connect, by UDP or TCP [default: 0.0.0.0:6443]
    #[arg(long, env = "DUNLIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Address by which nodes reach this coordinator, put into join tokens; may be given several times
    /// [default: the listen address, or the machine's host name when that is a wildcard]
    #[arg(long, env = "DUNLIN_ADVERTISE", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(default)]
    pub advertise: Vec<String>,

    /// Further DNS name or address that clients know this coordinator by, put into its certificate; may be given several times. The
    /// machine's own names and addresses and those of --advertise are in it anyway
    #[arg(long, env = "DUNLIN_TLS_SAN", value_name = "NAME|ADDRESS", value_delimiter = ',')]
    #[serde(default)]
    pub tls_san: Vec<String>,

    /// Seconds without a word from a node until it counts as unreachable, 5 to 3600 [default: 50]
    #[arg(long, env = "DUNLIN_NODE_GRACE_SECONDS", value_name = "SECONDS")]
    pub node_grace_seconds: Option<u64>,

    /// Time between snapshots of the store, for instance 6h; none is written when nothing changed; 0 for no snapshots [default: 24h]
    #[arg(long, env = "DUNLIN_SNAPSHOT_EVERY", value_name = "TIME")]
    pub snapshot_every: Option<String>,

    /// How many snapshots are kept, 1 to 1000 [default: 4]
    #[arg(long, env = "DUNLIN_SNAPSHOT_KEEP", value_name = "COUNT")]
    pub snapshot_keep: Option<usize>,

    /// Folder for snapshots [default: snapshots in the data folder]
    #[arg(long, env = "DUNLIN_SNAPSHOT_DIR", value_name = "DIR")]
    pub snapshot_dir: Option<PathBuf>,

    /// How long node certificates last, 5s to 3650d; nodes renew them at 50 to 80 % of that, and one that was away for longer
    /// renews its own before anything else [default: 30d]
    #[arg(long, env = "DUNLIN_NODE_CERTIFICATE_LIFETIME", value_name = "TIME")]
    pub node_certificate_lifetime: Option<String>,
    /// Most that the link of one node carries each way, in bits (256kbit, 2Mbit) or bytes (100kB, 1MiB) a second: modules and logs
    /// wait, assignments and status do not [default: as much as the network takes]
    #[arg(long, env = "DUNLIN_NODE_BANDWIDTH", value_name = "RATE")]
    pub node_bandwidth: Option<String>,

    /// Addresses for Services; no pod and no machine may have one of them. It cannot be changed once the cluster is made
    /// [default: 10.43.0.0/16]
    #[arg(long, env = "DUNLIN_SERVICE_CIDR", value_name = "RANGE")]
    pub service_cidr: Option<String>,

    /// Ports of all nodes for Services of type NodePort [default: 30000-32767]
    #[arg(long, env = "DUNLIN_SERVICE_NODE_PORT_RANGE", value_name = "FIRST-LAST")]
    pub service_node_port_range: Option<String>,

    /// Serve the API and the nodes, but run neither controllers nor the scheduler: others place pods and look after what is there
    #[arg(long, env = "DUNLIN_NO_CONTROLLERS")]
    #[serde(default)]
    pub no_controllers: bool,

    /// Do not pull the images of other registries that nodes run, to compile them: nodes compile those by themselves, where they may
    #[arg(long, env = "DUNLIN_NO_PULL_TO_COMPILE")]
    #[serde(default)]
    pub no_pull_to_compile: bool,

    /// How registries are reached: mirrors, credentials, certificates. Only in the config file.
    #[arg(skip)]
    pub registries: Option<RegistriesConfig>,

    /// Go by this machine's clock although the cluster has seen a later time: once, after a clock that was ahead was put right. Nodes
    /// renew the certificates that they got meanwhile
    #[arg(long)]
    #[serde(skip)]
    pub trust_clock: bool,
}

/// Valid options.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Address to bind on UDP and TCP; port 0 picks a free one.
    pub listen: SocketAddr,
    /// `HOST:PORT` addresses for join tokens; empty means "what the socket turned out to be".
    pub advertise: Vec<String>,
    /// Further names and addresses for the certificate.
    pub tls_names: Vec<String>,
    /// Silence after which a node is unreachable.
    pub node_grace: Duration,
    /// Scheduled backups of the store.
    pub snapshots: SnapshotOptions,
    /// How long node certificates last.
    pub node_certificate_lifetime: Duration,
    /// What the link of one node may carry each way.
    pub node_bandwidth: Option<BytesPerSecond>,
    /// Addresses and ports for Services.
    pub service_network: ServiceNetwork,
    /// Whether controllers and the scheduler act.
    pub controllers: Controllers,
    /// What compiles modules for nodes; `None` when nodes are left to it. `validate` names none: only the program knows its own.
    pub compiler: Option<Compiler>,
    /// How the registries are reached whose images are pulled to compile them; `None` when those are left to nodes.
    pub registries: Option<RegistriesConfig>,
    /// Whether this machine's clock or the newest time that the cluster has seen is wrong when they disagree.
    pub clock_trust: ClockTrust,
}

/// Everything that is wrong with the options, one line each.
#[derive(Debug, thiserror::Error)]
#[error("invalid coordinator options:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Names and addresses in a certificate beyond those that it has anyway: far more than a machine is known by, and a handshake stays short.
const TLS_NAMES_MAX: usize = 64;

/// The port of a Kubernetes API server; UDP for QUIC, TCP for HTTPS and tunnels.
pub const DEFAULT_PORT: u16 = 6443;

/// Kubernetes' `node-monitor-grace-period`: two keep-alives of 25 s. Silence shorter than this says little on radio links.
const NODE_GRACE_SECONDS: u64 = 50;

/// Once a day and only after changes: a small cluster's snapshot is less than what its events write, and a card does not notice.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Enough to go back behind a mistake that was made before a weekend.
const SNAPSHOT_KEEP: usize = 4;

/// How long node certificates last: a stolen one is of no use after that, and a node that is away for longer costs one more connection.
const NODE_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Certificates tell time in whole seconds, and half of the shortest life must be enough to renew.
const NODE_CERTIFICATE_LIFETIME_MIN: Duration = Duration::from_secs(5);

/// As large as the private range of addresses.
const SERVICE_CIDR_BITS_MIN: u8 = 8;

/// Room for the API's own Service and a few more.
const SERVICE_CIDR_BITS_MAX: u8 = 28;

/// As long as anyone keeps a machine.
const NODE_CERTIFICATE_LIFETIME_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

impl CoordinatorArgs {
    /// These options, with those of `file` where these say nothing.
    pub fn or(self, file: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(file.data_dir),
            listen: self.listen.or(file.listen),
            advertise: if self.advertise.is_empty() { file.advertise } else { self.advertise },
            tls_san: if self.tls_san.is_empty() { file.tls_san } else { self.tls_san },
            node_grace_seconds: self.node_grace_seconds.or(file.node_grace_seconds),
            snapshot_every: self.snapshot_every.or(file.snapshot_every),
            snapshot_keep: self.snapshot_keep.or(file.snapshot_keep),
            snapshot_dir: self.snapshot_dir.or(file.snapshot_dir),
            node_certificate_lifetime: self.node_certificate_lifetime.or(file.node_certificate_lifetime),
            node_bandwidth: self.node_bandwidth.or(file.node_bandwidth),
            service_cidr: self.service_cidr.or(file.service_cidr),
            service_node_port_range: self.service_node_port_range.or(file.service_node_port_range),
            no_controllers: self.no_controllers || file.no_controllers,
            no_pull_to_compile: self.no_pull_to_compile || file.no_pull_to_compile,
            registries: self.registries.or(file.registries),
            trust_clock: self.trust_clock,
        }
    }

    /// Checks all options together; `default_data_dir` is where this user's state belongs.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn validate(self, default_data_dir: PathBuf) -> Result<CoordinatorConfig, ConfigError> {
        let mut problems = Vec::new();
        let listen = match self.listen.as_deref().map(parse_listen) {
            None => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT),
            Some(Ok(address)) => address,
            Some(Err(problem)) => {
                problems.push(problem);
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT)
            }
        };
        for address in &self.advertise {
            if !is_host_port(address) {
                problems.push(format!("advertise: `{address}` is not HOST:PORT"));
            }
        }
        for name in self.tls_san.iter().filter(|name| !ServingCertificate::takes(name)) {
            problems.push(format!("tlsSan: `{name}` is neither a DNS name nor an address"));
        }
        if self.tls_san.len() > TLS_NAMES_MAX {
            problems.push(format!("tlsSan: there are more than {TLS_NAMES_MAX}"));
        }
        let grace = self.node_grace_seconds.unwrap_or(NODE_GRACE_SECONDS);
        if !(5..=3600).contains(&grace) {
            problems.push(format!("nodeGraceSeconds: {grace} is not between 5 and 3600"));
        }
        let every = self.snapshot_every.as_deref().map_or(Ok(SNAPSHOT_EVERY), parse_interval);
        let every = every.unwrap_or_else(|problem| {
            problems.push(problem);
            SNAPSHOT_EVERY
        });
        let keep = self.snapshot_keep.unwrap_or(SNAPSHOT_KEEP);
        if !(1..=1000).contains(&keep) {
            problems.push(format!("snapshotKeep: {keep} is not between 1 and 1000"));
        }
        let lifetime =
            self.node_certificate_lifetime.as_deref().map_or(Ok(NODE_CERTIFICATE_LIFETIME), parse_lifetime);
        let node_certificate_lifetime = lifetime.unwrap_or_else(|problem| {
            problems.push(problem);
            NODE_CERTIFICATE_LIFETIME
        });
        let node_bandwidth = self.node_bandwidth.as_deref().map(parse_rate).transpose();
        let node_bandwidth = node_bandwidth.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let service_network = service_network(
            self.service_cidr.as_deref(),
            self.service_node_port_range.as_deref(),
            &mut problems,
        );
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let data_dir = self.data_dir.unwrap_or(default_data_dir);
        let folder = self.snapshot_dir.unwrap_or_else(|| data_dir.join("snapshots"));
        Ok(CoordinatorConfig {
            data_dir,
            listen,
            advertise: self.advertise,
            tls_names: self.tls_san,
            node_grace: Duration::from_secs(grace),
            snapshots: SnapshotOptions { every, keep, folder },
            node_certificate_lifetime,
            node_bandwidth,
            service_network,
            controllers: if self.no_controllers { Controllers::Rest } else { Controllers::Act },
            compiler: None,
            registries: (!self.no_pull_to_compile).then(|| self.registries.unwrap_or_default()),
            clock_trust: if self.trust_clock { ClockTrust::Machine } else { ClockTrust::Newest },
        })
    }
}

/// What is given, and the standard for what is not.
fn service_network(range: Option<&str>, ports: Option<&str>, problems: &mut Vec<String>) -> ServiceNetwork {
    let mut network = ServiceNetwork::standard();
    match range.map(|range| (range, range.parse::<Cidr>())) {
        None => {}
        Some((_, Ok(range))) if range.is_ipv6() => {
            problems.push(format!("serviceCidr: `{range}` is a range of IPv6, which pods do not have yet"));
        }
        Some((_, Ok(range))) if (SERVICE_CIDR_BITS_MIN..=SERVICE_CIDR_BITS_MAX).contains(&range.bits()) => {
            network.addresses = range;
        }
        Some((given, _)) => problems.push(format!(
            "serviceCidr: `{given}` is not a range of addresses from /{SERVICE_CIDR_BITS_MIN} to \
             /{SERVICE_CIDR_BITS_MAX}, for instance 10.43.0.0/16"
        )),
    }
    let parse = |given: &str| {
        let (first, last) = given.split_once('-')?;
        let range = first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?;
        (*range.start() > 0 && !range.is_empty()).then_some(range)
    };
    match ports.map(|ports| (ports, parse(ports))) {
        None => {}
        Some((_, Some(range))) => network.node_ports = range,
        Some((given, None)) => problems.push(format!(
            "serviceNodePortRange: `{given}` is not a range of ports, for instance 30000-32767"
        )),
    }
    network
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let bounds = NODE_CERTIFICATE_LIFETIME_MIN..=NODE_CERTIFICATE_LIFETIME_MAX;
    parse_duration(text).filter(|lifetime| bounds.contains(lifetime)).ok_or_else(|| {
        format!(
            "nodeCertificateLifetime: `{text}` is not a time between 5s and 3650d, for instance 30d or 12h"
        )
    })
}

fn parse_rate(text: &str) -> Result<BytesPerSecond, String> {
    text.parse().map_err(|error| format!("nodeBandwidth: `{text}` is {error}"))
}

/// `ADDRESS:PORT`, `ADDRESS` alone or `:PORT` alone.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    if let Some(Ok(port)) = text.strip_prefix(':').map(str::parse) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    Err(format!("listen: `{text}` is not ADDRESS:PORT, for instance 0.0.0.0:6443 or [::]:6443"))
}

/// `90s`, `30m`, `6h`, `1d`, or 0 for never.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let problem =
        || format!("snapshotEvery: `{text}` is neither 0 nor a time from 10s to 365d, for instance 6h");
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's' | 'm' | 'h' | 'd')) => text.split_at(at),
        _ => (text, "s"),
    };
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => 1,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    match seconds.ok_or_else(problem)? {
        seconds @ (0 | 10..=31_536_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(problem()),
    }
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: CoordinatorArgs, problems: &[&str]) {
        let found = match args.validate(PathBuf::from("/d")) {
            Ok(_) => Vec::new(),
            Err(ConfigError(found)) => found,
        };
        assert_eq!(found.len(), problems.len(), "{found:?}");
        for (found, part) in found.iter().zip(problems) {
            assert!(found.contains(part), "{found} should contain {part}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        check(CoordinatorArgs::default(), &[]);
        check(CoordinatorArgs { listen: Some(":7000".into()), ..Default::default() }, &[]);
        check(CoordinatorArgs { listen: Some("::1".into()), ..Default::default() }, &[]);
        check(
            CoordinatorArgs {
                listen: Some("here".into()),
                advertise: vec!["a:1".into(), "b".into(), "c:0".into()],
                tls_san: vec!["*.example.org".into(), "2001:db8::2".into(), "a b".into(), "x:1".into()],
                node_grace_seconds: Some(1),
                snapshot_every: Some("6x".into()),
                snapshot_keep: Some(0),
                node_certificate_lifetime: Some("1s".into()),
                node_bandwidth: Some("256".into()),
                ..Default::default()
            },
            &[
                "`here`",
                "`b`",
                "`c:0`",
                "tlsSan: `a b`",
                "tlsSan: `x:1`",
                "nodeGraceSeconds: 1",
                "snapshotEvery: `6x`",
                "snapshotKeep: 0",
                "nodeCertificateLifetime: `1s`",
                "nodeBandwidth: `256`",
            ],
        );
    }

    #[test]
    fn names_in_the_certificate_are_few() {
        let tls_san = (0..=TLS_NAMES_MAX).map(|number| format!("n{number}.example.org")).collect();
        check(CoordinatorArgs { tls_san, ..Default::default() }, &["tlsSan: there are more than 64"]);
    }

    #[test]
    fn intervals_are_read() {
        let check = |text, seconds: Option<u64>| {
            assert_eq!(parse_interval(text).ok(), seconds.map(Duration::from_secs), "{text}");
        };
        check("0", Some(0));
        check("6h", Some(6 * 3600));
        check("90", Some(90));
        check("1d", Some(86400));
        check("1s", None);
        check("h", None);
        check("", None);
        check("400d", None);
        check("99999999999999999999h", None);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let flags = CoordinatorArgs { listen: Some(":1".into()), ..Default::default() };
        let file = CoordinatorArgs {
            listen: Some(":2".into()),
            advertise: vec!["x:2".into()],
            ..Default::default()
        };
        let both = flags.or(file);
        assert_eq!(both.listen.as_deref(), Some(":1"));
        assert_eq!(both.advertise, ["x:2"]);
    }
}
