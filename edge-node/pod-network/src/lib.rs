//! Puts pods with Linux containers into a network of the node's: an address of their own, the other pods, the machine, and what is beyond.
//!
//! Everything that is there of it is in the kernel, and says whose it is; only what plugins of others did is kept on disk. Whoever is killed at any moment finds
//! out what is there the next time. `docs/design/pod-network.md`.

#![deny(unsafe_code)]

mod address;
mod attachment;
mod bridge;
mod bridged;
mod claim;
mod cni;
mod error;
mod filter;
mod inside;
mod namespace;
mod network;
mod owner;
mod pod_link;
mod route;
mod socket;
mod status;
mod step;
mod sys;
mod sysctl;
mod traces;
mod wire;

pub use self::{
    address::{LinkName, Subnet},
    attachment::{Attachment, HostPort},
    bridge::BridgeConfig,
    claim::{Claim, ClaimError},
    cni::{Failure, PluginConfig, PluginError},
    error::{AttachError, DetachError, FilterProblem, KeepError, OpenError},
    inside::tcp_socket,
    network::{Config, Network},
    status::{Problem, Status},
    step::StepError,
    traces::{has_pods, sweep},
};
