//! The coordinator's options: what the command line, the environment and the config file may say, and what they mean together.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::Deserialize;

/// Options as given; each is a flag, a `DUNLIN_*` variable and a key of the config file's `coordinator` section.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CoordinatorArgs {
    /// Folder for the store, the certificate authority and pushed modules
    /// [default: /var/lib/dunlin/coordinator for root, else $XDG_STATE_HOME/dunlin/coordinator]
    #[arg(long, env = "DUNLIN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address on which nodes and the command line connect, by UDP or TCP [default: 0.0.0.0:6443]
    #[arg(long, env = "DUNLIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Address by which nodes reach this coordinator, put into join tokens; may be given several times
    /// [default: the listen address, or the machine's host name when that is a wildcard]
    #[arg(long, env = "DUNLIN_ADVERTISE", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(default)]
    pub advertise: Vec<String>,

    /// Seconds without a word from a node until it counts as unreachable, 5 to 3600 [default: 50]
    #[arg(long, env = "DUNLIN_NODE_GRACE_SECONDS", value_name = "SECONDS")]
    pub node_grace_seconds: Option<u64>,
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
    /// Silence after which a node is unreachable.
    pub node_grace: std::time::Duration,
}

/// Everything that is wrong with the options, one line each.
#[derive(Debug, thiserror::Error)]
#[error("invalid coordinator options:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// The port of a Kubernetes API server; UDP for QUIC, and TCP for HTTPS once it is served.
pub const DEFAULT_PORT: u16 = 6443;

/// Kubernetes' `node-monitor-grace-period`: two keep-alives of 25 s. Silence shorter than this says little on radio links.
const NODE_GRACE_SECONDS: u64 = 50;

impl CoordinatorArgs {
    /// These options, with those of `file` where these say nothing.
    pub fn or(self, file: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(file.data_dir),
            listen: self.listen.or(file.listen),
            advertise: if self.advertise.is_empty() { file.advertise } else { self.advertise },
            node_grace_seconds: self.node_grace_seconds.or(file.node_grace_seconds),
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
        let grace = self.node_grace_seconds.unwrap_or(NODE_GRACE_SECONDS);
        if !(5..=3600).contains(&grace) {
            problems.push(format!("nodeGraceSeconds: {grace} is not between 5 and 3600"));
        }
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        Ok(CoordinatorConfig {
            data_dir: self.data_dir.unwrap_or(default_data_dir),
            listen,
            advertise: self.advertise,
            node_grace: std::time::Duration::from_secs(grace),
        })
    }
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
                node_grace_seconds: Some(1),
                ..Default::default()
            },
            &["`here`", "`b`", "`c:0`", "nodeGraceSeconds: 1"],
        );
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
