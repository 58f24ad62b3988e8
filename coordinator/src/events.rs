//! Records Event objects, repeated ones by raising their count, and expires them.
//!
//! Whoever has something to tell hands over an [`Occurrence`] and goes on; one task writes. It names events as Kubernetes does
//! (`POD.HEX`), counts repeats of the same text up instead of writing new objects, and drops what one object tells too often.
//! An event expires an hour after it was last seen. Expired events are deleted along with the next ones that are written, so that
//! an idle cluster writes nothing; until then they can still be read.

mod expiry;
mod ledger;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use dunlin_api::{Kind, Status, kind, time::format_time};
use dunlin_coordinator_core::ObjectKey;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    expiry::Expiry,
    ledger::{Ledger, Verdict},
};
use crate::service::{ApiService, Clock, ModifyError, ObjectRef, User};

/// Takes occurrences; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    occurrences: mpsc::Sender<Occurrence>,
    expiry: Arc<Mutex<Expiry>>,
    clock: Clock,
}

/// The task that writes what recorders took.
pub(crate) struct Writer {
    service: ApiService,
    occurrences: mpsc::Receiver<Occurrence>,
    expiry: Arc<Mutex<Expiry>>,
    ledger: Ledger,
    clock: Clock,
}

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Who saw it.
    pub user: User,
    /// The object.
    pub regarding: Regarding,
    /// `type`.
    pub severity: Severity,
    /// For instance `Scheduled`.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// `source.component`.
    pub component: &'static str,
    /// `source.host`: the node that saw it, or empty.
    pub host: String,
    /// When.
    pub at: Timestamp,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// Its `apiVersion`.
    pub api_version: Cow<'static, str>,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for a node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The part of it, for instance `spec.containers{app}`, or empty.
    pub field_path: String,
}

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing to worry about.
    Normal,
    /// Something is wrong.
    Warning,
}

impl Recorder {
    /// A recorder and the task to run for it.
    pub(crate) fn new(service: ApiService, clock: Clock) -> (Self, Writer) {
        let (sender, occurrences) = mpsc::channel(OCCURRENCES_MAX);
        let expiry: Arc<Mutex<Expiry>> = Arc::default();
        let recorder = Self { occurrences: sender, expiry: Arc::clone(&expiry), clock: clock.clone() };
        (recorder, Writer { service, occurrences, expiry, ledger: Ledger::default(), clock })
    }

    /// Takes an occurrence. When too many are waiting it is dropped: events are a help, not a record.
    pub fn record(&self, occurrence: Occurrence) {
        if let Err(error) = self.occurrences.try_send(occurrence) {
            tracing::debug!(%error, "an event is dropped");
        }
    }

    /// Notes that the store holds an event that says it was last seen at `at`; one of the future would never expire.
    pub(crate) fn stored(&self, key: &ObjectKey, at: Timestamp) {
        let at = at.min(self.clock.now());
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner).seen(key, at);
    }

    /// Notes that the store no longer holds an event.
    pub(crate) fn removed(&self, key: &ObjectKey) {
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner).gone(key);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Writer {
    /// Writes until `shutdown`, then what is still waiting.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                count = self.occurrences.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = shutdown.cancelled() => return,
            }
            self.write(&mut batch).await;
        }
    }

    async fn write(&mut self, batch: &mut Vec<Occurrence>) {
        if batch.is_empty() {
            return;
        }
        // Nodes date what they tell. What is expired, and who may tell more, is the coordinator's clock to say.
        let now = self.clock.now();
        for occurrence in batch.iter_mut() {
            occurrence.at = occurrence.at.clamp(now - AGE_MAX, now);
        }
        let verdicts: Vec<Verdict> = self.ledger.judge(batch.drain(..), now);
        let written = verdicts.len();
        let service = &self.service;
        stream::iter(verdicts)
            .for_each_concurrent(BATCH_MAX, |verdict| async move {
                if let Err(status) = carry_out(service, verdict).await {
                    tracing::warn!(error = status.message(), "an event cannot be written");
                }
            })
            .await;
        let expired = self.expiry.lock().unwrap_or_else(PoisonError::into_inner).take(now, written * 2);
        stream::iter(expired).for_each_concurrent(BATCH_MAX, |key| delete(service, key)).await;
    }
}

impl Severity {
    /// Kubernetes' word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

async fn carry_out(service: &ApiService, verdict: Verdict) -> Result<(), Status> {
    match verdict {
        Verdict::Create { occurrence, name, count } => {
            let event = event(&occurrence, &name, count);
            let namespace = namespace(&occurrence.regarding);
            service.create(&occurrence.user, event_kind(), namespace, event).await.map(drop)
        }
        Verdict::Raise { namespace, name, count, at } => {
            let object = ObjectRef { kind: event_kind(), namespace: &namespace, name: &name };
            let raise = |event: &mut Value| {
                event["count"] = json!(count);
                event["lastTimestamp"] = json!(format_time(at));
                true
            };
            // Nodes may create events and not change them; counting is the coordinator's.
            match service.modify(&User::controller_manager(), object, "", None, raise).await {
                // Deleted meanwhile: nobody wants the count.
                Err(ModifyError::Gone(_)) => Ok(()),
                result => result.map(drop).map_err(Status::from),
            }
        }
    }
}

async fn delete(service: &ApiService, key: ObjectKey) {
    let object = ObjectRef { kind: event_kind(), namespace: &key.namespace, name: &key.name };
    if let Err(status) = service.delete(&User::controller_manager(), object, json!({})).await
        && status.code() != 404
    {
        tracing::warn!(%key, error = status.message(), "an expired event cannot be deleted");
    }
}

fn event(occurrence: &Occurrence, name: &str, count: u64) -> Value {
    let regarding = &occurrence.regarding;
    let mut involved = json!({
        "kind": regarding.kind, "apiVersion": regarding.api_version, "name": regarding.name, "uid": regarding.uid,
    });
    for (field, value) in [("namespace", &regarding.namespace), ("fieldPath", &regarding.field_path)] {
        if !value.is_empty() {
            involved[field] = json!(value);
        }
    }
    let mut source = json!({ "component": occurrence.component });
    if !occurrence.host.is_empty() {
        source["host"] = json!(occurrence.host);
    }
    let time = format_time(occurrence.at);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace(regarding) },
        "involvedObject": involved,
        "reason": occurrence.reason,
        "message": occurrence.message,
        "source": source,
        "type": occurrence.severity.as_str(),
        "count": count,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "reportingComponent": occurrence.component,
        "reportingInstance": occurrence.host,
    })
}

/// Events about objects without a namespace are in `default`.
fn namespace(regarding: &Regarding) -> &str {
    if regarding.namespace.is_empty() { "default" } else { &regarding.namespace }
}

fn event_kind() -> &'static Kind {
    kind::by_kind("v1", "Event").expect("the registry has events")
}

/// How far back an event may be dated: a node that was cut off tells late what it saw, and what is older expires at once.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Occurrences that wait to be written; beyond that the store is the bottleneck and events have to give way.
const OCCURRENCES_MAX: usize = 4096;

/// Occurrences written together, sharing the store's flushes.
const BATCH_MAX: usize = 64;
