//! What goes on beside pods that come and go: how the network fares, which the coordinator is told, and pods that could not be taken out.

use std::{sync::PoisonError, time::Duration};

use dunlin_link::{PodUid, node_network::NodeNetwork, with_causes};
use dunlin_pod_network::{Config, Problem};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::PodNetwork;
use crate::session::SessionHandle;

impl PodNetwork {
    /// Tells the coordinator how the network fares, until `shutdown`. One that could not be made is tried again meanwhile: no pod comes that
    /// would need it.
    pub(crate) async fn tend(self, session: SessionHandle, shutdown: CancellationToken) {
        let mut state = self.inner.state.subscribe();
        // What was known before is told, too.
        state.mark_changed();
        let tell = async {
            while state.changed().await.is_ok() {
                let known = state.borrow_and_update().clone();
                if let Some(network) = known {
                    session.network(network);
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch_over() => {}
            () = self.carry() => {}
            () = tell => {}
        }
    }

    async fn watch_over(&self) {
        if matches!(self.inner.config, Config::Plugins(_)) || self.is_there() {
            self.look().await;
        } else {
            // Nothing is wrong with one that nobody has needed yet.
            self.fares(NodeNetwork::Works { limits: String::new() });
        }
        loop {
            sleep(LOOK_EVERY).await;
            if self.inner.network.initialized() || self.lacks() {
                self.look().await;
            }
        }
    }

    /// Carries the API to the pods, if it has to be, once there are any.
    async fn carry(&self) {
        self.inner.made.cancelled().await;
        match self.inner.relay.get() {
            Some(relay) => relay.serve().await,
            None => std::future::pending().await,
        }
    }

    async fn look(&self) {
        // Why there is none is told where it is made.
        let Ok(network) = self.network().await else { return };
        if let Ok(status) = spawn_blocking(move || network.status()).await {
            self.fares(told_of(&status.problems));
        }
    }

    /// Remembers and says how it fares, if that changed.
    pub(super) fn fares(&self, network: NodeNetwork) {
        self.inner.state.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&network);
            if changed {
                match &network {
                    NodeNetwork::Works { limits } if limits.is_empty() => {}
                    NodeNetwork::Works { limits } => {
                        tracing::warn!(limits, "the network of pods does not do all that it should");
                    }
                    NodeNetwork::Lacks { message } => {
                        tracing::warn!(error = message, "there is no network for pods");
                    }
                }
                *known = Some(network);
            }
            changed
        });
    }

    /// Lets go of it, as its node ends: of its blocks, and of bridge and tables too if no pod goes on.
    pub(crate) async fn leave(&self, after: Afterwards) {
        let network = self.inner.network.get().cloned();
        if let (Afterwards::Removed, Some(network)) = (after, network) {
            let removed = spawn_blocking(move || network.remove().map_err(|error| with_causes(&error)));
            if let Err(error) = removed.await.unwrap_or_else(|error| Err(error.to_string())) {
                tracing::warn!(error, "what is left of the network of pods could not be removed");
            }
        }
        self.inner.claim.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lacks(&self) -> bool {
        matches!(&*self.inner.state.borrow(), Some(NodeNetwork::Lacks { .. }))
    }

    /// Takes away what is left of a pod. Where nothing was ever attached there is nothing.
    pub(super) async fn take_out(&self, uid: &PodUid) -> Result<(), String> {
        let Some(network) = self.inner.network.get().cloned() else { return Ok(()) };
        let pod = uid.clone();
        let detached = spawn_blocking(move || network.detach(&pod).map_err(|error| with_causes(&error)));
        detached.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Tries it again, ever later, unless the pod comes again; after some times it is left to the next agent.
    pub(super) async fn take_out_later(self, uid: PodUid) {
        let mut pause = PAUSE_MIN;
        for _ in 0..ATTEMPTS_MAX {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let mut left = self.inner.left.lock().await;
            if !left.contains(&uid) {
                return;
            }
            match self.take_out(&uid).await {
                Ok(()) => {
                    left.remove(&uid);
                    return;
                }
                Err(error) => {
                    tracing::debug!(error, pod = %uid, "a pod could not be taken out of the network again")
                }
            }
        }
        self.inner.left.lock().await.remove(&uid);
        tracing::warn!(pod = %uid, "what is left of a pod in the node's network is left to the next agent");
    }
}

/// What becomes of a network whose node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Pods go on in it.
    Stays,
    /// It goes, but not while a pod is in it.
    Removed,
}

fn told_of(problems: &[Problem]) -> NodeNetwork {
    let lacks = problems.iter().find(|problem| matches!(problem, Problem::Plugins { .. }));
    match lacks {
        Some(problem) => NodeNetwork::Lacks { message: problem.to_string() },
        None => {
            let limits: Vec<_> = problems.iter().map(ToString::to_string).collect();
            NodeNetwork::Works { limits: limits.join("; ") }
        }
    }
}

/// A look is a few questions to the kernel, or a file.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Before the second attempt to take a pod out.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Half an hour of attempts.
const ATTEMPTS_MAX: usize = 10;

#[cfg(test)]
mod tests;
