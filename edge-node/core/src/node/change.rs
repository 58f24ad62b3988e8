//! A change of the node's set: planned against what is there, made durable in one batch, then acted on.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Refusal, Tombstone},
    held::HeldSet,
    pod::PodAssignment,
    sealed::Content,
    session::node::Applied,
    status::{PodPhase, PodStatusReport},
};

use super::{
    AppliedRecord, Batch, Change, ChangeError, ChangeTicket, Entry, NodeCore, Notice, Output, PodRecord,
    WriteTicket, statics::StaticsPlan,
};
use crate::{address::PodSlot, admission::Usage, clock::Now, reasons};

/// A change on its way to disk.
#[derive(Debug)]
pub(super) struct Committing {
    pub(super) write: WriteTicket,
    pub(super) work: Work,
}

/// What is acted on once it is durable.
#[derive(Debug)]
pub(super) enum Work {
    /// A change of the coordinator.
    Change(ChangeTicket, Box<Plan>),
    /// Static pods that come or go.
    Statics(StaticsPlan),
}

/// What becomes of the node's set once a change is durable.
#[derive(Debug)]
pub(super) struct Plan {
    applied: Applied,
    pub(super) held: HeldSet,
    pub(super) pods: Vec<PodRecord>,
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) forget: Vec<PodUid>,
    /// Buried pods that the restored cluster declares.
    pub(super) raised: Vec<PodUid>,
    /// Pods that a snapshot leaves without a word.
    pub(super) left_held: Vec<PodUid>,
    pub(super) objects: Vec<(Digest, Content)>,
    /// Content that no pod names any more.
    pub(super) unnamed: Vec<Digest>,
    refusals: Vec<Refusal>,
}

impl Committing {
    pub(super) fn forgets(&self, uid: &PodUid) -> bool {
        match &self.work {
            Work::Change(_, plan) => plan.forget.contains(uid),
            Work::Statics(plan) => plan.forget.contains(uid),
        }
    }
}

impl NodeCore {
    /// Plans a change and writes it; another one under way is waited for. Answered by [`Output::Committed`].
    pub fn handle_change(&mut self, ticket: ChangeTicket, change: AssignmentChange, now: Now) {
        if self.committing.is_none() {
            self.begin_commit(ticket, change, now);
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((ticket, change));
        } else {
            self.answer(ticket, Err(ChangeError::TooMany));
        }
    }

    fn begin_commit(&mut self, ticket: ChangeTicket, change: AssignmentChange, now: Now) {
        match self.plan(change, now) {
            Ok(Some(plan)) => {
                let batch = Box::new(self.batch(&plan));
                let write = self.next_write();
                self.desk.outputs.push_back(Output::Write { ticket: write, batch });
                self.committing = Some(Committing { write, work: Work::Change(ticket, Box::new(plan)) });
            }
            Ok(None) => self.answer(ticket, Ok(Vec::new())),
            Err(error) => self.answer(ticket, Err(error)),
        }
    }

    /// Acts on a change that is durable, or forgets about one that is not.
    pub(super) fn end_commit(&mut self, result: Result<(), String>, now: Now) {
        let Some(Committing { work, .. }) = self.committing.take() else { return };
        match (work, result) {
            (Work::Change(ticket, plan), Ok(())) => {
                let is_restored = plan.applied.restore_generation > self.applied.restore_generation;
                self.applied = plan.applied;
                let refusals = plan.refusals.clone();
                self.apply(*plan, now);
                if is_restored {
                    self.report_all(now);
                }
                self.answer(ticket, Ok(refusals));
            }
            (Work::Change(ticket, plan), Err(error)) => {
                self.stop_unburied(&plan.tombstones, now);
                self.abandon(*plan, now);
                self.answer(ticket, Err(ChangeError::NotWritten(error)));
            }
            (Work::Statics(plan), result) => self.end_statics(plan, result, now),
        }
        while self.committing.is_none()
            && let Some((ticket, change)) = self.waiting.pop_front()
        {
            self.begin_commit(ticket, change, now);
        }
    }

    fn abandon(&mut self, plan: Plan, now: Now) {
        for record in plan.pods {
            if !self.pods.contains_key(&record.assignment.uid)
                && let Some(slot) = record.slot
            {
                self.addresses.release(PodSlot(slot));
            }
        }
        for uid in plan.forget {
            // What it has to remember was held back.
            self.with_pod(&uid, now, |_, _| ());
        }
    }

    fn answer(&mut self, ticket: ChangeTicket, result: Result<Vec<Refusal>, ChangeError>) {
        self.desk.outputs.push_back(Output::Committed { ticket, result });
    }

