//! Reading an object, deciding on it, and writing what was decided, again until no other writer came between: what the API service
//! does for every verb.

use std::fmt;

use dunlin_coordinator_core::{ObjectKey, deletion, dispatch::tombstone_key};
use dunlin_link::{
    NodeName, PodUid, Revision, assignment::Tombstone, session::registry::Registry, status::PodStatusReport,
};
use serde_json::Value;

use super::{Coordinator, Plan};
use crate::{
    context::Context,
    network::ConnId,
    oracle::RequestId,
    plant::Plant,
    store::{Outcome, Store, Txn},
    trace::Note,
};

/// One read, decision and write.
pub(super) struct Op {
    key: String,
    decide: Box<Decide>,
    then: Then,
    /// What it is writing; `None` when that is a deletion.
    writing: Option<Value>,
}

/// Decides on what is there.
type Decide = dyn Fn(Option<&Value>, &Store) -> Verdict;

/// What is to happen to an object.
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// It becomes this.
    Put(Value),
    /// It goes, and leaves an order to its node.
    Remove(Option<(NodeName, Tombstone)>),
    /// The object that was meant is not there.
    Gone,
    /// It cannot be.
    Refuse,
    /// A controller wants what no API takes.
    Invalid(String),
    /// This, together with what it takes from another object.
    Charged(Box<Self>, Charge),
}

/// Another object that a decision rests on, and what becomes of it.
pub(super) struct Charge {
    pub(super) key: String,
    pub(super) revision: Revision,
    /// `None` when it stays.
    pub(super) becomes: Option<Value>,
}

/// Who waits for an operation.
#[derive(Debug)]
pub(super) enum Then {
    /// The process's own start.
    Term,
    /// A client.
    Client(RequestId),
    /// A session's batch of statuses.
    Status { conn: ConnId, node: NodeName, report: Box<PodStatusReport> },
    /// The same, after the pod's removal.
    Removed { conn: ConnId, node: NodeName, uid: PodUid },
    /// A controller's plan.
    Plan(u64),
    /// A placement.
    Bound(ObjectKey),
    /// Nobody.
    Nothing,
}

/// How an operation ended.
#[derive(Debug)]
pub(super) enum End {
    /// The object is there, as this.
    Kept(Value),
    Removed,
    Gone,
    Refused,
}

impl Op {
    pub(super) fn new(key: String, then: Then, decide: impl Fn(Option<&Value>) -> Verdict + 'static) -> Self {
        Self::looking_around(key, then, move |current, _| decide(current))
    }

    /// One whose decision rests on other objects too.
    pub(super) fn looking_around(
        key: String,
        then: Then,
        decide: impl Fn(Option<&Value>, &Store) -> Verdict + 'static,
    ) -> Self {
        Self { key, decide: Box::new(decide), then, writing: None }
    }

    /// The same for a pod of this node only: what a node may do to another's is nothing.
    pub(super) fn only_of(self, node: NodeName, then: Then) -> Self {
        let decide = self.decide;
        let is_own = move |pod: &Value| pod["spec"]["nodeName"] == node.as_str();
        Self::looking_around(self.key, then, move |current, store| match current {
            Some(pod) if is_own(pod) => decide(Some(pod), store),
            _ => Verdict::Gone,
        })
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({})", self.key)
    }
}

impl From<deletion::Verdict> for Verdict {
    fn from(verdict: deletion::Verdict) -> Self {
        match verdict {
            deletion::Verdict::Keep(_) => Self::Keep,
            deletion::Verdict::Put(object) => Self::Put(object),
            deletion::Verdict::Remove { order, .. } => Self::Remove(order),
        }
    }
}

