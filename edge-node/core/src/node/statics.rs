//! Static pods: run from manifests on the node's own disk, with no coordinator ever seen.
//!
//! The caller says which there are; their identity is their content, so a changed manifest is another pod. The new one begins when the
//! old one of its name has stopped. Their addresses and memories are durable like those of assigned pods, before anything starts. They
//! are no part of the set that the coordinator knows, and no change of that set touches them. It is told which there are and how they
//! fare, so that it can show them.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use dunlin_link::{
    Digest, PodUid, UnixMillis, assignment::Tombstone, codec, pod::PodAssignment, statics::StaticPodName,
};

use super::{
    Batch, Change, Entry, NodeCore, Output, PodRecord, WriteTicket,
    change::{Committing, Work},
};
use crate::{
    address::PodSlot,
    clock::{Mono, Now},
};

/// Static pods as they should be, and what is still to be done about it.
#[derive(Debug, Default)]
pub(super) struct Statics {
    wanted: BTreeMap<PodUid, PodAssignment>,
    /// Those that are being stopped.
    leaving: BTreeSet<PodUid>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The caller has not said yet which there are: those that ran before go on.
    #[default]
    Unknown,
    /// Something may have to be done.
    Changed,
    /// A write failed; another try is due then.
    Failed(Mono),
    /// Nothing but to wait for those that leave.
    Settled,
}

/// What becomes of static pods with one batch.
#[derive(Debug)]
pub(super) struct StaticsPlan {
    add: Vec<PodRecord>,
    pub(super) forget: Vec<PodUid>,
}

/// Who wants a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The coordinator.
    Assigned,
    /// A manifest on the node's own disk.
    Static,
}

/// A manifest's pod as this node's own: named `NAME-NODE`, with a uid that follows from its content, its file and the node.
pub fn static_pod(mut pod: PodAssignment, file: &str, node: &str) -> PodAssignment {
    pod.uid = PodUid::new("");
    let mut content = codec::encode(&(&pod, file, node));
    if !pod.care.is_default() {
        // Beside the rest, so that manifests which ask for nothing keep the uids that they had.
        content.extend(codec::encode(&pod.care));
    }
    if !pod.volumes.is_default() {
        content.extend(codec::encode(&pod.volumes));
    }
    let content = Digest::of(&content).hex();
    let uid = &content[..UID_HEX];
    let known = |name: &String| [CONFIG_SOURCE, CONFIG_HASH].contains(&name.as_str());
    pod.spec.annotations.retain(|(name, _)| !known(name));
    for (name, value) in [(CONFIG_SOURCE, "file"), (CONFIG_HASH, uid)] {
        pod.spec.annotations.push((name.to_owned(), value.to_owned()));
    }
    pod.spec.annotations.sort();
    let name = format!("{}-{node}", pod.name);
    if pod.spec.hostname == pod.name {
        pod.spec.hostname.clone_from(&name);
    }
    pod.uid = PodUid::new(uid);
    pod.name = name;
    pod
}

impl NodeCore {
    /// These are all static pods that there should be, as [`static_pod`] makes them. A node that is told before it hears of its sandbox
    /// starts nothing that is not among them.
    pub fn handle_statics(&mut self, pods: Vec<PodAssignment>, now: Now) {
        let wanted: BTreeMap<_, _> = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let statics = &mut self.statics;
        if statics.state != State::Unknown && statics.wanted == wanted {
            return;
        }
        statics.wanted = wanted;
        statics.state = State::Changed;
        let gone = self
            .pods
            .iter()
            .filter(|(uid, entry)| entry.origin == Origin::Static && !self.statics.wanted.contains_key(*uid));
        let gone: Vec<_> = gone.map(|(uid, _)| uid.clone()).collect();
        for uid in gone {
            self.dismiss(uid, now);
        }
    }

    /// The coordinator shows a static pod from now on, and has not heard how it fares.
    pub fn handle_mirrored(&mut self, uid: &PodUid, now: Now) {
        if self.pods.get(uid).is_some_and(Entry::is_static) {
            self.with_pod(uid, now, |pod, _| pod.report_again());
        }
    }

    /// When static pods want to be looked at again.
    pub(super) fn statics_due(&self) -> Option<Mono> {
        match self.statics.state {
            State::Failed(until) => Some(until),
            _ => None,
        }
    }

