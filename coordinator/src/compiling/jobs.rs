//! What is being compiled, what was, and what could not be: known in memory, so that no wish is acted on twice.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dunlin_link::compiled::{CompileRefusal, SignedCompiled};
use tokio::sync::watch;

use super::{Outcome, Refused, Wanted};

/// Hears how a job ends.
type Running = watch::Receiver<Option<Outcome>>;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    running: HashMap<Wanted, Running>,
    /// Code whose files were found whole in this life of the process.
    done: HashMap<Wanted, Arc<SignedCompiled>>,
    /// Until when a failure is the answer; a module's fault for ever.
    failed: HashMap<Wanted, (Refused, Option<Instant>)>,
}

impl Jobs {
    /// What is known of a wish, or the job that will tell, begun by `start` if there is none.
    pub(super) fn begin(
        &mut self,
        wanted: &Wanted,
        start: impl FnOnce() -> Running,
    ) -> Result<Outcome, Running> {
        if let Some(signed) = self.done.get(wanted) {
            return Ok(Ok(Arc::clone(signed)));
        }
        if let Some((refused, until)) = self.failed.get(wanted) {
            if until.is_none_or(|until| Instant::now() < until) {
                return Ok(Err(refused.clone()));
            }
            self.failed.remove(wanted);
        }
        if let Some(running) = self.running.get(wanted) {
            return Err(running.clone());
        }
        let running = start();
        self.running.insert(wanted.clone(), running.clone());
        Err(running)
    }

    pub(super) fn ended(&mut self, wanted: &Wanted, outcome: &Outcome) {
        self.running.remove(wanted);
        match outcome {
            Ok(signed) => {
                if self.done.len() >= KNOWN_MAX {
                    self.done.clear();
                }
                self.done.insert(wanted.clone(), Arc::clone(signed));
            }
            Err(refused) => {
                let until = match refused.reason {
                    CompileRefusal::Module => None,
                    CompileRefusal::Failed => Some(Instant::now() + FAILURE_LASTS),
                    // Found out again at no cost.
                    CompileRefusal::NotHere | CompileRefusal::Target => return,
                };
                if self.failed.len() >= KNOWN_MAX {
                    self.failed.clear();
                }
                self.failed.insert(wanted.clone(), (refused.clone(), until));
            }
        }
    }

    /// The files may not be there any more.
    pub(super) fn forget(&mut self, wanted: &Wanted) {
        self.done.remove(wanted);
    }
}

/// How long what was the machine's fault is not tried again.
const FAILURE_LASTS: Duration = Duration::from_secs(60);

/// Outcomes that are remembered, of each kind; beyond it they are found out again.
const KNOWN_MAX: usize = 4096;
