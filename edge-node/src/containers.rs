//! With what a node runs Linux containers, if its machine can: an OCI runtime, a program for shims, and folders.

use std::path::{Path, PathBuf};

use dunlin_edge_node_core::{
    doctor::{Machine, OciRuntime, usable_runtime},
    launch::linux::MachineFiles,
};
use dunlin_link::container_support::ContainerSupport;
use dunlin_oci_shim::LogBounds;

use crate::{
    app_armor, config::EdgeNodeConfig, edge_node::Guests, pod_network::PodNetwork, sandbox::ContainerKit,
    shim,
};

/// What a node needs to run Linux containers, or why it runs none.
pub(crate) fn kit(
    machine: &Machine,
    config: &EdgeNodeConfig,
    guests: &Guests,
) -> Result<ContainerKit, ContainerSupport> {
    let lacks =
        |reason: &str, message: String| ContainerSupport::Lacks { reason: reason.to_owned(), message };
    let OciRuntime { name, version, path } = usable_runtime(machine)?;
    let state_dir =
        std::path::absolute(&config.state_dir).map_err(|error| lacks(NO_STATE_FOLDER, error.to_string()))?;
    let bridge = || {
        PodNetwork::bridge(config.blocks, config.claim.clone())
            .ok_or_else(|| lacks(NO_ADDRESSES, "its blocks of addresses are no networks".to_owned()))
    };
    let network = match &config.plugins {
        Some(folders) => PodNetwork::plugins(folders, &state_dir),
        None => bridge()?,
    };
    Ok(ContainerKit {
        folder: state_dir.join("pods"),
        shim: shim::program(),
        runner_args: runner_args(guests),
        log: state_dir.join("shim.log"),
        runtime: PathBuf::from(path),
        runtime_version: format!("{name}://{version}"),
        log_bounds: LogBounds::DEFAULT,
        network,
        outlives_agent: matches!(guests, Guests::Process(_)),
    })
}

/// What the machine itself has of files that pods may get to see.
pub(crate) fn machine_files(state_dir: &Path) -> MachineFiles {
    // A file that is not there is as good as an empty one.
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut resolv_conf = read(RESOLV_CONF);
    if is_local_stub(&resolv_conf) {
        let upstream = read(RESOLVED_CONF);
        if !upstream.is_empty() {
            resolv_conf = upstream;
        }
    }
    MachineFiles {
        hosts: read("/etc/hosts"),
        resolv_conf,
        seccomp_folder: state_dir.join("seccomp").to_string_lossy().into_owned(),
        app_armor: app_armor::of_this_machine().clone(),
    }
}

/// Whether all name servers are on the machine's loopback, which pods do not reach.
fn is_local_stub(resolv_conf: &str) -> bool {
    let mut servers =
        resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).peekable();
    servers.peek().is_some() && servers.all(|server| server.trim().starts_with("127."))
}

/// What comes before a runner's socket.
fn runner_args(guests: &Guests) -> Vec<String> {
    match guests {
        Guests::Process(command) => {
            command.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect()
        }
        Guests::InProcess(_) => vec!["runner".to_owned()],
    }
}

/// Why there are none here, where the machine could run them.
const NO_ADDRESSES: &str = "NoAddresses";
const NO_STATE_FOLDER: &str = "NoStateFolder";

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What systemd-resolved asks itself, where the machine's own file names only its stub.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_only_the_machine_reaches_is_known() {
        assert!(is_local_stub("# x\nnameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_local_stub("nameserver 127.0.0.1\nnameserver 192.0.2.1\n"));
        assert!(!is_local_stub("search a\n"));
    }
}
