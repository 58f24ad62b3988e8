//! What a node decides: the life of a pod, restart backoff, and the words that agent and sandboxes speak.
//!
//! No sockets, clocks, threads or disks: values in, values out. `now` is always an argument.
#![forbid(unsafe_code)]

pub mod address;
pub mod admission;
pub mod app_armor;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod content;
pub mod doctor;
pub mod env;
pub mod host_port;
pub mod launch;
pub mod memory;
pub mod node;
pub mod pod;
pub mod pressure;
pub mod reasons;
pub mod sandbox;
pub mod termination;
pub mod volumes;
