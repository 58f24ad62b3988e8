//! The agent's helper for files: makes room for logs, puts volumes in place and reads the ends of logs, off the agent's task.
//!
//! One piece of work at a time: what comes meanwhile is done together next, so that a node that boots with hundreds of pods does not
//! need hundreds of threads for it.

use std::{future, mem, path::PathBuf, sync::Arc};

use dunlin_edge_node_core::{
    node::{LogPlace, Preparation, Prepared, Projecting, RunKey, Told},
    sandbox::State,
};
use dunlin_link::pod::PodAssignment;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    logs::{self, Logs, Room},
    volumes::Volumes,
};

/// Where logs are, and what is being done about them.
#[derive(Debug)]
pub(super) struct Clerk {
    logs: Logs,
    volumes: Volumes,
    /// In the order in which it came, since one piece may undo what another did.
    waiting: Vec<Work>,
    preparing: Option<Preparing>,
    reading: Option<(Told, JoinHandle<String>)>,
}

/// One piece of work.
#[derive(Debug)]
enum Work {
    /// A run gets room for its log, and its volumes. With its module.
    Prepare(Box<Preparation>, PathBuf),
    /// Files are written anew.
    Project(Projecting),
    /// What a pod kept in its volumes goes.
    Unmount(Arc<PodAssignment>),
}

/// Runs that are prepared now.
#[derive(Debug)]
struct Preparing {
    runs: Vec<RunKey>,
    work: JoinHandle<Vec<(RunKey, Prepared)>>,
}

/// Work that is done.
#[derive(Debug)]
pub(super) enum Filed {
    /// These runs have room for their logs, or not.
    Prepared(Vec<(RunKey, Prepared)>),
    /// The end of a log is in the message of this.
    Read(Told),
}

impl Clerk {
    pub(super) fn new(logs: Logs, volumes: Volumes) -> Self {
        Self { logs, volumes, waiting: Vec::new(), preparing: None, reading: None }
    }

    /// Makes room for a run's log with the next [`Clerk::work`].
    pub(super) fn prepare(&mut self, preparation: Preparation, module: PathBuf) {
        self.waiting.push(Work::Prepare(Box::new(preparation), module));
    }

    /// Writes files anew with the next [`Clerk::work`].
    pub(super) fn project(&mut self, projecting: Projecting) {
        self.waiting.push(Work::Project(projecting));
    }

    /// Removes a pod's volumes with the next [`Clerk::work`].
    pub(super) fn unmount(&mut self, pod: Arc<PodAssignment>) {
        self.waiting.push(Work::Unmount(pod));
    }

    /// Begins what waits, unless something is being done.
    pub(super) fn work(&mut self) {
        if self.preparing.is_some() || self.waiting.is_empty() {
            return;
        }
        let waiting = mem::take(&mut self.waiting);
        let runs = waiting.iter().filter_map(Work::run).cloned().collect();
        let (logs, volumes) = (self.logs.clone(), self.volumes.clone());
        let work = move || waiting.into_iter().filter_map(|one| one.done(&logs, &volumes)).collect();
        self.preparing = Some(Preparing { runs, work: spawn_blocking(work) });
    }

    /// Reads the end of a log into the message of what was told; one at a time.
    pub(super) fn read_end(&mut self, place: LogPlace, told: Told) {
        let path = self.logs.path(&place.pod, &place.container, place.attempt);
        self.reading = Some((told, spawn_blocking(move || logs::termination_message(&path))));
    }

    /// Removes all logs of these pods, with nobody waiting for it.
    pub(super) fn remove_logs(&self, pods: impl Iterator<Item = Arc<PodAssignment>>) {
        self.logs.remove(&pods.collect::<Vec<_>>());
    }

    /// Waits for work that was begun, for ever if there is none. May be dropped and called again.
    pub(super) async fn done(&mut self) -> Filed {
        let Self { preparing, reading, .. } = self;
        let prepared = async {
            match preparing {
                Some(Preparing { work, .. }) => work.await,
                None => future::pending().await,
            }
        };
        let message = async {
            match reading {
                Some((_, work)) => work.await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            prepared = prepared => {
                let runs = preparing.take().map(|preparing| preparing.runs).unwrap_or_default();
                let failed = |error: tokio::task::JoinError| {
                    let all = runs.into_iter();
                    all.map(|run| (run, Prepared::Failed(no_room(&error)))).collect()
                };
                Filed::Prepared(prepared.unwrap_or_else(failed))
            }
            // A log that cannot be read has no message; the end itself must be told all the same.
            message = message => match reading.take() {
                Some((told, _)) => Filed::Read(with_message(told, message.unwrap_or_default())),
                None => future::pending().await,
            },
        }
    }

    /// Whether the end of a log is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The logs of the node.
    pub(super) fn logs(&self) -> &Logs {
        &self.logs
    }
}

impl Work {
    /// The run that it is for, which has to hear of it.
    fn run(&self) -> Option<&RunKey> {
        match self {
            Self::Prepare(preparation, _) => Some(&preparation.run),
            Self::Project(_) | Self::Unmount(_) => None,
        }
    }

    fn done(self, logs: &Logs, volumes: &Volumes) -> Option<(RunKey, Prepared)> {
        match self {
            Self::Prepare(preparation, module) => return Some(prepare(logs, volumes, *preparation, module)),
            Self::Project(Projecting { pod, volumes: wanted }) => volumes.project(&pod, &wanted),
            Self::Unmount(pod) => volumes.remove(&pod),
        }
        None
    }
}

fn prepare(logs: &Logs, volumes: &Volumes, preparation: Preparation, module: PathBuf) -> (RunKey, Prepared) {
    let Preparation { run, pod, container, setup } = preparation;
    let prepared = match logs.prepare(&pod, &container, run.attempt) {
        Ok(Room::Free(log)) => match volumes.prepare(&pod, (&container, run.attempt), &setup) {
            Ok(files) => Prepared::Ready {
                module: module.to_string_lossy().into_owned(),
                log: log.to_string_lossy().into_owned(),
                files,
            },
            Err(error) => Prepared::Unmounted(error),
        },
        Ok(Room::Taken(attempt)) => Prepared::Begun { attempt },
        Err(error) => Prepared::Failed(no_room(&error)),
    };
    (run, prepared)
}

fn no_room(error: &dyn std::fmt::Display) -> String {
    format!("failed to create the log's folder: {error}")
}

fn with_message(mut told: Told, message: String) -> Told {
    if let Told::Container { state: State::Exited(exit), .. } = &mut told {
        exit.message = message;
    }
    told
}
