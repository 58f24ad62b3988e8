//! A change of the node's set: planned against what is there, made durable in one transaction, then acted on.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

use dunlin_edge_node_core::{
    address::{PodAddress, PodSlot},
    admission::Usage,
    clock::Now,
    memory::PodMemory,
    pod::{Place, Pod, Sandboxed},
    reasons,
    sandbox::Request,
};
use dunlin_link::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Refusal, Tombstone},
    health::HeldPods,
    held::HeldSet,
    pod::{ConfigObject, PodAssignment},
    status::{EventPod, NodeEvent, PodPhase, PodStatusReport},
};
use futures_util::FutureExt;

use super::{Agent, CommitReply, Committing, Entry, Knowledge, Written};
use crate::{
    local::{AppliedRecord, Batch, Change, PodRecord},
    modules::IDLE_BYTES_MAX,
    session::Applied,
};

/// What becomes of the node's set once a change is durable.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of the coordinator that `revision` comes from.
    restore_generation: u64,
    revision: Revision,
    held: HeldSet,
    /// Of `held`.
    state_digest: Digest,
    pods: Vec<PodRecord>,
    tombstones: Vec<Tombstone>,
    forget: Vec<PodUid>,
    /// Pods that a snapshot leaves without a word.
    left_held: Vec<PodUid>,
    objects: Vec<(Digest, Arc<ConfigObject>)>,
    /// Content that no pod names any more.
    unnamed: Vec<Digest>,
    refusals: Vec<Refusal>,
}

