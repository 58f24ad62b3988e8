//! What handle and running session share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use dunlin_link::{Digest, bandwidth::Budget, moment::Moment, session::node::NodeSession};
use quinn::Connection;
use tokio::sync::{Notify, Semaphore, watch};

use super::{Identity, contact, network::Network, renew::Credentials};
use crate::server_time::ServerTime;

/// One session's.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) started: Instant,
    /// One lock, never held across an await: commands from any thread and the session's loops meet here.
    pub(super) machine: Mutex<NodeSession>,
    pub(super) bells: Bells,
    pub(super) contacts: contact::Contacts,
    pub(super) credentials: Arc<Credentials>,
    pub(super) server_time: Arc<ServerTime>,
    /// The open session's connection.
    pub(super) connection: watch::Sender<Option<Connection>>,
    /// Held while a change is committed, so that a new session never starts beside a commit of an old one.
    pub(super) committing: Arc<tokio::sync::Mutex<()>>,
    /// One fetch per content at a time.
    pub(super) fetches: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) fetch_slots: Semaphore,
    /// As many for code.
    pub(super) code_slots: Semaphore,
    /// One for tokens of pods.
    pub(super) token_slot: Semaphore,
    pub(super) network: Network,
    /// What may be sent, while the coordinator caps it.
    pub(super) budget: Mutex<Option<Budget>>,
    /// Streams that the coordinator has open, logs for instance.
    pub(super) reverse_streams: AtomicUsize,
}

/// By which the loops of a connection wake each other.
#[derive(Debug, Default)]
pub(super) struct Bells {
    pub(super) write: Notify,
    pub(super) act: Notify,
    pub(super) time: Notify,
}

impl Shared {
    pub(super) fn new(machine: NodeSession, identity: Identity, server_time: Arc<ServerTime>) -> Self {
        // The coordinator's clock said so when it was issued.
        server_time.learn(identity.life().unwrap_or_default().start);
        Self {
            started: Instant::now(),
            machine: Mutex::new(machine),
            bells: Bells::default(),
            contacts: contact::Contacts::new(),
            credentials: Arc::new(Credentials::new(identity)),
            server_time,
            connection: watch::Sender::new(None),
            committing: Arc::default(),
            fetches: Mutex::default(),
            fetch_slots: Semaphore::new(FETCHES_MAX),
            code_slots: Semaphore::new(FETCHES_MAX),
            token_slot: Semaphore::new(1),
            network: Network::default(),
            budget: Mutex::default(),
            reverse_streams: AtomicUsize::new(0),
        }
    }

    /// What to connect with, and a time that has passed by the coordinator's clock.
    pub(super) fn credentials(&self) -> (Identity, Duration) {
        (self.credentials.identity(), self.server_time.since_1970())
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, NodeSession> {
        // The machine is consistent between its calls, and none of them can panic half-way.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    /// Makes those who fetch the same content do so one after another.
    pub(super) fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is done leaves an entry that nobody else holds.
        fetches.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(fetches.entry(digest).or_default())
    }

    pub(super) fn budget(&self) -> MutexGuard<'_, Option<Budget>> {
        // A budget is consistent after each of its calls.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was sent did not wait, but counts.
    pub(super) fn spend(&self, bytes: usize) {
        let now = self.now();
        self.budget().iter_mut().for_each(|budget| budget.spend(bytes, now));
    }

    /// Waits until so much bulk may be sent.
    pub(super) async fn pass(&self, bytes: usize) {
        let now = self.now();
        let wait = self.budget().as_mut().map(|budget| budget.reserve(bytes, now)).unwrap_or_default();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How much bulk to send at a time; `whole` without a cap.
    pub(super) fn piece_bytes(&self, whole: usize) -> usize {
        self.budget().as_ref().map_or(whole, |budget| budget.piece_bytes().min(whole))
    }
}

impl Bells {
    pub(super) fn ring(&self) {
        self.write.notify_one();
        self.act.notify_one();
        self.time.notify_one();
    }
}

/// Modules fetched at a time: enough to fill a link, few enough that each makes progress.
const FETCHES_MAX: usize = 4;
