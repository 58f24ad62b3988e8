//! The agent's helper for files: makes room for logs, puts volumes in place and reads the ends of logs, off the agent's task.
//!
//! One piece of work at a time: what comes meanwhile is done together next, so that a node that boots with hundreds of pods does not
//! need hundreds of threads for it.

use std::{
    collections::BTreeSet,
    future, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use dunlin_edge_node_core::{
    launch::{GuestFiles, ImageDefaults, LinuxMaterial, Material},
    node::{LogPlace, Preparation, Prepared, Projecting, RunKey, Told},
    sandbox::{Mount, State},
    volumes::{MountError, Setup},
};
use dunlin_link::{Digest, pod::PodAssignment, volumes::Access};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    containers::machine_files,
    logs::{self, Logs, Room},
    sandbox::PodTold,
    volumes::Volumes,
};

/// Where logs are, and what is being done about them.
#[derive(Debug)]
pub(super) struct Clerk {
    logs: Logs,
    volumes: Volumes,
    state_dir: PathBuf,
    /// In the order in which it came, since one piece may undo what another did.
    waiting: Vec<Work>,
    preparing: Option<Preparing>,
    reading: Option<(Heard, JoinHandle<String>)>,
}

/// One piece of work.
#[derive(Debug)]
enum Work {
    /// A run gets room for its log, and its volumes. With what it is made of.
    Prepare(Box<Preparation>, Program),
    /// Files are written anew.
    Project(Projecting),
    /// What a pod kept in its volumes goes.
    Unmount(Arc<PodAssignment>),
}

/// What a container runs.
#[derive(Debug)]
pub(super) enum Program {
    /// A module.
    Module(Guest),
    /// A Linux image, but for what the clerk adds.
    Linux(Box<LinuxMaterial>),
}

/// What a guest is made of.
#[derive(Debug, Default)]
pub(super) struct Guest {
    /// The file of its module.
    pub(super) module: PathBuf,
    /// The files of its image.
    pub(super) root: Option<PathBuf>,
    /// How its image runs where the pod says nothing else.
    pub(super) image: Box<ImageDefaults>,
}

/// What was told, and by whom.
#[derive(Debug)]
pub(super) enum Heard {
    /// By the node's runner.
    Runner(Told),
    /// By a pod's own sandbox.
    Pod(PodTold),
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
    Read(Heard),
}

impl Clerk {
    /// That of the node with this state folder.
    pub(super) fn new(state_dir: &Path, volumes: Volumes) -> Self {
        let logs = Logs::new(state_dir.join("logs"));
        Self {
            logs,
            volumes,
            state_dir: state_dir.to_owned(),
            waiting: Vec::new(),
            preparing: None,
            reading: None,
        }
    }

    /// Makes room for a run's log with the next [`Clerk::work`].
    pub(super) fn prepare(&mut self, preparation: Preparation, program: Program) {
        self.waiting.push(Work::Prepare(Box::new(preparation), program));
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
        let (logs, volumes, state_dir) = (self.logs.clone(), self.volumes.clone(), self.state_dir.clone());
        let work =
            move || waiting.into_iter().filter_map(|one| one.done(&logs, &volumes, &state_dir)).collect();
        self.preparing = Some(Preparing { runs, work: spawn_blocking(work) });
    }

    /// Reads the end of a log into the message of what was told; one at a time.
    pub(super) fn read_end(&mut self, place: LogPlace, told: Heard) {
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

    /// The images that are volumes of pods.
    pub(super) fn volume_images(&self) -> BTreeSet<Digest> {
        self.volumes.images()
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

    fn done(self, logs: &Logs, volumes: &Volumes, state_dir: &Path) -> Option<(RunKey, Prepared)> {
        match self {
            Self::Prepare(preparation, mut program) => {
                if let Program::Linux(linux) = &mut program {
                    linux.machine = machine_files(state_dir);
                }
                return Some(prepare(logs, volumes, *preparation, program));
            }
            Self::Project(Projecting { pod, volumes: wanted }) => volumes.project(&pod, &wanted),
            Self::Unmount(pod) => volumes.remove(&pod),
        }
        None
    }
}

fn prepare(logs: &Logs, volumes: &Volumes, preparation: Preparation, program: Program) -> (RunKey, Prepared) {
    let Preparation { run, pod, container, setup } = preparation;
    let prepared = match logs.prepare(&pod, &container, run.attempt) {
        Ok(Room::Free(log)) => match material(volumes, &pod, (&container, run.attempt), &setup, program) {
            Ok(material) => Prepared::Ready { log: log.to_string_lossy().into_owned(), material },
            Err(error) => Prepared::Unmounted(error),
        },
        Ok(Room::Taken(attempt)) => Prepared::Begun { attempt },
        Err(error) => Prepared::Failed(no_room(&error)),
    };
    (run, prepared)
}

fn material(
    volumes: &Volumes,
    pod: &PodAssignment,
    run: (&str, u32),
    setup: &Setup,
    program: Program,
) -> Result<Material, MountError> {
    Ok(match program {
        Program::Module(Guest { module, root, image }) => {
            let mut files = GuestFiles { image, ..volumes.prepare(pod, run, setup)? };
            if let Some(root) = root.filter(|_| !files.mounts.iter().any(|mount| mount.path == "/")) {
                let (dir, path) = (root.to_string_lossy().into_owned(), "/".to_owned());
                files.mounts.push(Mount { dir, inside: String::new(), path, access: Access::ReadOnly });
            }
            Material::Module { module: module.to_string_lossy().into_owned(), files }
        }
        Program::Linux(mut linux) => {
            (linux.mounts, linux.termination_message) = volumes.prepare_linux(pod, run, setup)?;
            Material::Linux(linux)
        }
    })
}

fn no_room(error: &dyn std::fmt::Display) -> String {
    format!("failed to create the log's folder: {error}")
}

fn with_message(mut heard: Heard, message: String) -> Heard {
    let (Heard::Runner(told) | Heard::Pod(PodTold { told, .. })) = &mut heard;
    if let Told::Container { state: State::Exited(exit), .. } = told {
        exit.message = message;
    }
    heard
}