impl Agent {
    /// Plans a change and starts its commit; another one under way is waited for.
    pub(super) fn begin_commit(&mut self, change: AssignmentChange, reply: CommitReply) {
        if self.committing == Committing::Busy {
            self.waiting.push_back((change, reply));
            return;
        }
        match self.plan(change) {
            Ok(Some(plan)) => {
                let batch = self.batch(&plan);
                let write = self.local.write(batch);
                self.committing = Committing::Busy;
                let written = |result| Written::Commit { plan: Box::new(plan), reply, result };
                self.writes.push(write.map(written).boxed());
            }
            Ok(None) => {
                // The session compares digests: it sees that nothing was applied, and asks for a snapshot.
                let _ = reply.send(Ok(Vec::new()));
            }
            Err(error) => {
                // The session may have ended meanwhile; its next one learns the revision anew.
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Acts on a change that is durable, or forgets about one that is not.
    pub(super) fn end_commit(&mut self, plan: Plan, reply: CommitReply, result: io::Result<()>) {
        if let Err(error) = result {
            for record in &plan.pods {
                self.release_unless_known(record);
            }
            // As above: the session has noticed by itself.
            let _ = reply.send(Err(error));
            return;
        }
        let refusals = plan.refusals.clone();
        self.shared.set_applied(Applied {
            revision: plan.revision,
            restore_generation: plan.restore_generation,
            state_digest: plan.state_digest,
        });
        self.apply(plan);
        // As above.
        let _ = reply.send(Ok(refusals));
    }

    /// What becomes of the set; `None` when it would not be the one that the coordinator means, which leaves everything as it is.
    fn plan(&mut self, change: AssignmentChange) -> io::Result<Option<Plan>> {
        let mut held = self.held.clone();
        if let Some(base) = change.base
            && base != held.revision
        {
            let message =
                format!("a change from revision {base} does not apply to revision {}", held.revision);
            return Err(io::Error::other(message));
        }
        // A restored cluster goes on from an older state, which the session has proof of.
        let is_restored = change.restore_generation > self.shared.applied().restore_generation;
        if change.revision < held.revision && !is_restored {
            let message = format!("revision {} is older than revision {}", change.revision, held.revision);
            return Err(io::Error::other(message));
        }
        let left_held = held.apply(&change);
        let mut forget = change.forget;
        if change.base.is_none() {
            // A tombstone that a snapshot does not repeat has done its work.
            let named: HashSet<_> = change.upserts.iter().map(|(_, assignment)| &assignment.uid).collect();
            let done = self
                .tombstones
                .keys()
                .filter(|uid| !held.tombstones.contains_key(*uid) && !named.contains(uid));
            let done: Vec<_> = done.filter(|uid| !forget.contains(uid)).cloned().collect();
            forget.extend(done);
        }
        if held.digest() != change.state_digest {
            let (base, revision) = (change.base.map(|base| base.0), change.revision.0);
            tracing::warn!(base, revision, "a change leads to another set than the coordinator means");
            return Ok(None);
        }
        let now = self.clock.now();
        let buried: HashSet<_> = change.tombstones.iter().map(|tombstone| &tombstone.uid).collect();
        let mut usage = self.usage(&forget);
        let mut pods = Vec::with_capacity(change.upserts.len());
        let mut refusals = Vec::new();
        for (revision, assignment) in change.upserts {
            let dead = buried.contains(&assignment.uid) || self.tombstones.contains_key(&assignment.uid);
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
        let objects: Vec<_> =
            change.objects.into_iter().map(|(digest, object)| (digest, Arc::new(object))).collect();
        let unnamed = self.unnamed(&pods, &forget, &objects);
        Ok(Some(Plan {
            restore_generation: change.restore_generation,
            revision: change.revision,
            held,
            state_digest: change.state_digest,
            pods,
            tombstones: change.tombstones,
            forget,
            left_held,
            objects,
            unnamed,
            refusals,
        }))
    }

    /// The record of a new or changed pod. A new one is admitted or refused, and has its address from here on.
    fn record(
        &mut self,
        revision: Revision,
        assignment: PodAssignment,
        usage: &mut Usage,
        now: Now,
    ) -> PodRecord {
        let revision = Some(revision);
        if let Some(entry) = self.pods.get(&assignment.uid) {
            let place = entry.pod.place();
            return PodRecord {
                revision,
                assignment,
                slot: place.address.slot.map(|slot| slot.0),
                start_time: place.start_time,
                refusal: entry.refusal.clone(),
            };
        }
        let verdict = usage.admit(&assignment, &self.node.facts.allocatable);
        let mut refusal = verdict.err().map(|refusal| (refusal.reason, refusal.message));
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
        PodRecord { revision, assignment, slot: slot.map(|slot| slot.0), start_time: now.wall, refusal }
    }

    /// What pods use that are not over, without those about to be forgotten.
    fn usage(&self, forget: &[PodUid]) -> Usage {
        let mut usage = Usage::default();
        let using =
            self.pods.values().filter(|entry| !entry.pod.is_over() && !forget.contains(entry.pod.uid()));
        using.for_each(|entry| usage.add(entry.pod.assignment()));
        usage
    }

    /// Stored content that no pod will name.
    fn unnamed(
        &self,
        changed: &[PodRecord],
        forget: &[PodUid],
        new: &[(Digest, Arc<ConfigObject>)],
    ) -> Vec<Digest> {
        if self.objects.is_empty() && new.is_empty() {
            return Vec::new();
        }
        let changed: HashMap<_, _> =
            changed.iter().map(|record| (&record.assignment.uid, &record.assignment)).collect();
        let kept = self.pods.iter().filter(|(uid, _)| !changed.contains_key(uid) && !forget.contains(uid));
        let assignments = kept.map(|(_, entry)| &**entry.pod.assignment()).chain(changed.values().copied());
        let named: HashSet<_> = assignments
            .flat_map(|assignment| assignment.config.iter().filter_map(|entry| entry.digest))
            .collect();
        let all = self.objects.keys().chain(new.iter().map(|(digest, _)| digest));
        all.filter(|digest| !named.contains(digest)).copied().collect()
    }

    fn batch(&self, plan: &Plan) -> Batch {
        let mut batch = Batch {
            applied: Some(AppliedRecord {
                revision: plan.revision,
                restore_generation: plan.restore_generation,
            }),
            ..Batch::default()
        };
        for record in &plan.pods {
            batch.pods.push((record.assignment.uid.clone(), Change::Put(record.clone())));
        }
        for uid in &plan.left_held {
            if let Some(entry) = self.pods.get(uid) {
                batch.pods.push((uid.clone(), Change::Put(entry.held_record())));
            }
        }
        for tombstone in &plan.tombstones {
            batch.tombstones.push((tombstone.uid.clone(), Change::Put(tombstone.clone())));
        }
        for (digest, object) in &plan.objects {
            batch.objects.push((*digest, Change::Put(Arc::clone(object))));
        }
        batch.objects.extend(plan.unnamed.iter().map(|digest| (*digest, Change::Remove)));
        for uid in &plan.forget {
            batch.pods.push((uid.clone(), Change::Remove));
            batch.memories.push((uid.clone(), Change::Remove));
            batch.tombstones.push((uid.clone(), Change::Remove));
        }
        batch
    }

    fn apply(&mut self, plan: Plan) {
        self.held = plan.held;
        self.objects.extend(plan.objects);
        for digest in &plan.unnamed {
            self.objects.remove(digest);
        }
        let now = self.clock.now();
        for record in plan.pods {
            self.apply_record(record, now);
        }
        for uid in plan.left_held {
            self.hold(&uid);
        }
        for tombstone in plan.tombstones {
            self.bury(tombstone);
        }
        let forgotten: Vec<_> = plan.forget.iter().filter_map(|uid| self.forget(uid)).collect();
        self.logs.remove(&forgotten);
        self.count_pods();
        if !plan.forget.is_empty() {
            let named = self.pods.values().flat_map(|entry| {
                let spec = &entry.pod.assignment().spec;
                spec.init_containers
                    .iter()
                    .chain(&spec.containers)
                    .filter_map(|container| container.image.digest)
            });
            self.modules.sweep(&named.collect(), IDLE_BYTES_MAX);
        }
    }

    /// Tells the node's health how many pods there are, by what keeps them.
    pub(super) fn count_pods(&self) {
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let buried = self.pods.keys().filter(|uid| self.tombstones.contains_key(*uid)).count();
        let held = self.pods.values().filter(|entry| entry.revision.is_none()).count();
        self.shared.set_pods(HeldPods {
            assigned: count(self.pods.len() - held),
            fixed: 0,
            held: count(held),
            buried: count(buried),
        });
    }

    fn apply_record(&mut self, record: PodRecord, now: Now) {
        let uid = record.assignment.uid.clone();
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.revision = record.revision;
            let assignment = Arc::new(record.assignment);
            self.with_pod(&uid, |pod, now| pod.handle_assignment(assignment, now));
            return;
        }
        let entry = self.entry(record, PodMemory::default(), now);
        self.pods.insert(uid.clone(), entry);
        for (id, owner, state) in self.sandbox.orphans.remove(&uid).unwrap_or_default() {
            self.with_pod(&uid, |pod, now| pod.handle_container(&id, &owner, state, now));
        }
        if self.sandbox.knowledge == Knowledge::Synced {
            self.with_pod(&uid, Pod::handle_synced);
        }
    }

    /// The machine of a recorded pod.
    pub(super) fn entry(&self, record: PodRecord, memory: PodMemory, now: Now) -> Entry {
        let PodRecord { revision, assignment, slot, start_time, refusal } = record;
        let place = Place {
            host_ip: Arc::clone(&self.node.host_ip),
            address: PodAddress { slot: slot.map(PodSlot), loopback: self.node.loopback },
            start_time,
            incarnation: self.node.starts,
        };
        // Sequences of a later start are above all of an earlier one, without a write for each report.
        let sequence = self.node.starts << 32;
        let assignment = Arc::new(assignment);
        let pod = match &refusal {
            None => Pod::new(assignment, place, memory, sequence, now),
            Some((reason, message)) => {
                let uid = assignment.uid.clone();
                let refused = Refusal { uid, reason: reason.clone(), message: message.clone() };
                Pod::refused(assignment, place, &refused, sequence, now)
            }
        };
        Entry { pod, revision, refusal, wakes_at: None }
    }

    fn hold(&mut self, uid: &PodUid) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        entry.revision = None;
        let assignment = entry.pod.assignment();
        tracing::warn!(pod = %uid, "the coordinator neither names nor buries a pod; it is held");
        let pod = EventPod {
            uid: uid.clone(),
            namespace: assignment.namespace.clone(),
            name: assignment.name.clone(),
            container: String::new(),
        };
        self.session.event(NodeEvent {
            pod: Some(pod),
            warning: true,
            reason: reasons::POD_HELD.to_owned(),
            message:
                "The coordinator does not know this pod any more and has not deleted it; it goes on running"
                    .to_owned(),
            at: self.clock.now().wall,
        });
    }

    fn bury(&mut self, tombstone: Tombstone) {
        let uid = tombstone.uid.clone();
        if self.pods.contains_key(&uid) {
            self.with_pod(&uid, |pod, now| pod.handle_tombstone(&tombstone, now));
        } else {
            self.end_orphans(&uid);
            let report = stopped_report(&tombstone, self.node.starts << 32);
            self.shared.reported(report.clone());
            self.session.report(report);
        }
        self.tombstones.insert(uid, tombstone);
    }

    /// Drops all that is known of a pod; answers what it was, for its logs to go as well.
    fn forget(&mut self, uid: &PodUid) -> Option<Arc<PodAssignment>> {
        self.tombstones.remove(uid);
        self.shared.forget(uid);
        self.end_orphans(uid);
        let entry = self.pods.remove(uid)?;
        for container in entry.pod.sandboxed() {
            match container {
                Sandboxed::Live(id) => self.end_container(id),
                Sandboxed::Ended(id) => self.ask(Request::Remove { id }),
            }
        }
        if let Some(slot) = entry.pod.place().address.slot {
            self.addresses.release(slot);
        }
        Some(Arc::clone(entry.pod.assignment()))
    }

    fn release_unless_known(&mut self, record: &PodRecord) {
        if !self.pods.contains_key(&record.assignment.uid)
            && let Some(slot) = record.slot
        {
            self.addresses.release(PodSlot(slot));
        }
    }
}

impl Entry {
    /// The pod's record once a snapshot has left it out.
    fn held_record(&self) -> PodRecord {
        let place = self.pod.place();
        PodRecord {
            revision: None,
            assignment: self.pod.assignment().as_ref().clone(),
            slot: place.address.slot.map(|slot| slot.0),
            start_time: place.start_time,
            refusal: self.refusal.clone(),
        }
    }
}

/// The report of a buried pod that never was here, or is here no more.
pub(super) fn stopped_report(tombstone: &Tombstone, sequence: u64) -> PodStatusReport {
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