    /// What becomes of the set; `None` when it would not be the one that the coordinator means, which leaves everything as it is.
    fn plan(&mut self, change: AssignmentChange, now: Now) -> Result<Option<Plan>, ChangeError> {
        let mut held = self.held.clone();
        if let Some(base) = change.base
            && base != held.revision
        {
            return Err(ChangeError::WrongBase { base, held: held.revision });
        }
        // A restored cluster goes on from an older state; the session has proof of its generation.
        let order = (change.restore_generation, change.revision);
        if order < (self.applied.restore_generation, held.revision) {
            return Err(ChangeError::Older { offered: change.revision, held: held.revision });
        }
        let left_held = held.apply(&change);
        if held.digest() != change.state_digest {
            self.desk.notice(Notice::OtherSet { base: change.base, revision: change.revision });
            return Ok(None);
        }
        if change.base.is_some()
            && let Some(id) = self.missing_content(&change)
        {
            self.desk.notice(Notice::MissingContent(id));
            return Ok(None);
        }
        let forget = self.forgotten_by(&change, &held);
        let raised = self.raised_by(&change, &held);
        let buried: BTreeSet<_> = change.tombstones.iter().map(|tombstone| &tombstone.uid).collect();
        let mut usage = self.usage(&forget);
        let mut pods = Vec::with_capacity(change.upserts.len());
        let mut refusals = Vec::new();
        for (revision, assignment) in change.upserts {
            let uid = &assignment.uid;
            let dead = buried.contains(uid) || self.tombstones.contains_key(uid) && !raised.contains(uid);
            if dead && !self.pods.contains_key(&assignment.uid) {
                continue;
            }
            let record = self.record(revision, assignment, &mut usage, now);
            refusals.extend(record.refusal.as_ref().map(|(reason, message)| Refusal {
                uid: record.assignment.uid.clone(),
                reason: reason.clone(),
                message: message.clone(),
            }));
            pods.push(record);
        }
        let objects = change.objects;
        let unnamed = self.unnamed(&pods, &forget, &objects);
        let applied = Applied {
            revision: change.revision,
            restore_generation: change.restore_generation,
            state_digest: change.state_digest,
            protocol: match change.base {
                // What was held before goes on as it was told.
                Some(_) => change.protocol.min(self.applied.protocol),
                None => change.protocol,
            },
        };
        let tombstones = change.tombstones;
        Ok(Some(Plan {
            applied,
            held,
            pods,
            tombstones,
            forget,
            raised,
            left_held,
            objects,
            unnamed,
            refusals,
        }))
    }

    /// Pods to drop all memory of. A tombstone that a snapshot does not repeat has done its work.
    fn forgotten_by(&self, change: &AssignmentChange, held: &HeldSet) -> Vec<PodUid> {
        let mut forget = change.forget.clone();
        if change.base.is_none() {
            let named: BTreeSet<_> = change.upserts.iter().map(|(_, assignment)| &assignment.uid).collect();
            let done = self
                .tombstones
                .keys()
                .filter(|uid| !held.tombstones.contains_key(*uid) && !named.contains(uid));
            let done: Vec<_> = done.filter(|uid| !forget.contains(uid)).cloned().collect();
            forget.extend(done);
        }
        forget
    }

    /// Pods to live again: a tombstone from before a restore is void for what the restored cluster declares.
    fn raised_by(&self, change: &AssignmentChange, held: &HeldSet) -> Vec<PodUid> {
        if change.restore_generation <= self.applied.restore_generation {
            return Vec::new();
        }
        self.tombstones.keys().filter(|uid| held.pods.contains_key(*uid)).cloned().collect()
    }

    /// The record of a new or changed pod. A new one is admitted or refused, and has its address from here on.
    fn record(
        &mut self,
        revision: Revision,
        assignment: PodAssignment,
        usage: &mut Usage,
        now: Now,
    ) -> PodRecord {
        if let Some(entry) = self.pods.get(&assignment.uid) {
            return PodRecord { revision: Some(revision), assignment, ..entry.record() };
        }
        self.new_record(Some(revision), assignment, usage, now)
    }

    /// The record of a new pod, which is admitted or refused.
    pub(super) fn new_record(
        &mut self,
        revision: Option<Revision>,
        assignment: PodAssignment,
        usage: &mut Usage,
        now: Now,
    ) -> PodRecord {
        let node = &self.desk.node;
        let verdict = usage.admit(&assignment, &node.facts, &node.sysctls);
        let machine = if revision.is_some() { self.refused_by_machine(&assignment, now) } else { None };
        let mut refusal = verdict.err().or(machine).map(|refusal| (refusal.reason, refusal.message));
        let mut slot = None;
        if refusal.is_none() && !assignment.spec.host_network {
            slot = self.addresses.take();
            if slot.is_none() {
                let message = "all addresses of this node's blocks are taken".to_owned();
                refusal = Some((reasons::OUT_OF_ADDRESSES.to_owned(), message));
            }
        }
        if refusal.is_none() {
            usage.add(&assignment);
        }
        let slot = slot.map(|slot| slot.0);
        PodRecord { revision, assignment, slot, start_time: now.wall, refusal }
    }

