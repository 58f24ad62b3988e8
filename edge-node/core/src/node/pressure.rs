//! What the node does when its machine runs short: it says so, takes fewer pods, and ends one after the other, in the kubelet's order.

mod disk;
mod events;
mod victim;

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use dunlin_link::{
    Bytes, Digest, PodUid,
    assignment::Refusal,
    limits::{NODE_IMAGE_NAME_BYTES_MAX, NODE_IMAGE_NAMES_MAX, NODE_IMAGES_MAX},
    node_state::{NodeImage, NodeState},
    pod::PodAssignment,
    status::{EventPod, NodeEvent},
    usage::ContainerUsage,
    volumes::{Medium, VolumeSource},
};

use self::events::Held;
use super::{Entry, NodeCore, Output, shutdown::Shutdown};
use crate::{
    clock::Now,
    memory::Failure,
    pressure::{DiskAccess, Pressure, Pressures, Shortage, Signal, Signals, binary},
    reasons,
};

/// What is known of the machine as a whole, and what was told of it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) pressures: Pressures,
    pub(super) shutdown: Option<Shutdown>,
    /// As it was told last; `None` before the first look.
    told: Option<NodeState>,
    images: Vec<(Digest, u64)>,
    /// Evicted pods whose logs go once they have stopped: the disk is short.
    logs_owed: BTreeSet<PodUid>,
    /// What is being acted on, and was said to be.
    relieving: BTreeSet<Signal>,
    /// As it was told last.
    disk_access: DiskAccess,
}

impl Machine {
    pub(super) fn new(pressures: Pressures) -> Self {
        Self {
            pressures,
            shutdown: None,
            told: None,
            images: Vec::new(),
            logs_owed: BTreeSet::new(),
            relieving: BTreeSet::new(),
            disk_access: DiskAccess::Writable,
        }
    }
}

/// What one look at the machine found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// What there is.
    pub signals: Signals,
    /// Memory of containers, where it was asked.
    pub memory: Vec<ContainerUsage>,
    /// Disk that each container's logs take, where it was asked: containers by their names.
    pub logs: Vec<DiskUsage>,
    /// Disk that the files of Linux containers take which they have written themselves, where it was asked: containers by their ids.
    pub layers: Vec<DiskUsage>,
    /// Bytes that each pod's own volumes take, where it was asked.
    pub volumes: Vec<VolumeUsage>,
    /// The modules that are here, with their sizes.
    pub modules: Vec<(Digest, u64)>,
}

/// What a container takes of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskUsage {
    /// Whose.
    pub uid: PodUid,
    /// Its name or its id.
    pub container: String,
    /// How much.
    pub bytes: u64,
}

/// What a volume takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Whose.
    pub uid: PodUid,
    /// Its name.
    pub volume: String,
    /// Of what.
    pub medium: Medium,
    /// How much of it.
    pub bytes: u64,
}

impl NodeCore {
    /// Whether a look should tell what pods use: something is short, or a volume or a container has a bound.
    pub fn wants_usages(&mut self, signals: &Signals, now: Now) -> bool {
        !self.machine.pressures.observe(signals, now.mono).is_empty()
            || self.pods.values().any(|entry| {
                entry.pod.is_active() && (bounds(entry).next().is_some() || disk::is_limited(entry))
            })
    }

    /// Takes note of a look at the machine, and acts on what it shows.
    pub fn handle_look(&mut self, look: Look, now: Now) {
        let before = self.machine.pressures.holding(now.mono);
        let short = self.machine.pressures.observe(&look.signals, now.mono);
        self.machine.images.clone_from(&look.modules);
        if std::mem::replace(&mut self.machine.disk_access, look.signals.disk_access)
            != look.signals.disk_access
        {
            self.desk.tell_of_access(look.signals.disk_access, now);
        }
        for pressure in self.machine.pressures.holding(now.mono) {
            if !before.contains(&pressure) {
                self.desk.tell_of_pressure(pressure, Held::Begins, now);
            }
        }
        self.drop_owed_logs();
        self.hold_volumes_to_their_bounds(&look, now);
        self.hold_pods_to_their_disk(&look, now);
        self.machine.relieving.retain(|signal| short.iter().any(|shortage| shortage.signal == *signal));
        if let Some(shortage) = short.first() {
            self.relieve(shortage, &look, now);
        }
        self.tell_state(now);
    }