impl Coordinator {
    /// Reads and decides; writes go to the writer, anything else ends here.
    pub(super) fn attempt(&mut self, mut op: Op, context: &mut Context) {
        let current = self.store.get(&op.key).cloned();
        let value = current.as_ref().map(|stored| &*stored.value);
        let (verdict, charge) = match (op.decide)(value, &self.store) {
            Verdict::Charged(verdict, charge) => (*verdict, Some(charge)),
            verdict => (verdict, None),
        };
        let mut writes = match verdict {
            Verdict::Keep => {
                let kept = value.cloned().unwrap_or_default();
                return self.finish(op.then, End::Kept(kept), context);
            }
            Verdict::Put(new) if value == Some(&new) => {
                return self.finish(op.then, End::Kept(new), context);
            }
            Verdict::Gone => return self.finish(op.then, End::Gone, context),
            Verdict::Invalid(why) => {
                context.oracle.violate(format!("a controller writes to {} what is not valid: {why}", op.key));
                return self.finish(op.then, End::Refused, context);
            }
            Verdict::Refuse | Verdict::Charged(..) => return self.finish(op.then, End::Refused, context),
            Verdict::Put(new) => {
                op.writing = Some(new.clone());
                vec![(op.key.clone(), Some(new))]
            }
            Verdict::Remove(order) => {
                op.writing = None;
                let order = order.map(|(node, tombstone)| {
                    let record = serde_json::to_value(&tombstone).expect("strings and numbers are JSON");
                    (tombstone_key(&node, &tombstone.uid), Some(record))
                });
                std::iter::once((op.key.clone(), None)).chain(order).collect()
            }
        };
        let Some(process) = &mut self.process else { return };
        process.tickets += 1;
        let mut reads = vec![(op.key.clone(), current.map(|stored| stored.revision))];
        if let Some(Charge { key, revision, becomes }) = charge {
            writes.extend(becomes.map(|new| (key.clone(), Some(new))));
            reads.push((key, Some(revision)));
        }
        let txn = Txn { reads, writes };
        process.ops.insert(process.tickets, op);
        self.store.submit(process.tickets, txn);
        self.begin_group(context);
    }

    /// The writer's answer to an operation.
    pub(super) fn answered(&mut self, mut op: Op, outcome: Outcome, context: &mut Context) {
        match outcome {
            Outcome::Conflict => self.attempt(op, context),
            Outcome::Committed => {
                let end = op.writing.take().map_or(End::Removed, End::Kept);
                self.finish(op.then, end, context);
            }
        }
    }

    fn finish(&mut self, then: Then, end: End, context: &mut Context) {
        match then {
            Then::Term => {
                let End::Kept(term) = end else { return };
                let term = term.as_u64().unwrap_or_default();
                if let Some(process) = &mut self.process {
                    process.registry = Some(Registry::new(term));
                }
                context.trace.note(context.now, Note::Coordinator("serves term", term));
            }
            Then::Client(request) => {
                if matches!(end, End::Kept(_) | End::Removed) {
                    context.oracle.accepted(request, &self.store);
                }
            }
            Then::Status { conn, node, report } => self.status_stored(conn, &node, &report, end, context),
            Then::Removed { conn, node, uid } => self.pod_removed(conn, &node, uid, &end, context),
            Then::Plan(ticket) => self.acted(ticket, context),
            Then::Bound(key) => self.bound(&key, &end, context),
            Then::Nothing => {}
        }
    }

    /// Another action of a plan is done.
    pub(super) fn acted(&mut self, ticket: u64, context: &Context) {
        let Some(process) = &mut self.process else { return };
        let Some(plan) = process.plans.get_mut(&ticket) else { return };
        plan.left -= 1;
        if plan.left > 0 {
            return;
        }
        // A planted bug: the key is asked about again before the view has what its plan wrote.
        let hasty = context.plant == Some(Plant::HastyController);
        let written = if hasty { Revision(0) } else { self.store.revision() };
        let keys = &mut process.reconciler.keys;
        match process.plans.remove(&ticket) {
            Some(Plan { key, failure: None, .. }) => keys.succeeded(&key, written),
            Some(Plan { key, failure: Some(why), .. }) => keys.failed(&key, &why, written, context.wall()),
            None => {}
        }
    }

    fn bound(&mut self, key: &ObjectKey, end: &End, context: &Context) {
        let Some(process) = &mut self.process else { return };
        let now = context.wall();
        if matches!(end, End::Kept(_)) {
            process.reconciler.queue.remove(key);
        } else {
            process.reconciler.view.unassume(key, now);
            process.reconciler.queue.retry(key, now);
        }
    }
}
