//! The built binary as a user meets it: alone, and with a dev cluster of two nodes that the tests share, each in a namespace of
//! its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backup;
mod buckets;
mod cluster;
mod compiling;
mod containers;
mod describing;
mod dev;
mod draining;
mod emulated;
mod exec;
mod foreign;
mod forwarding;
mod guests;
mod host_ports;
mod https;
mod identity;
mod images;
mod install;
mod isolation;
mod joining;
mod kubernetes;
mod leftovers;
mod link;
mod objects;
mod offline;
mod pods;
mod port_forward;
mod pressure;
mod probes;
mod reboot;
mod registries;
mod rolling;
mod showing;
mod site;
mod static_pods;
mod survival;
mod torture;
mod volumes;
mod writing;
