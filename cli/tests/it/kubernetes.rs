//! The Kubernetes API as its clients meet it: the built coordinator over HTTPS, held against what a real 1.36 server answered, and
//! driven by real clients.

mod beside;
mod bootstrap;
mod certificates;
pub(crate) mod client;
mod clients;
mod golden;
pub(crate) mod kubectl;
mod kubectl_autoscaling;
mod kubectl_endpoints;
mod kubectl_golden;
mod kubectl_nodes;
mod kubectl_pods;
mod kubectl_ports;
mod kubectl_rollback;
mod kubectl_sets;
mod kubectl_tour;
mod kubectl_views;
mod kubectl_workloads;
mod matching;
mod tokens;
