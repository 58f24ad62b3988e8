//! What a node decides: the life of a pod, restart backoff, and the words that agent and sandboxes speak.
//!
//! No sockets, clocks, threads or disks: values in, values out. `now` is always an argument.

pub mod sandbox;
