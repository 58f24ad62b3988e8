//! What can go wrong, by call.

use std::{io, net::IpAddr, path::PathBuf};

use dunlin_link::PodUid;

use crate::{
    attachment::HostPort, cni::PluginError, filter::Taken, owner::UID_BYTES_MAX, status::Problem,
    step::StepError,
};

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Plugins did not do it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Nothing to give addresses from.
    #[error("the node has no address block")]
    NoBlocks,
    /// Something else has the name.
    #[error("interface `{name}` is there and is no bridge but of kind `{kind}`")]
    NotABridge {
        /// The configured name.
        name: String,
        /// What it is; empty for hardware.
        kind: String,
    },
    /// Pods would reach nothing but the machine.
    #[error("failed to switch on net.ipv4.ip_forward")]
    Forwarding {
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The machine's network namespace cannot be entered.
    #[error("failed to enter the machine's network namespace")]
    Home(#[from] io::Error),
}

/// Why a pod is not in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Plugins did not do it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Not what can be written at things in the kernel, or given to plugins.
    #[error("pod uid `{uid}` is no text of at most {UID_BYTES_MAX} letters, digits, `-`, `_` and `.`")]
    Uid {
        /// The pod's.
        uid: PodUid,
    },
    /// Answers would not find their way.
    #[error("address {address} is none that a pod of this node can have")]
    Address {
        /// The pod's.
        address: IpAddr,
    },
    /// Not there, or not allowed.
    #[error("failed to open network namespace `{path}`")]
    Namespace {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is meant for a pod would be done to the machine.
    #[error("network namespace `{path}` is the machine's own")]
    OwnNamespace {
        /// As it was given.
        path: PathBuf,
    },
    /// Ports of the machine cannot lead to pods.
    #[error("hostPort {port}: {problem}")]
    HostPort {
        /// The first that is asked for.
        port: HostPort,
        /// Why not.
        problem: Problem,
    },
    /// It would not be kept to its own addresses.
    #[error("failed to keep the pod to its own address: {0}")]
    Guard(String),
    /// Another pod of the node has the port.
    #[error("hostPort {port} is held by pod `{holder}`")]
    HostPortTaken {
        /// Which one.
        port: HostPort,
        /// Who has it.
        holder: PodUid,
    },
    /// What all pods share could not be mended.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Others have all names that the pod's interface could have.
    #[error("interfaces with all of the names {names:?} are there and are not ours")]
    NoName {
        /// The names.
        names: Vec<String>,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl From<Taken> for AttachError {
    fn from(taken: Taken) -> Self {
        Self::HostPortTaken { port: taken.port, holder: taken.holder }
    }
}

/// Why something of a pod can be left in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// Plugins did not do it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Ports of the machine still lead there, or something of the pod's own port is left.
    #[error(transparent)]
    Filter(#[from] FilterProblem),
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// Why something of pods that are gone can be left in the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// Plugins did not do it.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// Ports of the machine still lead to pods that are gone, or something of these pods' own ports is left.
    #[error(transparent)]
    Filter(#[from] FilterProblem),
    /// What all pods share could not be mended.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel refused something.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// The packet filter was not brought up to date.
#[derive(Debug, thiserror::Error)]
#[error("failed to bring it up to date: {0}")]
pub struct FilterProblem(pub(crate) Problem);
