//! When a session looks after the mirrors of its node's static pods: on news of them, and again while something is left to do.
//!
//! A node that has no static pods costs no listener, and one of a version that states none is never looked after.

use dunlin_link::{NodeName, PodUid, session::coordinator::CoordinatorOutput};
use tokio::{sync::watch, time::Instant};

use super::Cluster;
use crate::mirrors::{TEND_AGAIN, Tended};

/// What a session knows about when to look.
#[derive(Debug, Default)]
pub(super) struct Tending {
    /// Mirrors of the node come and go.
    changes: Option<watch::Receiver<()>>,
    is_due: bool,
    again_at: Option<Instant>,
}

impl Tending {
    /// The node says something.
    pub(super) fn note(&mut self, cluster: &dyn Cluster, node: &NodeName, output: &CoordinatorOutput) {
        match output {
            CoordinatorOutput::StaticPods(pods) => {
                self.is_due = true;
                self.changes = (!pods.is_empty()).then(|| cluster.subscribe_mirrors(node));
            }
            CoordinatorOutput::StaticPod(_) => self.is_due = true,
            _ => {}
        }
    }

    /// Whether to look now.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Looks; answers what the node has to be asked about.
    pub(super) async fn tend(&mut self, cluster: &dyn Cluster, node: &NodeName) -> Vec<PodUid> {
        let Tended { ask, again } = cluster.tend_mirrors(node).await;
        self.again_at = again.then(|| Instant::now() + TEND_AGAIN);
        ask
    }

    /// Waits until it is time to look again; safe to be dropped meanwhile.
    pub(super) async fn wait(&mut self) {
        let again_at = self.again_at;
        let time = async {
            match again_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let changed = async {
            // Without the sender nothing changes any more: the coordinator is stopping.
            if let Some(changes) = &mut self.changes
                && changes.changed().await.is_ok()
            {
                return;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = time => self.again_at = None,
            () = changed => {}
        }
        self.is_due = true;
    }
}
