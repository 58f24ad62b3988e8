//! The order to stop, as a value that is passed down to whoever must notice it.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Asks one guest to stop, and tells when its grace is over. Clones are the same order.
#[derive(Clone, Debug)]
pub struct Stop {
    requested: CancellationToken,
    deadline: watch::Sender<Option<Instant>>,
}

impl Stop {
    /// An order that nobody has given yet.
    pub fn new() -> Self {
        Self { requested: CancellationToken::new(), deadline: watch::Sender::new(None) }
    }

    /// Gives the guest `grace` from now to end. Asking again may shorten what is left, never lengthen it.
    pub fn request(&self, grace: Duration) {
        // Far enough to be for ever, near enough not to overflow.
        let wanted = Instant::now() + grace.min(Duration::from_secs(365 * 24 * 3600));
        self.deadline.send_if_modified(|deadline| {
            let sooner = deadline.is_none_or(|present| wanted < present);
            if sooner {
                *deadline = Some(wanted);
            }
            sooner
        });
        self.requested.cancel();
    }

    /// Whether the guest was asked to stop.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Whether the guest was asked to stop and still has time to.
    pub(crate) fn has_grace_left(&self) -> bool {
        self.deadline.borrow().is_some_and(|deadline| Instant::now() < deadline)
    }

    /// Ends when the guest is asked to stop.
    pub fn requested(&self) -> WaitForCancellationFutureOwned {
        self.requested.clone().cancelled_owned()
    }

    /// Ends when the grace is over.
    pub(crate) async fn grace_over(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let until = *deadline.borrow_and_update();
            tokio::select! {
                changed = deadline.changed() => changed.expect("`self` holds the sender"),
                () = wait_until(until) => return,
            }
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
