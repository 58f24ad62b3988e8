//! The coordinator: the real desired sets, reconciler, sessions and merges, on a modelled store and without a shell.

mod api;
mod carry_out;
mod ops;
mod placing;
mod planted;
mod scaling;
mod seen;
mod sessions;
mod workloads;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use dunlin_coordinator_core::{
    ObjectKey, View,
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    dispatch::{self, Change as SetChange, ConfigKey, DesiredSets, Subject},
    reconciler::{Key, Reconciler},
    view::services::SERVICES,
};
use dunlin_link::{
    Digest, NodeName, Revision, held::HeldSet, moment::Moment, sealed::ContentKey,
    session::registry::Registry,
};
use jiff::Timestamp;
use rand::Rng;
use serde_json::json;

pub(crate) use self::carry_out::Request;
use self::{
    api::Registrar,
    ops::{Op, Then, Verdict},
    sessions::Session,
};
use crate::{
    context::{Context, Event},
    keys::{self, Place},
    network::ConnId,
    plant::Plant,
    store::{Change, Disk, Store},
    trace::Note,
};

/// The coordinator's machine: what is on its disk, and its process while it runs.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) store: Store,
    /// Counts its processes, so that what was meant for an earlier one is not taken for the next.
    life: u32,
    process: Option<Process>,
    backup: Option<Disk>,
    /// Until when its disk is slow.
    pub(crate) slow_until: Moment,
    /// Until when its admission refuses what controllers create.
    pub(crate) refusing_until: Moment,
    registrar: Registrar,
}

/// Everything that a crash loses.
#[derive(Debug)]
struct Process {
    /// Once the term is stored.
    registry: Option<Registry>,
    reconciler: Reconciler,
    sets: DesiredSets,
    reading: Reading,
    /// What the watch has brought and nobody has looked at.
    unseen: VecDeque<Change>,
    ops: BTreeMap<u64, Op>,
    tickets: u64,
    plans: BTreeMap<u64, Plan>,
    sessions: BTreeMap<ConnId, Session>,
    wake: Option<Moment>,
}

/// A plan under way.
#[derive(Debug)]
struct Plan {
    key: Key,
    /// How many of its actions are not done.
    left: usize,
    /// What could not be done.
    failure: Option<String>,
}

/// Whether the store has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    NotYet,
    Done,
}

impl Coordinator {
    pub(crate) fn new() -> Self {
        Self {
            store: Store::default(),
            life: 0,
            process: None,
            backup: None,
            slow_until: Moment::default(),
            refusing_until: Moment::default(),
            registrar: Registrar::default(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether nothing waits to be done or written.
    pub(crate) fn is_idle(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            process.reading == Reading::Done && process.ops.is_empty() && process.unseen.is_empty()
        })
    }

    /// Digest of what a node should hold.
    pub(crate) fn wants(&self, node: &NodeName) -> Option<Digest> {
        let process = self.process.as_ref()?;
        Some(HeldSet::of(&process.sets.desired(node)).digest())
    }

    /// Starts the process: its term first, for it orders sessions over restarts.
    pub(crate) fn start(&mut self, context: &mut Context) {
        if self.process.is_some() {
            return;
        }
        self.life += 1;
        let now = context.wall();
        self.process = Some(Process {
            registry: None,
            reconciler: Reconciler::new(View::new(now, NODE_GRACE)),
            sets: DesiredSets::new(ContentKey::from_bytes([1; 32])),
            reading: Reading::NotYet,
            unseen: VecDeque::new(),
            ops: BTreeMap::new(),
            tickets: 0,
            plans: BTreeMap::new(),
            sessions: BTreeMap::new(),
            wake: None,
        });
        context.oracle.coordinator_started(&self.store, context.now);
        let raise = |current: Option<&serde_json::Value>| {
            let term = current.and_then(serde_json::Value::as_u64).unwrap_or_default();
            Verdict::Put(json!(term + 1))
        };
        self.attempt(Op::new(keys::TERM.to_owned(), Then::Term, raise), context);
        let reading = context.rng.random_range(Duration::ZERO..Duration::from_millis(800));
        context.agenda.at(context.now + reading, Event::Read { life: self.life });
        context.trace.note(context.now, Note::Coordinator("starts, life", u64::from(self.life)));
    }

    /// Ends the process as a power cut does.
    pub(crate) fn crash(&mut self, context: &mut Context) {
        let Some(process) = self.process.take() else { return };
        context.trace.note(context.now, Note::Coordinator("crashes, life", u64::from(self.life)));
        let changes = self.store.crash(&mut context.rng);
        context.oracle.committed(&changes, &self.store, context.now);
        for (conn, _) in process.sessions {
            // The machine is gone without a word: its peers notice by silence or by a reset.
            context.vanish(conn);
        }
        context.oracle.coordinator_crashed();
    }

    pub(crate) const fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    pub(crate) fn take_backup(&mut self) {
        self.backup = Some(self.store.backup());
    }

    /// Puts the last backup in the place of the store; the process must be down.
    pub(crate) fn restore(&mut self, context: &mut Context) -> bool {
        let (Some(backup), None) = (self.backup.clone(), &self.process) else { return false };
        self.store.restore(backup);
        context.oracle.restored(&self.store, context.now);
        true
    }

    /// Whether a connection that arrives now is taken.
    pub(crate) fn accepts(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.registry.is_some())
    }

