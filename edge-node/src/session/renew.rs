//! The node's certificate while the agent runs: renewed over the open session in its later life, or before a session when it has
//! expired, and used from the next connection on.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_link::{
    UnixMillis,
    session::renewal::{Renewal, has_expired},
};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::identity::{Identity, IdentityError};

/// The identity, and when it is renewed next.
#[derive(Debug)]
pub(super) struct Credentials {
    state: Mutex<State>,
    /// Rung when there is another certificate, or a session.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct State {
    identity: Identity,
    renewal: Renewal,
    /// What the last connection taught about the next; `None` when it is for the certificate's dates to say.
    next: Option<Begin>,
}

/// What the next connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A greeting.
    Session,
    /// A renewal, and nothing else: the certificate has expired.
    Renewal,
}

impl Credentials {
    /// At the agent's start.
    pub(super) fn new(identity: Identity) -> Self {
        let renewal = Renewal::of(&life(&identity), &mut rand::rng());
        let state = State { identity, renewal, next: None };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// The identity to connect with.
    pub(super) fn identity(&self) -> Identity {
        self.state().identity.clone()
    }

    /// What the next connection begins with, when it is `now` or later by the coordinator's clock. A renewal that the coordinator
    /// does not see the need of is followed by a greeting, whatever this node believes.
    pub(super) fn begin(&self, now: UnixMillis) -> Begin {
        let mut state = self.state();
        let by_date =
            if has_expired(life(&state.identity).end, now) { Begin::Renewal } else { Begin::Session };
        state.next.take().unwrap_or(by_date)
    }

    /// A connection that began so has ended.
    pub(super) fn ended(&self, begin: Begin, verdict: Verdict) {
        self.state().next = match (verdict, begin) {
            (Verdict::Expired, _) => Some(Begin::Renewal),
            (Verdict::Other, Begin::Renewal) => Some(Begin::Session),
            (Verdict::Other, Begin::Session) => None,
        };
    }

    /// The machine has joined again: uses this identity from the next connection on.
    pub(super) fn replace(&self, identity: Identity) {
        *self.state() =
            State { renewal: Renewal::of(&life(&identity), &mut rand::rng()), identity, next: None };
        self.changed.notify_one();
    }

    /// A request for the next certificate.
    pub(super) fn request(&self) -> Result<Vec<u8>, IdentityError> {
        self.identity().request()
    }

    /// How long until the certificate is to be renewed.
    pub(super) fn wait(&self, now: UnixMillis) -> Duration {
        self.state().renewal.wait(now)
    }

    /// An attempt brought nothing.
    pub(super) fn retry(&self, now: UnixMillis) {
        self.state().renewal.retry(now, &mut rand::rng());
    }

    /// Keeps a new certificate on disk, and uses it from now on. One that is not this node's is left aside with a warning.
    pub(super) async fn renewed(self: &Arc<Self>, chain: Vec<Vec<u8>>) {
        let credentials = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || credentials.keep(chain)).await;
        match kept.unwrap_or_else(|panic| Err(IdentityError::Keep(io::Error::other(panic)))) {
            Ok(end) => {
                let ends = jiff::Timestamp::from_millisecond(end.0).unwrap_or_default();
                info!(%ends, "the node's certificate was renewed");
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "a new certificate cannot be used");
            }
        }
        self.changed.notify_one();
    }

    fn keep(&self, chain: Vec<Vec<u8>>) -> Result<UnixMillis, IdentityError> {
        let identity = self.identity().renewed(chain)?;
        let life = life(&identity);
        let mut state = self.state();
        state.renewal = Renewal::of(&life, &mut rand::rng());
        state.identity = identity;
        Ok(life.end)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Its fields are replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a connection ended, as far as its certificate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The coordinator says that the certificate has expired.
    Expired,
    /// For another reason.
    Other,
}

/// An identity that was read has a life.
fn life(identity: &Identity) -> Range<UnixMillis> {
    identity.life().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::identity::test::identity;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn an_expired_certificate_is_renewed_first_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(identity(folder.path(), 1));
        let Range { start, end } = credentials.identity().life().unwrap();
        assert_eq!(end.0 - start.0, DAY_MS);
        let inside = UnixMillis(start.0 + 1000);
        assert_eq!(credentials.begin(inside), Begin::Session);
        credentials.ended(Begin::Session, Verdict::Other);
        assert_eq!(credentials.begin(inside), Begin::Session);
        // The coordinator knows better than the dates.
        credentials.ended(Begin::Session, Verdict::Expired);
        assert_eq!(credentials.begin(inside), Begin::Renewal);
        credentials.ended(Begin::Renewal, Verdict::Other);
        assert_eq!(
            credentials.begin(end),
            Begin::Session,
            "a renewal that was refused is not all that is tried"
        );
        credentials.ended(Begin::Session, Verdict::Other);
        assert_eq!(credentials.begin(end), Begin::Renewal);
    }

    #[tokio::test]
    async fn a_new_certificate_is_kept_and_a_foreign_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let first = identity(folder.path(), 1);
        let credentials = Arc::new(Credentials::new(first.clone()));
        let stranger = tempfile::tempdir().unwrap();
        let foreign = identity(stranger.path(), 90).chain();
        for chain in [Vec::new(), vec![b"junk".to_vec()], vec![foreign[0].to_vec()]] {
            credentials.renewed(chain).await;
            assert_eq!(credentials.identity().chain(), first.chain());
        }
        let next = crate::session::identity::test::certificate(&first, 30);
        credentials.renewed(vec![next.to_vec()]).await;
        assert_eq!(credentials.identity().chain()[0], next);
        let loaded = Identity::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded.chain()[0], next);
        let wait = credentials.wait(loaded.life().unwrap().start);
        assert!((15..=24).contains(&(wait.as_secs() / 86_400)), "{wait:?}");
        assert!(credentials.request().is_ok());
    }

    #[test]
    fn what_a_crash_left_behind_is_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let first = identity(folder.path(), 1);
        std::fs::write(folder.path().join("identity/node.der.new"), b"half").unwrap();
        let loaded = Identity::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded.chain(), first.chain());
        let next = crate::session::identity::test::certificate(&first, 30);
        loaded.renewed(vec![next.to_vec()]).unwrap();
        assert!(!folder.path().join("identity/node.der.new").exists());
    }
}