    /// Tells the node's state if it is another than before.
    pub(super) fn tell_state(&mut self, now: Now) {
        let holds = |pressure| self.machine.pressures.holds(pressure, now.mono);
        let state = NodeState {
            memory_pressure: holds(Pressure::Memory),
            disk_pressure: holds(Pressure::Disk),
            pid_pressure: holds(Pressure::Pids),
            shutting_down: self.machine.shutdown.is_some(),
            images: self.images(),
        };
        if self.machine.told.as_ref() == Some(&state) {
            return;
        }
        if let Some(told) = self.machine.told.replace(state.clone()) {
            let ended = [
                (Pressure::Memory, told.memory_pressure && !state.memory_pressure),
                (Pressure::Disk, told.disk_pressure && !state.disk_pressure),
                (Pressure::Pids, told.pid_pressure && !state.pid_pressure),
            ];
            for (pressure, _) in ended.into_iter().filter(|(_, has_ended)| *has_ended) {
                self.desk.tell_of_pressure(pressure, Held::Ends, now);
            }
        }
        self.desk.outputs.push_back(Output::State(Box::new(state)));
    }

    /// Whether the node takes no new pod like this for now.
    pub(super) fn refused_by_machine(&self, pod: &PodAssignment, now: Now) -> Option<Refusal> {
        let refuse = |reason: &str, message: String| {
            Some(Refusal { uid: pod.uid.clone(), reason: reason.to_owned(), message })
        };
        if self.machine.shutdown.is_some() {
            return refuse(
                reasons::NODE_SHUTDOWN,
                "Pod was rejected as the node is shutting down.".to_owned(),
            );
        }
        if pod.care.priority >= CRITICAL_PRIORITY {
            return None;
        }
        let held = self.machine.pressures.holding(now.mono);
        let spared = pod.care.tolerates_memory_pressure || !is_best_effort(pod);
        if held.is_empty() || held == [Pressure::Memory] && spared {
            return None;
        }
        let names: Vec<_> = held.iter().map(|pressure| pressure.condition()).collect();
        refuse(reasons::EVICTED, format!("The node had condition: [{}]. ", names.join(" ")))
    }

    /// First what no pod needs, then one pod; the next look tells whether that was enough.
    fn relieve(&mut self, shortage: &Shortage, look: &Look, now: Now) {
        let begins = self.machine.relieving.insert(shortage.signal);
        if begins {
            self.desk.tell_of_attempt(shortage.signal, now);
        }
        if shortage.signal.pressure() == Pressure::Disk {
            let named = self.named_modules();
            let frees = look.modules.iter().any(|(digest, _)| !named.contains(digest));
            self.desk.outputs.push_back(Output::Reclaim(named));
            if begins && frees {
                return;
            }
        }
        // Guests are no processes: ending one gives no process id back.
        let is_leaving = |entry: &Entry| entry.pod.failure().is_some() && !entry.pod.is_over();
        if shortage.signal == Signal::Pids || self.pods.values().any(is_leaving) {
            return;
        }
        let Some(victim) = victim::choose(self.pods.values(), shortage.signal, look) else { return };
        let Shortage { signal, available, threshold, pod_grace_ms } = *shortage;
        let message = format!(
            "The node was low on resource: {}. Threshold quantity: {}, available: {}. {}",
            signal.resource(),
            signal.quantity(threshold),
            signal.quantity(available),
            victim.containers,
        );
        if signal.pressure() == Pressure::Disk {
            self.machine.logs_owed.insert(victim.uid.clone());
        }
        self.evict(&victim.uid, message, pod_grace_ms, now);
    }