    /// The whole store has been read.
    pub(crate) fn handle_read(&mut self, life: u32, context: &mut Context) {
        if life != self.life {
            return;
        }
        let Some(process) = &mut self.process else { return };
        process.reading = Reading::Done;
        process.unseen.clear();
        let now = context.wall();
        let mut changes = Vec::new();
        for (key, stored) in self.store.list("/") {
            let is_tombstone = key.starts_with(dispatch::TOMBSTONES_PREFIX);
            if is_tombstone && context.plant == Some(Plant::DroppedTombstones) {
                continue;
            }
            process.fold(key, Some(&planted::seen(key, &stored.json, context.plant)), None, now);
            changes.extend(set_change(key, stored.revision, Some(&stored.json)));
        }
        for change in &changes {
            expect_readable(process.sets.apply(change));
        }
        for key in process.sets.unread_config() {
            let change = read_config(&self.store, key);
            expect_readable(process.sets.apply(&change));
        }
        process.sets.loaded(self.store.revision());
        process.reconciler.keys.seen(self.store.revision());
        process.reconciler.keys.touch(Key::Pods);
        let nodes: Vec<NodeName> = process.sessions.values().map(|session| session.node.clone()).collect();
        self.tell_sessions(&nodes, context);
        self.turn(context);
    }

    /// A group of writes is durable.
    pub(crate) fn handle_flushed(&mut self, life: u32, context: &mut Context) {
        if life != self.life || self.process.is_none() {
            return;
        }
        let (outcomes, changes) = self.store.flushed();
        self.note_committed(&changes, context);
        if let Some(process) = &mut self.process
            && process.reading == Reading::Done
            && !changes.is_empty()
        {
            process.unseen.extend(changes);
            let lag = context.rng.random_range(Duration::ZERO..Duration::from_millis(5));
            context.agenda.at(context.now + lag, Event::Folded { life });
        }
        for (ticket, outcome) in outcomes {
            let Some(op) = self.process.as_mut().and_then(|process| process.ops.remove(&ticket)) else {
                continue;
            };
            self.answered(op, outcome, context);
        }
        self.begin_group(context);
        self.turn(context);
    }

