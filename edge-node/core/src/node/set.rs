//! What a durable change does to the pods, and how a node's set comes up from disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dunlin_link::{
    Digest, PodUid,
    assignment::{Refusal, Tombstone},
    container_support::ContainerSupport,
    health::HeldPods,
    held::HeldSet,
    pod::PodAssignment,
    status::{EventPod, NodeEvent},
};

use super::{
    Entry, Files, Loaded, NodeCore, NodeSelf, Notice, Origin, Output, PodRecord,
    change::{Plan, stopped_report},
    sandbox::Knowledge,
};
use crate::{
    address::{PodAddress, PodSlot},
    clock::Now,
    memory::PodMemory,
    pod::{Place, Pod, Sandboxed},
    reasons,
    sandbox::Request,
};

/// Who needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUser {
    /// The pod, `NAMESPACE/NAME`.
    pub pod: String,
    /// What it calls it.
    pub reference: String,
}

impl NodeCore {
    /// Acts on a change that is durable.
    pub(super) fn apply(&mut self, plan: Plan, now: Now) {
        self.held = plan.held;
        self.desk.objects.extend(plan.objects);
        for digest in &plan.unnamed {
            self.desk.objects.remove(digest);
        }
        for uid in plan.raised {
            self.raise(uid, now);
        }
        for record in plan.pods {
            self.apply_record(record, now);
        }
        for uid in plan.left_held {
            self.hold(&uid, now);
        }
        for tombstone in plan.tombstones {
            self.bury(tombstone, now);
        }
        for uid in &plan.forget {
            let pod = self.forget(uid);
            self.desk.outputs.push_back(Output::Forgotten { uid: uid.clone(), pod });
        }
        self.raise_unburied(now);
        self.count_pods();
        self.tell_room();
        if !plan.forget.is_empty() {
            self.sweep();
        }
    }

    /// Tombstones outlive the agent: what they name goes on stopping, or is reported as stopped again.
    pub(super) fn stop_buried(&mut self, now: Now) {
        for tombstone in self.tombstones.values() {
            if let Some(entry) = self.pods.get_mut(&tombstone.uid) {
                entry.pod.handle_tombstone(tombstone, now);
            }
        }
        self.report_absent();
    }

    /// Stops pods whose tombstones could not be written: the disk that refuses them may be full of what these pods write. That is not
    /// reported before they are durable, because a crash until then would bring the pods back.
    pub(super) fn stop_unburied(&mut self, tombstones: &[Tombstone], now: Now) {
        for tombstone in tombstones {
            let uid = &tombstone.uid;
            if !self.tombstones.contains_key(uid) && self.pods.contains_key(uid) {
                self.desk.unburied.insert(uid.clone());
                self.with_pod(uid, now, |pod, now| pod.handle_tombstone(tombstone, now));
            }
        }
    }

    /// Lets pods live that a change left without the tombstone for which they were stopped, as a restored cluster may.
    fn raise_unburied(&mut self, now: Now) {
        let unburied = std::mem::take(&mut self.desk.unburied);
        for uid in unburied {
            self.with_pod(&uid, now, Pod::handle_raised);
        }
    }

    /// Reports everything anew: a restored cluster has not heard what was acknowledged after its backup.
    pub(super) fn report_all(&mut self, now: Now) {
        self.with_all(now, |pod, _| pod.report_again());
        self.report_absent();
    }

    /// Reports what is buried and not here.
    fn report_absent(&mut self) {
        for tombstone in self.tombstones.values().filter(|buried| !self.pods.contains_key(&buried.uid)) {
            let report = stopped_report(tombstone, self.desk.node.sequence());
            self.desk.outputs.push_back(Output::Report(Box::new(report)));
        }
    }

    /// Lets a buried pod live again. One that is not here any more starts as a new one, which nothing said of it before may follow.
    fn raise(&mut self, uid: PodUid, now: Now) {
        self.tombstones.remove(&uid);
        if self.pods.contains_key(&uid) {
            self.with_pod(&uid, now, Pod::handle_raised);
        } else {
            self.desk.outputs.push_back(Output::Forgotten { uid, pod: None });
        }
    }

    /// Tells how many pods there are, by what keeps them.
    pub(super) fn count_pods(&mut self) {
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let buried = self.pods.keys().filter(|uid| self.tombstones.contains_key(*uid)).count();
        let fixed = self.pods.values().filter(|entry| entry.is_static()).count();
        let held = self.pods.values().filter(|entry| entry.is_held()).count();
        self.desk.outputs.push_back(Output::Pods(HeldPods {
            assigned: count(self.pods.len() - held - fixed),
            fixed: count(fixed),
            held: count(held),
            buried: count(buried),
        }));
    }

