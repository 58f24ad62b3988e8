//! A connection's place among its node's sessions, given back however the connection ends.

use std::sync::Arc;

use dunlin_link::{NodeName, message::Epoch};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
};
use tokio_util::sync::CancellationToken;

use super::{Sessions, pulse::Pulse};

/// The right to act for a node. Dropping it ends the session, in its turn: also while it waits, and also when a defect unwinds.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) sessions: Sessions,
    pub(super) node: NodeName,
    pub(super) epoch: Epoch,
    pub(super) superseded: CancellationToken,
    pub(super) pulse: Arc<Pulse>,
    pub(super) turn: Arc<Mutex<()>>,
    /// The node's turn, held until everything that this session brought in is done with.
    pub(super) held: Option<OwnedMutexGuard<()>>,
}

impl Seat {
    /// Waits until the session before this one has brought in its last word.
    pub(super) async fn wait(&mut self) {
        self.held = Some(Arc::clone(&self.turn).lock_owned().await);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pulse.end();
        // Without a runtime there is nobody left to tell.
        let Ok(runtime) = Handle::try_current() else { return };
        let (sessions, node, epoch) = (self.sessions.clone(), self.node.clone(), self.epoch);
        let (turn, held) = (Arc::clone(&self.turn), self.held.take());
        runtime.spawn(async move {
            let _held = match held {
                Some(held) => held,
                None => turn.lock_owned().await,
            };
            sessions.leave(&node, epoch).await;
        });
    }
}
