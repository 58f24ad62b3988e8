//! The sandboxes that pods have for themselves: a shim each, which outlives the agent, and a task of the agent's that speaks with it.
//!
//! The agent and such a task number the sandboxes of a pod: what is asked of one that ended is not asked of the next, and what an earlier
//! one told is not taken for news of this one. An earlier agent's sandbox is number 0.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dunlin_edge_node_core::{
    node::{SandboxOrder, Told},
    sandbox::Request,
};
use dunlin_link::PodUid;
use dunlin_oci_shim::{LogBounds, Program};
use futures_util::FutureExt as _;
use tokio::{
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
    },
    task::JoinHandle,
    time::timeout,
};

use super::{
    door::Doors,
    pod::{Asked, Asks, Beginning, INHERITED, PodSandbox},
};

use crate::pod_network::{Afterwards, PodNetwork};

/// What a node needs to run Linux containers.
#[derive(Debug)]
pub(crate) struct ContainerKit {
    /// The folder of pods' folders.
    pub(crate) folder: PathBuf,
    /// The program of shims.
    pub(crate) shim: Program,
    /// What a runner is started with, without its program, which is this process's, and socket.
    pub(crate) runner_args: Vec<String>,
    /// Where shims' and their runners' own words go.
    pub(crate) log: PathBuf,
    /// The OCI runtime's program.
    pub(crate) runtime: PathBuf,
    /// Its name and version as statuses have it, for instance `crun://1.8.1`.
    pub(crate) runtime_version: String,
    /// Size and number of each container's log files.
    pub(crate) log_bounds: LogBounds,
    /// What they are attached to.
    pub(crate) network: PodNetwork,
    /// Whether pods go on without the agent; otherwise they end with it.
    pub(crate) outlives_agent: bool,
}

/// News of a pod's own sandbox.
#[derive(Debug)]
pub(crate) struct PodTold {
    pub(crate) uid: PodUid,
    /// Of which sandbox.
    pub(crate) number: u64,
    pub(crate) told: Told,
}

/// All of a node's pods with sandboxes of their own, as the agent's task has them.
#[derive(Debug)]
pub(crate) struct PodSandboxes {
    /// `None` where the node runs no Linux containers, with why not.
    kit: Result<Arc<ContainerKit>, String>,
    doors: Doors,
    tell: mpsc::Sender<PodTold>,
    pods: HashMap<PodUid, Entry>,
    /// Tasks that clean up after pods that were closed.
    closing: HashMap<PodUid, JoinHandle<()>>,
    next_number: u64,
    /// What earlier agents left, until it is taken over.
    inherited: BTreeSet<PodUid>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    asked: mpsc::Sender<Asked>,
    /// Rung when there was no room for a request.
    missed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl PodSandboxes {
    /// Finds what earlier agents left.
    pub(crate) fn open(kit: Result<ContainerKit, String>, doors: Doors, tell: mpsc::Sender<PodTold>) -> Self {
        let kit = kit.map(Arc::new);
        let mut sandboxes = Self {
            kit,
            doors,
            tell,
            pods: HashMap::new(),
            closing: HashMap::new(),
            next_number: 1,
            inherited: BTreeSet::new(),
        };
        if let Ok(kit) = &sandboxes.kit {
            sandboxes.inherited = left_over(&kit.folder);
        }
        sandboxes
    }

    /// Pods whose sandboxes earlier agents made, until they are taken over.
    pub(crate) const fn inherited(&self) -> &BTreeSet<PodUid> {
        &self.inherited
    }

    /// Takes over what earlier agents left; `order_of` says what a sandbox is to be, if its pod is known.
    pub(crate) fn take_over(&mut self, order_of: impl Fn(&PodUid) -> Option<SandboxOrder>) {
        let Ok(kit) = self.kit.clone() else { return };
        let inherited = std::mem::take(&mut self.inherited);
        if inherited.is_empty() && !kit.network.is_there() {
            return;
        }
        let (network, uids) = (Arc::clone(&kit), inherited.clone());
        let in_order =
            tokio::spawn(async move { network.network.keep(uids).await }).map(drop).boxed().shared();
        for uid in inherited {
            let order = order_of(&uid);
            self.begin(&kit, uid, Beginning::Inherited(order.map(Box::new), in_order.clone()));
        }
    }

    /// Why the node runs no Linux containers, if it does not.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.kit.as_ref().err().map(String::as_str)
    }

