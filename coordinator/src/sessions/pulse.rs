//! Finding out whether the session that has a node's seat is alive, before another one is given it.

use std::time::Duration;

use dunlin_link::session::registry::SameBoot;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// One session's signs of life.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    asked: Notify,
    heard: watch::Sender<u64>,
    over: CancellationToken,
}

/// Whether a session gives signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Its node said something after it was asked.
    Alive,
    /// It did not, or the session has ended.
    Silent,
}

impl Pulse {
    /// Something came from the node.
    pub(super) fn heard(&self) {
        self.heard.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The session is over: nobody needs to wait for it.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    /// Waits until somebody asks for a sign of life.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Asks for a sign of life and waits for it.
    pub(super) async fn take(&self, boot: SameBoot) -> Life {
        let mut heard = self.heard.subscribe();
        self.asked.notify_one();
        tokio::select! {
            // The sender is this.
            Ok(()) = heard.changed() => Life::Alive,
            () = self.over.cancelled() => Life::Silent,
            () = tokio::time::sleep(patience(boot)) => Life::Silent,
        }
    }
}

/// How long an answer may take. On the boot of the same machine an agent was most likely killed and started again, which should not
/// keep its node away for longer than it must; otherwise there may be a slow radio between, with a packet or two lost.
const fn patience(boot: SameBoot) -> Duration {
    match boot {
        SameBoot::Same => Duration::from_secs(1),
        SameBoot::Different => Duration::from_secs(4),
    }
}
