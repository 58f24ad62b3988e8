//! When a coordinator was heard, for whoever looks at the node itself.

use std::time::Duration;

use dunlin_link::UnixMillis;
use tokio::sync::watch;

use super::wall;

/// What the node knows of its contact with a coordinator. Times are the node's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Since when a session is open.
    pub connected_since: Option<UnixMillis>,
    /// When the coordinator was last heard; `None` before the first session.
    pub last: Option<UnixMillis>,
    /// What to add to the node's clock to have the coordinator's, as of the last greeting.
    pub clock_offset_ms: Option<i64>,
}

/// Keeps a [`Contact`] current. Only opening and ending a session wake those who watch it.
#[derive(Debug)]
pub(super) struct Contacts(watch::Sender<Contact>);

impl Contacts {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Contact::default()))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Contact> {
        self.0.subscribe()
    }

    /// A session opened; the coordinator's clock says `server_time`.
    pub(super) fn opened(&self, server_time: UnixMillis) {
        let now = wall();
        self.0.send_replace(Contact {
            connected_since: Some(now),
            last: Some(now),
            clock_offset_ms: Some(server_time.0.saturating_sub(now.0)),
        });
    }

    /// Something came.
    pub(super) fn heard(&self) {
        self.0.send_if_modified(|contact| {
            contact.last = Some(wall());
            false
        });
    }

    /// The session ended; nothing had come for `silent`.
    pub(super) fn ended(&self, silent: Duration) {
        let silent_ms = i64::try_from(silent.as_millis()).unwrap_or(i64::MAX);
        self.0.send_if_modified(|contact| {
            if contact.connected_since.take().is_none() {
                return false;
            }
            contact.last = contact.last.max(Some(UnixMillis(wall().0.saturating_sub(silent_ms))));
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_fell_silent_was_heard_before() {
        let contacts = Contacts::new();
        contacts.ended(Duration::ZERO);
        assert_eq!(*contacts.subscribe().borrow(), Contact::default());
        let before = wall();
        contacts.opened(UnixMillis(before.0 + 1_000_000));
        contacts.ended(Duration::from_secs(1_000));
        let contact = *contacts.subscribe().borrow();
        assert!(contact.last >= Some(before) && contact.connected_since.is_none(), "{contact:?}");
        assert!(contact.clock_offset_ms > Some(990_000), "{contact:?}");
    }
}