    /// Makes a pod's own sandbox; an answer is told.
    pub(crate) fn make(&mut self, order: SandboxOrder) -> Result<(), String> {
        let kit = Arc::clone(self.kit.as_ref().map_err(Clone::clone)?);
        let uid = order.pod.uid.clone();
        if !is_name(&uid) {
            return Err(format!("the pod's uid {:?} is no name for a folder", uid.as_str()));
        }
        let number = self.next_number;
        self.next_number += 1;
        // A task that panicked takes no more orders.
        if self.pods.get(&uid).is_none_or(|entry| entry.task.is_finished()) {
            self.begin(&kit, uid.clone(), Beginning::Asked);
        }
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.number = number;
            let gone = |_| "the task of the pod's sandbox takes no orders".to_owned();
            entry.asked.try_send(Asked::Open(number, Box::new(order))).map_err(gone)?;
        }
        Ok(())
    }

    /// Tells a pod's own sandbox something. Where too much waits already the sandbox gives an account of all that it has, and the core asks
    /// for what is missing.
    pub(crate) fn ask(&self, uid: &PodUid, request: Request) {
        let Some(entry) = self.pods.get(uid) else { return };
        match entry.asked.try_send(Asked::Request(entry.number, Box::new(request))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => entry.missed.notify_one(),
            Err(TrySendError::Closed(_)) => {
                tracing::error!(pod = %uid, "a pod's sandbox was not asked: its task has ended");
            }
        }
    }

    /// Ends a pod's own sandbox and removes what is left of it.
    pub(crate) fn close(&mut self, uid: &PodUid) {
        self.closing.retain(|_, task| !task.is_finished());
        if let Some(Entry { asked, task, .. }) = self.pods.remove(uid) {
            if let Err(TrySendError::Full(close)) = asked.try_send(Asked::Close) {
                tokio::spawn(async move { asked.send(close).await });
            }
            self.closing.insert(uid.clone(), task);
        }
    }

    /// Whether news are of the sandbox that a pod has now.
    pub(crate) fn is_current(&self, told: &PodTold) -> bool {
        self.pods.get(&told.uid).is_some_and(|entry| entry.number == told.number)
    }

    /// Waits for clean-ups that were begun. Sandboxes go on without the agent, unless they are to end with it.
    pub(crate) async fn finish(mut self) {
        if self.kit.as_ref().is_ok_and(|kit| !kit.outlives_agent) {
            for uid in self.pods.keys().cloned().collect::<Vec<_>>() {
                self.close(&uid);
            }
        }
        drop(self.pods);
        let closed = async {
            for (_, task) in self.closing {
                if let Err(error) = task.await {
                    tracing::error!(%error, "the clean-up of a pod's sandbox panicked");
                }
            }
        };
        if timeout(CLOSING_MAX, closed).await.is_err() {
            tracing::warn!("sandboxes of pods are not all cleaned up yet; the next agent goes on with it");
        }
        if let Ok(kit) = &self.kit {
            let after = if kit.outlives_agent { Afterwards::Stays } else { Afterwards::Removed };
            kit.network.leave(after).await;
        }
    }

    fn begin(&mut self, kit: &Arc<ContainerKit>, uid: PodUid, beginning: Beginning) {
        let (asked, queue) = mpsc::channel(ASKS_MAX);
        let missed = Arc::new(Notify::new());
        let asks = Asks { queue, missed: Arc::clone(&missed) };
        let dir = kit.folder.join(uid.as_str());
        let sandbox =
            PodSandbox::new((uid.clone(), dir), Arc::clone(kit), self.doors.clone(), self.tell.clone());
        let before = self.closing.remove(&uid);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // What it could not remove is in the way of the next one, which says so.
                let _ = before.await;
            }
            sandbox.run(beginning, asks).await;
        });
        self.pods.insert(uid, Entry { number: INHERITED, asked, missed, task });
    }
}

/// Pods that have folders here; none where there is no folder of folders yet.
pub(super) fn left_over(folder: &Path) -> BTreeSet<PodUid> {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let uids = folders.map(|entry| PodUid::new(entry.file_name().to_string_lossy()));
    uids.filter(is_name).collect()
}

/// Whether a uid is a file name that leaves room for a socket's; as UUIDs do, and nothing else is given out.
fn is_name(uid: &PodUid) -> bool {
    let text = uid.as_str();
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What is asked of one pod's sandbox and waits: a few requests for each of its containers, of which an object holds some hundreds. Beyond
/// it nothing is kept, see [`PodSandboxes::ask`].
const ASKS_MAX: usize = 4096;

/// How long an agent that ends waits for clean-ups.
const CLOSING_MAX: Duration = Duration::from_secs(20);

/// As long as a UUID: the kernel bounds the paths of sockets.
pub(crate) const NAME_BYTES_MAX: usize = 36;

#[cfg(test)]
mod tests;