    /// What the watch has brought is looked at.
    pub(crate) fn handle_folded(&mut self, life: u32, context: &mut Context) {
        let Some(process) = self.process.as_mut().filter(|_| life == self.life) else { return };
        let changes: Vec<Change> = process.unseen.drain(..).collect();
        let Some(revision) = changes.last().map(|change| change.revision) else { return };
        let json = |change: &Change| change.after.as_ref().map(|stored| stored.json.clone());
        let mut folded: Vec<SetChange> = changes
            .iter()
            .filter_map(|change| set_change(&change.key, change.revision, json(change).as_ref()))
            .collect();
        let missing = process.sets.missing_config(&folded);
        let read: Vec<SetChange> = missing.into_iter().map(|key| read_config(&self.store, key)).collect();
        folded.splice(0..0, read);
        for change in &folded {
            expect_readable(process.sets.apply(change));
        }
        let changed = if folded.is_empty() { Vec::new() } else { process.sets.publish(revision) };
        let now = context.wall();
        for change in &changes {
            let before = change.before.as_ref().map(|stored| &stored.json);
            let after = json(change).map(|json| planted::seen(&change.key, &json, context.plant));
            process.fold(&change.key, after.as_ref(), before, now);
        }
        process.reconciler.keys.seen(revision);
        self.tell_sessions(&changed, context);
        self.turn(context);
    }

    /// Something may be due by now.
    pub(crate) fn handle_wake(&mut self, life: u32, context: &mut Context) {
        if let Some(process) = self.process.as_mut().filter(|_| life == self.life) {
            if process.wake.is_some_and(|at| at <= context.now) {
                process.wake = None;
            }
            self.turn(context);
        }
    }

    /// Asks every due controller and places waiting pods, all at one time, as the driver's turn does.
    fn turn(&mut self, context: &mut Context) {
        let now = context.wall();
        let Some(process) = self.process.as_mut().filter(|process| process.reading == Reading::Done) else {
            return;
        };
        let mut planned = Vec::new();
        for key in process.reconciler.take_due(now) {
            let plan = process.reconciler.plan(&key, now);
            process.reconciler.keys.started(&key, plan.again_at);
            if plan.actions.is_empty() {
                process.reconciler.keys.succeeded(&key, Revision(0));
            } else {
                planned.push((key, plan.actions));
            }
        }
        let placed = self.decide_places(context);
        for (key, actions) in planned {
            self.carry_out(key, actions, context);
        }
        for decision in placed {
            self.place(decision, context);
        }
        self.schedule_wake(context);
    }

    fn schedule_wake(&mut self, context: &mut Context) {
        let Some(process) = &mut self.process else { return };
        let reconciler = &process.reconciler;
        let Some(due) =
            [reconciler.keys.next_wake(), reconciler.queue.next_wake()].into_iter().flatten().min()
        else {
            return;
        };
        let left = Duration::try_from(due.duration_since(context.wall())).unwrap_or_default();
        let at = context.now + left.max(WAKE_MIN);
        if process.wake.is_none_or(|known| at < known) {
            process.wake = Some(at);
            context.agenda.at(at, Event::Wake { life: self.life });
        }
    }

    fn note_committed(&self, changes: &[Change], context: &mut Context) {
        if let Some(last) = changes.last() {
            let keys = changes.iter().map(Change::in_words).collect();
            context.trace.note(context.now, Note::Committed(last.revision, keys));
            context.oracle.committed(changes, &self.store, context.now);
        }
    }

    fn begin_group(&mut self, context: &mut Context) {
        if self.store.begin() {
            let slowest = if context.now < self.slow_until { SLOW_FLUSH } else { FLUSH };
            let flush = context.rng.random_range(slowest / 8..slowest);
            context.agenda.at(context.now + flush, Event::Flushed { life: self.life });
        }
    }
}

