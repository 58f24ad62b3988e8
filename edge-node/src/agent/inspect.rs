//! What a person on the machine asks the agent, see [`crate::console`].

use std::{collections::BTreeSet, time::Duration};

use dunlin_edge_node_core::node::{Inspected, Origin};
use dunlin_link::{PodUid, assignment::Tombstone};
use tokio::sync::oneshot;

use super::{Agent, AgentHost, Input, image_asks::ImageAsk};
use crate::console::{Keeper, PodView, Queues};

/// A question or order from the node's own socket.
#[derive(Debug)]
pub(super) enum Inspect {
    Pods { reply: oneshot::Sender<Vec<PodView>> },
    InnerLife { reply: oneshot::Sender<InnerLife> },
    Restart { pod: PodUid, container: Option<String>, reply: oneshot::Sender<Result<Vec<String>, String>> },
    Shutdown { grace: Duration, critical: Duration, reply: oneshot::Sender<()> },
    Images(ImageAsk),
}

/// What only the agent's task knows.
#[derive(Debug)]
pub(crate) struct InnerLife {
    pub(crate) starts: u64,
    pub(crate) queues: Queues,
    pub(crate) tombstones: Vec<Tombstone>,
}

impl AgentHost {
    /// All pods, by namespace and name.
    pub(crate) async fn pods(&self) -> Result<Vec<PodView>, String> {
        self.inspect(|reply| Inspect::Pods { reply }).await
    }

    /// What only the agent's task knows.
    pub(crate) async fn inner_life(&self) -> Result<InnerLife, String> {
        self.inspect(|reply| Inspect::InnerLife { reply }).await
    }

    /// Restarts one container of a pod, or all.
    pub(crate) async fn restart(
        &self,
        pod: PodUid,
        container: Option<String>,
    ) -> Result<Vec<String>, String> {
        self.inspect(|reply| Inspect::Restart { pod, container, reply }).await?
    }

    /// Ends the node's pods, because the machine goes down; answers when that is done.
    pub(crate) async fn end_pods(&self, grace: Duration, critical: Duration) -> Result<(), String> {
        self.inspect(|reply| Inspect::Shutdown { grace, critical, reply }).await
    }

    pub(super) async fn inspect<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Inspect,
    ) -> Result<T, String> {
        let gone = || "the node is shutting down".to_owned();
        let (reply, answer) = oneshot::channel();
        self.inputs.send(Input::Inspect(ask(reply))).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

impl Agent {
    /// Answers; who asked may have left, and there is nobody else to tell.
    pub(super) fn handle_inspect(&mut self, inspect: Inspect) {
        match inspect {
            Inspect::Pods { reply } => drop(reply.send(self.pod_views())),
            Inspect::InnerLife { reply } => drop(reply.send(self.inner_life())),
            Inspect::Restart { pod, container, reply } => {
                let now = self.clock.now();
                drop(reply.send(self.core.handle_restart(&pod, container.as_deref(), now)));
            }
            Inspect::Images(ask) => self.handle_image_ask(ask),
            Inspect::Shutdown { grace, critical, reply } => {
                let millis = |of: Duration| u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
                self.core.handle_node_shutdown(millis(grace), millis(critical), self.clock.now());
                self.shutting_down.push(reply);
            }
        }
    }

    /// Tells who waits for it that the pods have ended.
    pub(super) fn tell_of_shutdown(&mut self) {
        if !self.shutting_down.is_empty() && self.core.is_shut_down(self.clock.now()) {
            for waiting in self.shutting_down.drain(..) {
                // Who asked may have left.
                let _ = waiting.send(());
            }
        }
    }

    fn pod_views(&mut self) -> Vec<PodView> {
        let unacked = self.shared.unacked_uids();
        let pods = self.core.inspect(self.clock.now());
        pods.into_iter().map(|pod| view(pod, &unacked)).collect()
    }

    fn inner_life(&self) -> InnerLife {
        InnerLife {
            starts: self.core.starts(),
            queues: Queues {
                fetches: self.fetches.len(),
                changes: self.core.waiting_changes(),
                requests: self.requests.outbox.len(),
                writes: self.writes.len(),
            },
            tombstones: self.core.tombstones().values().cloned().collect(),
        }
    }
}

fn view(pod: Inspected, unacked: &BTreeSet<PodUid>) -> PodView {
    let keeper = match (pod.tombstone, pod.revision, pod.origin) {
        (_, _, Origin::Static) => Keeper::Static,
        (Some(tombstone), _, _) => Keeper::Buried(tombstone),
        (None, Some(revision), _) => Keeper::Assigned(revision.0),
        (None, None, _) => Keeper::Held,
    };
    let reported = !unacked.contains(&pod.assignment.uid);
    let assignment = pod.assignment.as_ref().clone();
    PodView { assignment, report: pod.report, keeper, synced: pod.synced, reported }
}
