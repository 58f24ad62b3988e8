//! The agent: turns assignments into running pods and keeps them so, with or without a coordinator.
//!
//! One task owns all pods' machines, for a pod must cost kilobytes and not a task's stack. It hears the session, the sandbox,
//! fetches, the store and the clock, lets the pods concerned take their steps, and does what they ask. Everything slow happens
//! elsewhere: commits on the store's thread, fetches and log readers in tasks of their own.

mod boot;
mod commit;
mod host;
mod obey;
mod remember;
mod shared;
mod timers;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use dunlin_edge_node_core::{
    address::{AddressPool, Loopback},
    pod::{ContainerIndex, Pod},
    sandbox::{Owner, State},
};
use dunlin_link::{
    ContainerId, Digest, PodUid, Revision,
    assignment::{AssignmentChange, Refusal, Tombstone},
    held::HeldSet,
    pod::ConfigObject,
    status::NodeFacts,
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    boot::{AgentOptions, AgentParts},
    host::AgentHost,
};
use self::{
    commit::Plan,
    host::{Locate, Located},
    shared::Shared,
    timers::{Clock, Timers},
};
use crate::{
    local::Local,
    logs::Logs,
    modules::{Fetched, Modules},
    sandbox::{Addressed, Told},
    session::SessionHandle,
};

/// The owner of all pods of a node.
#[derive(Debug)]
pub(crate) struct Agent {
    node: NodeSelf,
    clock: Clock,
    local: Local,
    modules: Modules,
    logs: Logs,
    session: SessionHandle,
    shared: Arc<Shared>,
    pods: HashMap<PodUid, Entry>,
    tombstones: BTreeMap<PodUid, Tombstone>,
    held: HeldSet,
    objects: HashMap<Digest, Arc<ConfigObject>>,
    addresses: AddressPool,
    sandbox: SandboxView,
    /// Containers that a fetch makes wait.
    pulls: HashMap<Digest, Vec<(PodUid, ContainerIndex)>>,
    fetches: JoinSet<Fetched>,
    timers: Timers,
    to_remember: remember::ToRemember,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Changes that wait for the one being committed.
    waiting: VecDeque<(AssignmentChange, CommitReply)>,
    /// Whether a change is being committed.
    committing: Committing,
    /// Who follows the log of a container that runs.
    followers: HashMap<ContainerId, watch::Sender<bool>>,
}

/// What pods and their reports need to know of the node.
#[derive(Debug)]
pub(crate) struct NodeSelf {
    pub(crate) name: String,
    pub(crate) host_ip: Arc<str>,
    pub(crate) facts: NodeFacts,
    pub(crate) loopback: Loopback,
    /// How often this node's agent was started.
    pub(crate) starts: u64,
}

/// One pod.
#[derive(Debug)]
struct Entry {
    pod: Pod,
    /// As in its record.
    revision: Option<Revision>,
    refusal: Option<(String, String)>,
    /// When the timer that is set for it goes off.
    wakes_at: Option<dunlin_edge_node_core::clock::Mono>,
}

/// What the agent knows of the sandbox.
#[derive(Debug)]
struct SandboxView {
    requests: mpsc::Sender<Addressed>,
    /// Requests that the channel had no room for.
    outbox: VecDeque<Addressed>,
    incarnation: u64,
    knowledge: Knowledge,
    /// Containers of pods that this agent knows nothing of: its state was lost, or is older than they are.
    orphans: HashMap<PodUid, Vec<(ContainerId, Owner, State)>>,
    /// Such containers that were told to stop.
    dying: HashSet<ContainerId>,
}

/// Whether it is known what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowledge {
    Unsure,
    Synced,
}

/// Whether a change is on its way to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committing {
    Idle,
    Busy,
}

type CommitReply = oneshot::Sender<io::Result<Vec<Refusal>>>;

/// A question or order of the session.
#[derive(Debug)]
enum Input {
    Commit { change: AssignmentChange, reply: CommitReply },
    Locate { locate: Locate, reply: oneshot::Sender<Result<Located, String>> },
}

/// A batch that is durable, or could not be made so.
#[derive(Debug)]
enum Written {
    Commit { plan: Box<Plan>, reply: CommitReply, result: io::Result<()> },
    Memories { pods: Vec<PodUid>, result: io::Result<()> },
}

/// What the loop waits for besides the store and fetches.
#[derive(Debug)]
struct Ears {
    inputs: mpsc::Receiver<Input>,
    told: mpsc::Receiver<Told>,
}

impl Agent {
    /// Keeps pods running until `shutdown`; guests go on without it.
    async fn run(mut self, mut ears: Ears, shutdown: CancellationToken) {
        loop {
            self.flush_requests();
            self.write_memories();
            let wake = self.timers.next().map(|at| self.clock.instant(at));
            let remember = self.to_remember.due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(told) = ears.told.recv() => {
                    self.hear(told);
                    self.hear_more(&mut ears);
                }
                Some(written) = self.writes.next(), if !self.writes.is_empty() => self.handle_written(written),
                Some(input) = ears.inputs.recv() => self.handle_input(input),
                Some(fetched) = self.fetches.join_next(), if !self.fetches.is_empty() => match fetched {
                    Ok(fetched) => self.handle_fetched(fetched),
                    Err(error) => tracing::error!(%error, "a fetch ended without an answer"),
                },
                permit = self.sandbox.requests.clone().reserve_owned(), if !self.sandbox.outbox.is_empty() => {
                    if let (Ok(permit), Some(request)) = (permit, self.sandbox.outbox.pop_front()) {
                        permit.send(request);
                    }
                }
                () = sleep_until(wake) => self.handle_timers(),
                () = sleep_until(remember) => self.to_remember.set_due(),
            }
        }
        self.finish().await;
    }

    /// Takes what else the sandbox has told already, so that a burst of ends shares one write.
    fn hear_more(&mut self, ears: &mut Ears) {
        for _ in 0..BURST_MAX {
            let Ok(told) = ears.told.try_recv() else { return };
            self.hear(told);
        }
    }

    fn handle_input(&mut self, input: Input) {
        match input {
            Input::Commit { change, reply } => self.begin_commit(change, reply),
            Input::Locate { locate, reply } => {
                // The asker may have gone away; there is nobody else to tell.
                let _ = reply.send(self.locate(&locate));
            }
        }
    }

    fn handle_written(&mut self, written: Written) {
        match written {
            Written::Commit { plan, reply, result } => {
                self.end_commit(*plan, reply, result);
                self.committing = Committing::Idle;
                if let Some((change, reply)) = self.waiting.pop_front() {
                    self.begin_commit(change, reply);
                }
            }
            Written::Memories { pods, result } => self.handle_memories_written(&pods, result),
        }
    }

    fn handle_timers(&mut self) {
        let now = self.clock.now();
        while let Some(uid) = self.timers.pop_due(now.mono) {
            self.with_pod(&uid, |pod, now| pod.handle_timeout(now));
        }
    }

    /// Writes what has to survive before the agent ends.
    async fn finish(mut self) {
        self.to_remember.set_due();
        self.write_memories();
        let rest = async {
            while let Some(written) = self.writes.next().await {
                if let Written::Memories { result: Err(error), .. } = written {
                    tracing::error!(%error, "memories of pods could not be written");
                }
            }
        };
        if tokio::time::timeout(FINISH_MAX, rest).await.is_err() {
            tracing::error!("the local state did not become durable in time");
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Messages of the sandbox taken in one turn.
const BURST_MAX: usize = 256;

/// How long the last writes may take at shutdown.
const FINISH_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