impl Process {
    /// Folds one value into what controllers and scheduler see.
    fn fold(&mut self, key: &str, json: Option<&Bytes>, before: Option<&Bytes>, now: Timestamp) {
        let place = Place::of(key);
        let reconciler = &mut self.reconciler;
        let id = match &place {
            Place::Pod(key) => Some((keys::PODS_RESOURCE, key)),
            Place::Object(id) => Some((id.resource, &id.key)),
            _ => None,
        };
        if let Some((resource, key)) = id {
            let folded = match (json, before) {
                (Some(json), _) => reconciler.fold_owners(resource, key, json),
                (None, Some(last)) => reconciler.forget_owners(resource, key, last),
                (None, None) => Ok(()),
            };
            folded.expect("owners of the simulator's objects can be decoded");
        }
        let folded = match (place, json) {
            (Place::Pod(pod), Some(json)) => reconciler.fold_pod(&pod, json, now).map(drop),
            (Place::Pod(pod), None) => {
                reconciler.forget_pod(&pod);
                Ok(())
            }
            (Place::Node(node), Some(json)) => reconciler.fold_node(&node, json),
            (Place::Node(node), None) => {
                reconciler.forget_node(&node, now);
                Ok(())
            }
            (Place::Object(id), Some(json)) => match id.resource {
                keys::BUDGETS => reconciler.fold_budget(&id.key, json),
                HORIZONTAL_POD_AUTOSCALERS => reconciler.fold_autoscaler(&id.key, json),
                SERVICES => reconciler.fold_service(&id.key, json),
                keys::ENDPOINT_SLICES => reconciler.fold_slice(&id.key, json),
                keys::ENDPOINTS => reconciler.fold_endpoints(&id.key, json),
                _ => reconciler.fold_workload(id.resource, &id.key, json),
            },
            (Place::Object(id), None) => {
                match id.resource {
                    keys::BUDGETS => reconciler.view.delete_budget(&id.key),
                    HORIZONTAL_POD_AUTOSCALERS => reconciler.forget_autoscaler(&id.key),
                    SERVICES => reconciler.forget_service(&id.key),
                    keys::ENDPOINT_SLICES => reconciler.forget_slice(&id.key),
                    keys::ENDPOINTS => reconciler.forget_endpoints(&id.key),
                    _ => reconciler.forget_workload(id.resource, &id.key),
                }
                Ok(())
            }
            _ => Ok(()),
        };
        folded.expect("the simulator's objects can be decoded");
    }
}

/// The change of the desired sets' inputs that a write is, if any.
fn set_change(key: &str, revision: Revision, json: Option<&Bytes>) -> Option<SetChange> {
    let subject = match Place::of(key) {
        Place::Pod(pod) => Subject::Pod(pod),
        Place::Config(kind, key) => Subject::Config(ConfigKey { kind, key }),
        Place::Record if DesiredSets::wants(key) => Subject::Record(key.to_owned()),
        Place::Node(_) | Place::Object(_) | Place::Record => return None,
    };
    Some(SetChange { revision, subject, json: json.cloned() })
}

fn read_config(store: &Store, key: ConfigKey) -> SetChange {
    let found = store.get(&keys::config(key.kind, &key.key));
    let revision = found.map_or_else(|| store.revision(), |found| found.revision);
    SetChange { revision, json: found.map(|found| found.json.clone()), subject: Subject::ConfigRead(key) }
}

fn expect_readable(applied: Result<(), dispatch::ApplyError>) {
    applied.expect("what the simulator stores can be carried to nodes");
}

/// The true time.
pub(crate) fn timestamp(now: Moment) -> Timestamp {
    Timestamp::UNIX_EPOCH + EPOCH + now.0
}

/// The pod's key, from its stored place.
pub(crate) fn key_of(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

/// When runs begin: 2026-01-01.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Silence after which a node is unreachable.
const NODE_GRACE: Duration = Duration::from_secs(40);

/// Longest flush of a healthy disk.
const FLUSH: Duration = Duration::from_millis(16);

/// Longest flush of a card that is busy with itself.
const SLOW_FLUSH: Duration = Duration::from_secs(6);

const WAKE_MIN: Duration = Duration::from_millis(1);
