//! What does not work of a node's network, for the node's conditions and its doctor.

use std::{fmt, path::PathBuf};

use dunlin_link::PodUid;

/// The state of a network that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What does not work; empty when all does.
    pub problems: Vec<Problem>,
}

/// Something that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No host ports, and what pods send to the outside keeps their addresses.
    PacketFilter {
        /// What the kernel lacks, or why it refused.
        why: String,
    },
    /// Pods that may write raw packets can take the addresses of others.
    Guard {
        /// What the kernel lacks, or why it refused.
        why: String,
    },
    /// No pod can have a network.
    Plugins {
        /// What is wrong with their configuration.
        why: String,
    },
    /// Plugins find something wrong with a pod that is in their network. It stays as it is.
    PluginCheck {
        /// Which pod.
        pod: PodUid,
        /// What is wrong.
        why: String,
    },
    /// What plugins did for a pod cannot be read any more, so they were not told when it left, or are asked anew.
    DamagedRecord {
        /// Which pod.
        pod: PodUid,
        /// Where what is left of the record is now.
        path: PathBuf,
    },
    /// What pods send may be dropped on its way through the machine.
    ForwardDropped {
        /// Whose rules drop what they do not accept.
        chain: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketFilter { why } => {
                write!(f, "no host ports and no masquerading of pods: {why}")
            }
            Self::Guard { why } => {
                write!(f, "pods with the right to raw packets can use addresses of others: {why}")
            }
            Self::Plugins { why } => write!(f, "no network for pods: {why}"),
            Self::PluginCheck { pod, why } => write!(f, "pod `{pod}`: {why}"),
            Self::DamagedRecord { pod, path } => write!(
                f,
                "pod `{pod}`: the record of what plugins did for it is damaged and was set aside as `{}`: what they gave it may be left",
                path.display()
            ),
            Self::ForwardDropped { chain } => write!(
                f,
                "{chain} drops what no rule accepts: pods reach only the machine unless one accepts what they send"
            ),
        }
    }
}