    /// Ends pods whose volumes take more than they may.
    fn hold_volumes_to_their_bounds(&mut self, look: &Look, now: Now) {
        for used in &look.volumes {
            let Some(entry) = self.pods.get(&used.uid).filter(|entry| entry.pod.is_active()) else {
                continue;
            };
            let bound = bounds(entry).find(|(name, bound)| *name == used.volume && used.bytes > *bound);
            if let Some((name, bound)) = bound {
                let bound = binary(bound);
                let message = format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{bound}\". ");
                self.evict(&used.uid, message, BOUND_GRACE_MS, now);
            }
        }
    }

    /// Ends pods that take more of the disk than they, or a container of theirs, may.
    fn hold_pods_to_their_disk(&mut self, look: &Look, now: Now) {
        let active = self.pods.iter().filter(|(_, entry)| entry.pod.is_active());
        let over: Vec<_> =
            active.filter_map(|(uid, entry)| Some((uid.clone(), disk::excess(entry, look)?))).collect();
        for (uid, message) in over {
            self.evict(&uid, message, BOUND_GRACE_MS, now);
        }
    }

    fn evict(&mut self, uid: &PodUid, message: String, grace_ms: u64, now: Now) {
        self.tell_of_end(uid, (reasons::EVICTED, &message), now);
        let failure = Failure { reason: reasons::EVICTED.to_owned(), message };
        self.with_pod(uid, now, |pod, now| pod.handle_failure(failure, grace_ms, now));
    }

    /// Ends a pod that turns out to be none for this machine.
    pub(super) fn reject(&mut self, uid: &PodUid, reason: &str, message: String, now: Now) {
        self.tell_of_end(uid, (reason, &message), now);
        let failure = Failure { reason: reason.to_owned(), message: format!("Pod was rejected: {message}") };
        self.with_pod(uid, now, |pod, now| pod.handle_failure(failure, 0, now));
    }

    fn tell_of_end(&mut self, uid: &PodUid, (reason, message): (&str, &str), now: Now) {
        let Some(entry) = self.pods.get(uid) else { return };
        let event = NodeEvent {
            pod: Some(event_pod(entry.pod.assignment())),
            warning: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: now.wall,
        };
        self.desk.outputs.push_back(Output::Event(event));
    }

    /// The logs of pods that were evicted for want of disk go when the pods have stopped.
    fn drop_owed_logs(&mut self) {
        let pods = &self.pods;
        let stopped = |uid: &PodUid| pods.get(uid).is_none_or(|entry| entry.pod.is_over());
        let (done, owed): (BTreeSet<_>, _) =
            std::mem::take(&mut self.machine.logs_owed).into_iter().partition(stopped);
        self.machine.logs_owed = owed;
        for entry in done.iter().filter_map(|uid| self.pods.get(uid)) {
            self.desk.outputs.push_back(Output::DropLogs(Arc::clone(entry.pod.assignment())));
        }
    }

    /// The largest modules that pods name, with what they call them.
    fn images(&self) -> Vec<NodeImage> {
        let mut images = self.machine.images.clone();
        images.sort_by_key(|(digest, bytes)| (Reverse(*bytes), *digest));
        let named = images.into_iter().filter_map(|(digest, bytes)| {
            let names = self.names_of(digest);
            (!names.is_empty()).then_some(NodeImage { names, size: Bytes(bytes) })
        });
        named.take(NODE_IMAGES_MAX).collect()
    }

    fn names_of(&self, digest: Digest) -> Vec<String> {
        let references = self.pods.values().flat_map(|entry| entry.pod.references_of(digest));
        let mut pinned = BTreeSet::new();
        let mut tagged = BTreeSet::new();
        for reference in references {
            let name = reference.split('@').next().unwrap_or(reference);
            let path = name.rfind('/').map_or(0, |slash| slash + 1);
            let end = name[path..].find(':').map_or(name.len(), |colon| path + colon);
            pinned.insert(format!("{}@{digest}", &name[..end]));
            if !reference.contains('@') {
                tagged.insert(reference.to_owned());
            }
        }
        let names = pinned.into_iter().chain(tagged);
        names.filter(|name| name.len() <= NODE_IMAGE_NAME_BYTES_MAX).take(NODE_IMAGE_NAMES_MAX).collect()
    }
}

/// The volumes of a pod that have a bound, with it.
fn bounds(entry: &Entry) -> impl Iterator<Item = (&str, u64)> {
    entry.pod.assignment().volumes.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::EmptyDir { size_limit, .. } => Some((volume.name.as_str(), size_limit.as_ref()?.0)),
        VolumeSource::HostPath { .. } | VolumeSource::Projected { .. } => None,
    })
}

fn event_pod(pod: &PodAssignment) -> EventPod {
    EventPod {
        uid: pod.uid.clone(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        container: String::new(),
    }
}

/// Quality of service `BestEffort`: nothing is asked for and nothing is bounded.
fn is_best_effort(pod: &PodAssignment) -> bool {
    let mut all = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    all.all(|container| container.resources == dunlin_link::pod::Resources::default())
}

/// What a pod has to stop by itself when its volumes take more than they may: the kubelet's number.
const BOUND_GRACE_MS: u64 = 1_000;

/// Pods of at least this priority are never evicted by their node: those of the system's own classes.
pub(super) const CRITICAL_PRIORITY: i32 = 2_000_000_000;