    /// Writes what is to be done about static pods, if no other change is being written.
    pub(super) fn write_statics(&mut self, now: Now) {
        let due = match self.statics.state {
            State::Unknown => false,
            State::Changed => true,
            State::Failed(until) => until <= now.mono,
            State::Settled => self.statics.leaving.iter().any(|uid| self.has_left(uid)),
        };
        if !due || self.committing.is_some() {
            return;
        }
        self.statics.state = State::Settled;
        let leaving = self.statics.leaving.iter();
        let forget: Vec<_> = leaving.filter(|uid| self.has_left(uid)).cloned().collect();
        let add = self.added(&forget, now);
        if add.is_empty() && forget.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for uid in &forget {
            batch.statics.push((uid.clone(), Change::Remove));
            batch.memories.push((uid.clone(), Change::Remove));
        }
        for record in &add {
            batch.statics.push((record.assignment.uid.clone(), Change::Put(record.clone())));
        }
        let write: WriteTicket = self.next_write();
        self.desk.outputs.push_back(Output::Write { ticket: write, batch: Box::new(batch) });
        self.committing = Some(Committing { write, work: Work::Statics(StaticsPlan { add, forget }) });
    }

    /// Acts on static pods that are durable, or forgets about those that are not.
    pub(super) fn end_statics(&mut self, plan: StaticsPlan, result: Result<(), String>, now: Now) {
        if let Err(error) = result {
            self.desk.notice(super::Notice::NotRemembered(error));
            self.statics.state = State::Failed(now.mono.plus_millis(RETRY_MS));
            for record in plan.add {
                if let Some(slot) = record.slot {
                    self.addresses.release(PodSlot(slot));
                }
            }
            return;
        }
        for uid in plan.forget {
            self.statics.leaving.remove(&uid);
            let pod = self.forget(&uid);
            self.desk.outputs.push_back(Output::Forgotten { uid, pod });
        }
        let added: Vec<_> = plan.add.iter().map(|record| name_of(&record.assignment)).collect();
        self.state_statics_with(added);
        for record in plan.add {
            let uid = record.assignment.uid.clone();
            self.admit_record(record, Origin::Static, now);
            // The manifest may have gone while it was written.
            if !self.statics.wanted.contains_key(&uid) {
                self.dismiss(uid, now);
            }
        }
        self.count_pods();
        self.sweep();
        // A place that became free may be waited for.
        self.statics.state = State::Changed;
    }

    /// States which static pods there are.
    pub(super) fn state_statics(&mut self) {
        self.state_statics_with(Vec::new());
    }

    /// The same with some that are about to be: they are named before they report.
    fn state_statics_with(&mut self, added: Vec<StaticPodName>) {
        let present = self.pods.values().filter(|entry| entry.is_static());
        let present = present.map(|entry| name_of(entry.pod.assignment()));
        let mut pods: Vec<_> = present.chain(added).filter(StaticPodName::is_tellable).collect();
        pods.sort();
        self.desk.outputs.push_back(Output::StaticPods(pods));
    }

    /// Stops a static pod; it is forgotten when nothing of it runs.
    fn dismiss(&mut self, uid: PodUid, now: Now) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.assignment();
        let tombstone = Tombstone {
            uid: uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            grace_seconds: pod.spec.termination_grace_seconds,
            requested_at: UnixMillis(now.wall.0),
        };
        if self.statics.leaving.insert(uid.clone()) {
            self.with_pod(&uid, now, |pod, now| pod.handle_tombstone(&tombstone, now));
        }
    }

    fn has_left(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_none_or(|entry| entry.pod.is_over())
    }

    /// Records of static pods that can begin: their name is free.
    fn added(&mut self, forget: &[PodUid], now: Now) -> Vec<PodRecord> {
        let name = |pod: &PodAssignment| (pod.namespace.clone(), pod.name.clone());
        let present = self.pods.values().filter(|entry| entry.origin == Origin::Static);
        let present = present.filter(|entry| !forget.contains(entry.pod.uid()));
        let mut taken: BTreeSet<_> = present.map(|entry| name(entry.pod.assignment())).collect();
        let wanted = mem::take(&mut self.statics.wanted);
        let mut usage = self.usage(forget);
        let mut records = Vec::new();
        for (uid, pod) in &wanted {
            if !self.pods.contains_key(uid) && taken.insert(name(pod)) {
                records.push(self.new_record(None, pod.clone(), &mut usage, now));
            }
        }
        self.statics.wanted = wanted;
        records
    }
}

impl Entry {
    /// Who wants the pod.
    pub(super) fn is_static(&self) -> bool {
        self.origin == Origin::Static
    }

    /// Whether the coordinator hears how the pod fares.
    pub(super) fn is_told(&self) -> bool {
        !self.is_static() || name_of(self.pod.assignment()).is_tellable()
    }
}

fn name_of(pod: &PodAssignment) -> StaticPodName {
    StaticPodName { uid: pod.uid.clone(), namespace: pod.namespace.clone(), name: pod.name.clone() }
}

/// Where a pod comes from, and the mark of its content; the kubelet's words.
const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// As long as the kubelet's uids of static pods.
const UID_HEX: usize = 32;

/// How long a failed write is left alone: a full disk may clear.
const RETRY_MS: u64 = 10_000;
