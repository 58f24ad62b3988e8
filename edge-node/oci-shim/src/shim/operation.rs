//! A command of the runtime that is under way. The loop goes on meanwhile.

use std::{
    io,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use dunlin_link::ContainerId;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::{container::Held, machine::How, runtime::complaint};

/// One command.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) what: Command,
    pub(super) held: Held,
    /// When it is killed: a runtime that hangs must not hold up a pod's end for ever.
    pub(super) given_up_at: Instant,
    /// Where it says why it failed.
    log: PathBuf,
}

/// What it does.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Run(ContainerId),
    Delete(ContainerId),
    /// Of the stream with this number.
    Exec(u64),
}

impl Running {
    pub(super) fn new(what: Command, child: &Child, log: PathBuf) -> io::Result<Self> {
        let held = Held::new(Pid::from_child(child))?;
        Ok(Self { what, held, given_up_at: Instant::now() + OPERATION_MAX, log })
    }

    /// Names it among those that are under way.
    pub(super) const fn number(&self) -> i32 {
        self.held.pid.as_raw_nonzero().get()
    }

    /// Kills it if it takes too long; its end is noticed as any other.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.given_up_at <= now {
            // One that has ended already needs no signal.
            let _ = kill_process(self.held.pid, Signal::KILL);
            self.given_up_at = now + OPERATION_MAX;
        }
    }

    /// Whether it did what it should, or why not.
    pub(super) fn result(self) -> Result<(), String> {
        let name = match self.what {
            Command::Run(_) => "run",
            Command::Delete(_) => "delete",
            Command::Exec(_) => "exec",
        };
        let why = match reap(&self.held) {
            Some(How::Code(0)) => return Ok(()),
            Some(How::Code(code)) => match complaint(&self.log) {
                // It could not even write that down.
                said if said.is_empty() && is_full(&self.log) => {
                    format!("exit code {code}, and the disk is full")
                }
                said if said.is_empty() => format!("exit code {code}"),
                said => said,
            },
            Some(How::Signal(signal)) => format!("it was ended by signal {signal}"),
            None => "it is no child of this process".to_owned(),
        };
        Err(format!("OCI runtime {name} failed: {why}"))
    }
}

/// Whether the disk that a file is on has no room.
fn is_full(file: &Path) -> bool {
    let stat = file.parent().and_then(|folder| rustix::fs::statvfs(folder).ok());
    stat.is_some_and(|stat| stat.f_bavail == 0)
}

/// Takes the end of a child that has ended; `None` when it has not.
pub(super) fn reap(held: &Held) -> Option<How> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::Pid(held.pid), options).ok()??;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(How::Code(code)),
        (None, Some(signal)) => Some(How::Signal(signal)),
        (None, None) => None,
    }
}

/// How long a command of the runtime may take; slow cards included.
const OPERATION_MAX: Duration = Duration::from_secs(120);
