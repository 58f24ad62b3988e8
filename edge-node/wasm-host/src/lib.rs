//! Runs WebAssembly guests: the only crate that names wasmtime, and the whole of what the node knows of it.
//!
//! [`compile`] turns a module into an artifact in a process that may be killed; [`Host::load`] maps an artifact and finds out what
//! kind of program it is; [`Container::run`] runs it to its end on the host's own threads, and [`Container::command`] further
//! commands beside it. What a pod or a log file is, the callers know; nothing here does.

#![deny(unsafe_code)]

mod batch;
mod command;
mod config;
mod coredump;
mod cpu;
mod engine;
mod entry;
mod guest;
mod holdings;
mod host;
mod input;
mod keyvalue;
mod memory;
mod network;
mod outcome;
mod pooling;
mod program;
mod schedule;
mod serve;
mod service;
mod state;
mod stdio;
mod stop;
mod sys;
mod target;
mod ticker;
mod total;

#[cfg(test)]
mod tests;

pub use coredump::{CORE_BYTES_MAX, CoreDumps};
pub use engine::{CompileError, HAS_COMPILER, compile};
pub use entry::{EntryError, ExecError};
pub use guest::{
    Access, Egress, EgressHosts, EgressTarget, EntryChoice, Exec, Guest, Listening, Loopback, OnDenied,
    OnFailure, Preopen, Serving, Terminal, Transport,
};
pub use host::{Command, Container, Host, StartHostError, Usage};
pub use input::{Input, InputEnded};
pub use keyvalue::{Answer, Buckets, KeyValueError, More, Operation, Pending};
pub use outcome::{Cause, Ended};
pub use program::{LoadError, Program};
pub use stdio::{Output, Stream};
pub use stop::Stop;
pub use target::{Processor, Profile, Target, TargetError, WASMTIME_VERSION};
