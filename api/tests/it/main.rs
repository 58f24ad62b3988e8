//! What a Kubernetes 1.36 server answered, replayed through the pure pipeline.
//!
//! The project's own cases are in `tests/golden/`. The whole of the recorded data is replayed too where it lies beside the
//! repository, or where `DUNLIN_K8S_DATA` says: every case whose kind is served counts, unless `service` knows a rule why a
//! function of a request and an object cannot answer it.

#![expect(clippy::print_stdout, reason = "a test says what it left out and why")]

mod case;
mod data;
mod decoders;
mod hostile;
mod memory;
mod own;
mod ownership;
mod pool;
mod recorded;
mod replay;
mod service;
mod tables;
