//! Who gets a node's seat when connections come and go in any order, and what is told of nodes that were cloned.

use std::sync::Arc;

use dunlin_link::{
    NodeName,
    message::Epoch,
    session::registry::{Arrival, Caller, CloneNews, SameBoot, StaleAttempt},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Sessions, Slot, Wish,
    pulse::{Life, Pulse},
    seat::Seat,
};

/// Why a connection does not become the node's session. The text is told to the node.
#[derive(Debug, thiserror::Error)]
pub(super) enum Turned {
    /// An older connection.
    #[error(transparent)]
    Stale(#[from] StaleAttempt),
    /// The node lives elsewhere.
    #[error(
        "another machine or agent with the identity of node `{0}` is connected; both go on running their pods, but only that one is told of changes. If this one shall be another node, remove its `identity` folder and join it with a new token; if it shall be this node, join it with a token of `dunlin node replace {0}`"
    )]
    Copy(NodeName),
    /// Too many connections of the node come and go.
    #[error("sessions of node `{0}` come and go too fast; come again later")]
    Restless(NodeName),
}

/// What the registry and the slots say to a connection.
enum Claimed {
    Seat(Seat),
    Occupied { by: Epoch, boot: SameBoot, pulse: Arc<Pulse> },
}

impl Sessions {
    /// Makes a connection the node's current session; it acts for the node from its turn on. Another copy of the node that is alive
    /// keeps its seat.
    pub(super) async fn admit(
        &self,
        node: &NodeName,
        caller: Caller,
        wishes: mpsc::Sender<Box<Wish>>,
        pulse: Arc<Pulse>,
    ) -> Result<Seat, Turned> {
        let is_first = self.state().registry.is_new(node);
        let mut silent = None;
        for _ in 0..CLAIMS_MAX {
            match self.claim(node, caller, silent, &wishes, &pulse)? {
                Claimed::Seat(seat) => {
                    self.tell_clones(node);
                    if is_first {
                        self.recall_clones(node);
                    }
                    return Ok(seat);
                }
                Claimed::Occupied { by, boot, pulse } => match pulse.take(boot).await {
                    Life::Silent => silent = Some(by),
                    Life::Alive => {
                        let now = self.now();
                        self.state().registry.refuse(node, caller, now);
                        self.tell_clones(node);
                        return Err(Turned::Copy(node.clone()));
                    }
                },
            }
        }
        Err(Turned::Restless(node.clone()))
    }

    fn claim(
        &self,
        node: &NodeName,
        caller: Caller,
        silent: Option<Epoch>,
        wishes: &mpsc::Sender<Box<Wish>>,
        pulse: &Arc<Pulse>,
    ) -> Result<Claimed, StaleAttempt> {
        let now = self.now();
        let mut state = self.state();
        let arrival = match silent {
            Some(silent) => state.registry.replace(node, caller, silent, now)?,
            None => state.registry.arrive(node, caller, now)?,
        };
        let before = state.slots.get(node);
        let epoch = match arrival {
            Arrival::Seated(epoch) => epoch,
            Arrival::Occupied { by, boot } => {
                // A seat without a slot is given up at this moment.
                let pulse = before.map_or_else(Arc::default, |slot| Arc::clone(&slot.pulse));
                return Ok(Claimed::Occupied { by, boot, pulse });
            }
        };
        before.inspect(|slot| slot.superseded.cancel());
        let turn = before.map_or_else(Arc::default, |slot| Arc::clone(&slot.turn));
        let superseded = CancellationToken::new();
        let slot = Slot {
            epoch,
            superseded: superseded.clone(),
            wishes: wishes.clone(),
            pulse: Arc::clone(pulse),
            turn: Arc::clone(&turn),
        };
        state.slots.insert(node.clone(), slot);
        let (sessions, node, pulse) = (self.clone(), node.clone(), Arc::clone(pulse));
        Ok(Claimed::Seat(Seat { sessions, node, epoch, superseded, pulse, turn, held: None }))
    }

    /// Tells the cluster that the node was cloned, if that is new, and later that it is single again.
    fn tell_clones(&self, node: &NodeName) {
        let now = self.now();
        if self.state().registry.take_news(node, now) != Some(CloneNews::Cloned) {
            return;
        }
        warn!(%node, "two machines or agents use the key of this node at the same time");
        let (sessions, node) = (self.clone(), node.clone());
        tokio::spawn(async move {
            sessions.inner.cluster.cloned(&node, CloneNews::Cloned).await;
            sessions.await_single(&node).await;
        });
    }

    /// A node that was cloned when the coordinator stopped is single again when nothing more is seen of that.
    fn recall_clones(&self, node: &NodeName) {
        let (sessions, node) = (self.clone(), node.clone());
        tokio::spawn(async move {
            if !sessions.inner.cluster.is_cloned(&node).await {
                return;
            }
            let now = sessions.now();
            sessions.state().registry.expect_clone(&node, now);
            sessions.await_single(&node).await;
        });
    }

    async fn await_single(&self, node: &NodeName) {
        loop {
            // None when the node was removed meanwhile.
            let Some(end) = self.state().registry.clone_ends(node) else { return };
            tokio::time::sleep(end.since(self.now())).await;
            let now = self.now();
            let news = self.state().registry.take_news(node, now);
            if news == Some(CloneNews::Single) {
                info!(%node, "only one machine uses the key of this node now");
                return self.inner.cluster.cloned(node, CloneNews::Single).await;
            }
        }
    }
}

/// How often a connection asks for a seat that others take in the same moment.
const CLAIMS_MAX: usize = 4;