    /// What pods use that are not over, without those about to be forgotten.
    pub(super) fn usage(&self, forget: &[PodUid]) -> Usage {
        let mut usage = Usage::default();
        let using =
            self.pods.values().filter(|entry| !entry.pod.is_over() && !forget.contains(entry.pod.uid()));
        using.for_each(|entry| usage.add(entry.pod.assignment()));
        usage
    }

    /// Content that a change's pods name and that is neither here nor brought along.
    fn missing_content(&self, change: &AssignmentChange) -> Option<Digest> {
        let brought: BTreeSet<_> = change.objects.iter().map(|(id, _)| id).collect();
        let pods = change.upserts.iter().map(|(_, pod)| pod);
        let mut named = pods.flat_map(|pod| pod.config.iter().filter_map(|entry| entry.digest));
        named.find(|id| !self.desk.objects.holds(id) && !brought.contains(id))
    }

    /// Stored content that no pod will name.
    fn unnamed(&self, changed: &[PodRecord], forget: &[PodUid], new: &[(Digest, Content)]) -> Vec<Digest> {
        let objects = &self.desk.objects;
        if objects.is_empty() && new.is_empty() {
            return Vec::new();
        }
        let changed: BTreeMap<_, _> =
            changed.iter().map(|record| (&record.assignment.uid, &record.assignment)).collect();
        let kept = self.pods.iter().filter(|(uid, _)| !changed.contains_key(uid) && !forget.contains(uid));
        let assignments = kept.map(|(_, entry)| &**entry.pod.assignment()).chain(changed.values().copied());
        let named: BTreeSet<_> = assignments
            .flat_map(|assignment| assignment.config.iter().filter_map(|entry| entry.digest))
            .collect();
        let all = objects.ids().chain(new.iter().map(|(digest, _)| digest));
        all.filter(|digest| !named.contains(digest)).copied().collect()
    }

    fn batch(&self, plan: &Plan) -> Batch {
        let Applied { revision, restore_generation, protocol, .. } = plan.applied;
        let applied = Some(AppliedRecord { revision, restore_generation });
        let protocol = (protocol != self.applied.protocol).then_some(protocol);
        let mut batch = Batch { applied, protocol, ..Batch::default() };
        for record in &plan.pods {
            batch.pods.push((record.assignment.uid.clone(), Change::Put(record.clone())));
        }
        for uid in &plan.left_held {
            if let Some(entry) = self.pods.get(uid) {
                let held = PodRecord { revision: None, ..entry.record() };
                batch.pods.push((uid.clone(), Change::Put(held)));
            }
        }
        for tombstone in &plan.tombstones {
            batch.tombstones.push((tombstone.uid.clone(), Change::Put(tombstone.clone())));
        }
        batch.tombstones.extend(plan.raised.iter().map(|uid| (uid.clone(), Change::Remove)));
        for (digest, object) in &plan.objects {
            batch.objects.push((*digest, Change::Put(object.clone())));
        }
        batch.objects.extend(plan.unnamed.iter().map(|digest| (*digest, Change::Remove)));
        for uid in &plan.forget {
            batch.pods.push((uid.clone(), Change::Remove));
            batch.memories.push((uid.clone(), Change::Remove));
            batch.tombstones.push((uid.clone(), Change::Remove));
            batch.tokens.push((uid.clone(), Change::Remove));
        }
        batch
    }
}

impl Entry {
    /// The pod's record as it is.
    fn record(&self) -> PodRecord {
        let place = self.pod.place();
        PodRecord {
            revision: self.revision,
            assignment: self.pod.assignment().as_ref().clone(),
            slot: place.address.slot.map(|slot| slot.0),
            start_time: place.start_time,
            refusal: self.refusal.clone(),
        }
    }
}

/// The report of a buried pod that never was here, or is here no more. `sequence` is the last one used.
pub fn stopped_report(tombstone: &Tombstone, sequence: u64) -> PodStatusReport {
    PodStatusReport {
        uid: tombstone.uid.clone(),
        namespace: tombstone.namespace.clone(),
        name: tombstone.name.clone(),
        sequence: sequence + 1,
        observed_generation: 0,
        phase: PodPhase::Failed,
        reason: String::new(),
        message: String::new(),
        conditions: Vec::new(),
        host_ip: String::new(),
        pod_ip: String::new(),
        start_time: None,
        init_containers: Vec::new(),
        containers: Vec::new(),
        stopped: true,
        local_endpoints: Vec::new(),
    }
}

/// Changes that may wait: a session sends one at a time, and a new session waits for the commit of the last.
const WAITING_MAX: usize = 16;