    fn apply_record(&mut self, record: PodRecord, now: Now) {
        let uid = record.assignment.uid.clone();
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.revision = record.revision;
            let assignment = Arc::new(record.assignment);
            self.with_pod(&uid, now, |pod, now| pod.handle_assignment(assignment, now));
            self.project_anew(&uid);
            return;
        }
        self.admit_record(record, Origin::Assigned, now);
    }

    /// A recorded pod that is new here.
    pub(super) fn admit_record(&mut self, record: PodRecord, origin: Origin, now: Now) {
        let uid = record.assignment.uid.clone();
        let mut entry = self.desk.node.entry(record, origin, PodMemory::default(), now);
        let is_own = self.desk.own.contains(&uid);
        if is_own {
            entry.pod.handle_inherited_sandbox();
        }
        self.pods.insert(uid.clone(), entry);
        self.take_in_orphans(&uid, now);
        let is_synced = if is_own {
            self.sandbox.synced_own.contains(&uid)
        } else {
            self.sandbox.knowledge == Knowledge::Synced
        };
        if is_synced {
            self.with_pod(&uid, now, Pod::handle_synced);
        }
    }

    fn hold(&mut self, uid: &PodUid, now: Now) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        entry.revision = None;
        let assignment = entry.pod.assignment();
        let pod = EventPod {
            uid: uid.clone(),
            namespace: assignment.namespace.clone(),
            name: assignment.name.clone(),
            container: String::new(),
        };
        self.desk.notice(Notice::Held(uid.clone()));
        self.desk.outputs.push_back(Output::Event(NodeEvent {
            pod: Some(pod),
            warning: true,
            reason: reasons::POD_HELD.to_owned(),
            message:
                "The coordinator does not know this pod any more and has not deleted it; it goes on running"
                    .to_owned(),
            at: now.wall,
        }));
        // Nobody acknowledges it, so that each session begins by naming what is held.
        self.with_pod(uid, now, |pod, _| pod.report_again());
    }

    fn bury(&mut self, tombstone: Tombstone, now: Now) {
        let uid = tombstone.uid.clone();
        self.desk.unburied.remove(&uid);
        if self.pods.contains_key(&uid) {
            self.with_pod(&uid, now, |pod, now| pod.handle_tombstone(&tombstone, now));
        } else {
            self.end_orphans(&uid);
            let report = stopped_report(&tombstone, self.desk.node.sequence());
            self.desk.outputs.push_back(Output::Report(Box::new(report)));
        }
        self.tombstones.insert(uid, tombstone);
    }

    /// Drops all that is known of a pod; answers what it was.
    pub(super) fn forget(&mut self, uid: &PodUid) -> Option<Arc<PodAssignment>> {
        self.tombstones.remove(uid);
        self.desk.unburied.remove(uid);
        self.desk.tokens.forget(uid);
        self.end_orphans(uid);
        let entry = self.pods.remove(uid)?;
        for container in entry.pod.sandboxed() {
            match container {
                Sandboxed::Live(id) => self.end_container(uid, id),
                Sandboxed::Ended(id) => self.desk.ask(uid, Request::Remove { id }),
            }
        }
        self.close_own(uid);
        if let Some(slot) = entry.pod.place().address.slot {
            self.addresses.release(slot);
        }
        Some(Arc::clone(entry.pod.assignment()))
    }

    pub(super) fn sweep(&mut self) {
        let named = self.named_modules();
        self.desk.outputs.push_back(Output::Sweep(named));
    }

    /// The pods that name or run each image, by the digests of [`Self::named_modules`].
    pub fn users_of_images(&self) -> BTreeMap<Digest, Vec<ImageUser>> {
        let mut users: BTreeMap<Digest, Vec<ImageUser>> = BTreeMap::new();
        for entry in self.pods.values() {
            let assignment = entry.pod.assignment();
            let pod = format!("{}/{}", assignment.namespace, assignment.name);
            for image in entry.pod.modules().collect::<BTreeSet<_>>() {
                let user = |reference: &str| ImageUser { pod: pod.clone(), reference: reference.to_owned() };
                users.entry(image).or_default().extend(entry.pod.references_of(image).map(user));
            }
        }
        users
    }

    /// The modules that pods name or run; those of other registries by their images.
    pub fn named_modules(&self) -> BTreeSet<Digest> {
        self.pods.values().flat_map(|entry| entry.pod.modules()).collect()
    }
}

impl NodeSelf {
    /// The machine of a recorded pod.
    pub(super) fn entry(&self, record: PodRecord, origin: Origin, memory: PodMemory, now: Now) -> Entry {
        let PodRecord { revision, assignment, slot, start_time, refusal } = record;
        let place = Place {
            host_ip: Arc::clone(&self.host_ip),
            address: PodAddress { slot: slot.map(PodSlot), loopback: self.loopback, own: None },
            start_time,
            incarnation: self.starts,
        };
        let assignment = Arc::new(assignment);
        let pod = match &refusal {
            None => Pod::new(assignment, place, memory, self.sequence(), now),
            Some((reason, message)) => {
                let uid = assignment.uid.clone();
                let refused = Refusal { uid, reason: reason.clone(), message: message.clone() };
                Pod::refused(assignment, place, &refused, self.sequence(), now)
            }
        };
        Entry { pod, origin, revision, refusal, wakes_at: None, files: Files::Kept }
    }

    pub(super) fn mounts_read_only_recursively(&self) -> bool {
        let support = self.facts.containers.as_deref();
        matches!(support, Some(ContainerSupport::Runs { recursive_read_only: true, .. }))
    }

    /// Where this start's sequences begin: above all of an earlier start, without a write for each report.
    fn sequence(&self) -> u64 {
        self.starts << 32
    }
}

/// The set that the coordinator knows of: pods with a revision and without a tombstone, and the tombstones.
pub(super) fn held_set(loaded: &Loaded) -> HeldSet {
    let pods = loaded.pods.iter().filter(|(uid, _)| !loaded.tombstones.contains_key(*uid));
    HeldSet {
        revision: loaded.applied.revision,
        pods: pods.filter_map(|(uid, record)| Some((uid.clone(), record.revision?))).collect(),
        tombstones: loaded
            .tombstones
            .iter()
            .map(|(uid, buried)| (uid.clone(), buried.grace_seconds))
            .collect(),
    }
}
