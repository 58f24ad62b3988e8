//! The shim: one small process per pod that owns the pod's namespaces, mounts, output and exit codes, and has an OCI runtime (crun,
//! runc, youki) run its containers. It outlives the agent that started it. `docs/design/oci.md`.
//!
//! One thread and `poll`; what it decides is in `machine` and `spec`, which touch nothing.

#![deny(unsafe_code)]

mod args;
mod cgroup;
mod clean;
mod connection;
mod console;
mod container;
mod devices;
mod exec;
pub mod huge_pages;
mod init;
mod input;
mod machine;
mod namespaces;
mod output;
mod program;
mod rootfs;
mod runtime;
mod shim;
mod socket;
mod spec;
mod stream;
mod sys;
mod sysctl;
mod user;
mod volume;

use std::{ffi::OsString, fs, io, io::Write as _, process::ExitCode};

pub use dunlin_container_log::LogBounds;

pub use self::{
    args::{Args, ArgsError, Purpose},
    program::Program,
    socket::SocketPath,
};
use self::{cgroup::Cgroups, runtime::Runtime, shim::Shim};

/// Name of the socket in a pod's folder.
pub const SOCKET: &str = shim::SOCKET;

/// The whole life of a shim: 0 when an agent had it shut down, 1 when it could not go on, 64 when nobody started it so.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    match args.canonical().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("the shim ends: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> io::Result<()> {
    // Started from a descriptor, it would be called by that's number. Nothing depends on the name.
    let _ = fs::write("/proc/self/comm", "dunlin-shim");
    match args.purpose {
        Purpose::Serve => Shim::new(args).and_then(Shim::run),
        Purpose::Clean => {
            let runtime = Runtime { program: args.runtime, root: args.dir.join("runtime") };
            clean::leftovers(&args.dir, &runtime, &Cgroups::of_this_machine());
            Ok(())
        }
    }
}

/// Says something to whoever reads the shim's own log, a line at a time.
fn say(what: &str) {
    // A log that cannot be written must not end a pod.
    let _ = writeln!(io::stderr(), "{what}");
}

/// As of a command that was used wrongly.
const USAGE: u8 = 64;
