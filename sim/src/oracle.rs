//! Knows what was acknowledged and what runs where, and says when that breaks a promise.
//!
//! Nothing here is told to the parts under test.

pub(crate) mod scheduling;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dunlin_coordinator_core::{ObjectKey, scheduler::Unschedulable};
use dunlin_edge_node_core::check::Outcome;
use dunlin_link::{ContainerId, NodeName, PodUid, Revision, moment::Moment, session::SessionError};
use serde_json::Value;

pub(crate) use self::workloads::{controller_of, is_ready, root_of, rules};
use self::{scheduling::Fleet, workloads::Workloads};
use crate::{
    keys::Place,
    network::{ConnId, Network},
    node::LIVENESS_FAILURES,
    store::{Change, Store},
};

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// The watcher; see the module.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    violation: Option<String>,
    /// Newest revision of the store that somebody was told is durable, and of which generation.
    acknowledged: (u64, Revision),
    /// Of each key that a client was told is written: since which revision it must be there, or gone.
    promised: BTreeMap<String, Revision>,
    requests: BTreeMap<RequestId, String>,
    pods: BTreeMap<PodUid, PodFacts>,
    running: BTreeMap<(usize, ContainerId), Running>,
    /// How often in a row a liveness probe found a container failing.
    failed_looks: BTreeMap<(usize, ContainerId), u32>,
    copies: BTreeMap<usize, CopyFacts>,
    /// Nodes of which two copies were up at a time: they cannot keep the promises that need one.
    pub(crate) cloned: BTreeSet<NodeName>,
    sessions: BTreeMap<ConnId, NodeName>,
    node_sessions: BTreeMap<usize, ConnId>,
    settled_since: BTreeMap<usize, Moment>,
    pub(crate) workloads: Workloads,
    pub(crate) restores: u32,
}

/// What is known of a pod from what the store has held of it.
#[derive(Clone, Debug, Default)]
struct PodFacts {
    /// From when on nothing of it may run on a node that is in touch.
    over_at: Option<Moment>,
    /// It was deleted at some time, even if a restore brought it back.
    was_deleted: bool,
    /// It was taken from the store before its node had stopped it.
    removed_early: bool,
    object: Object,
    /// Nodes that a store has bound it to.
    bound: BTreeSet<NodeName>,
    /// Those of them that a restored store does not know of: there the pod is held.
    lost: BTreeSet<NodeName>,
    /// The coordinator has told its node to forget it.
    forgotten: BTreeSet<NodeName>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Object {
    #[default]
    There,
    Gone,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) uid: PodUid,
    pub(crate) pod: ObjectKey,
    pub(crate) node: NodeName,
}

/// What a copy of a node has said it holds.
#[derive(Clone, Copy, Debug, Default)]
struct CopyFacts {
    acknowledged: (u64, Revision),
}

impl Oracle {
    /// What was broken first.
    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// The scheduler has decided about a pod; the fleet is as it has seen it.
    pub(crate) fn judge_place(
        &mut self,
        fleet: &Fleet<'_>,
        key: &ObjectKey,
        decision: Result<&NodeName, &Unschedulable>,
    ) {
        if let Some(wrong) = scheduling::wrong(fleet, key, decision) {
            self.violate(wrong);
        }
    }

    // What clients were told.

    pub(crate) fn asked(&mut self, request: RequestId, key: String) {
        self.requests.insert(request, key);
    }

    pub(crate) fn accepted(&mut self, request: RequestId, store: &Store) {
        let Some(key) = self.requests.remove(&request) else { return };
        let revision = store.get(&key).map_or_else(|| store.revision(), |stored| stored.revision);
        self.promised.insert(key, revision);
        self.acknowledged = self.acknowledged.max((store.generation(), store.revision()));
    }

    pub(crate) fn coordinator_crashed(&mut self) {
        self.requests.clear();
        self.sessions.clear();
    }

    /// Everything that was acknowledged has to be there.
    pub(crate) fn coordinator_started(&mut self, store: &Store, now: Moment) {
        self.workloads.forgets_times(now);
        let found = (store.generation(), store.revision());
        if found < self.acknowledged {
            let told = self.acknowledged;
            self.violate(format!(
                "clients were told of {told:?}, and after a crash the store is at {found:?}"
            ));
        }
        let lost = self
            .promised
            .iter()
            .find(|(key, revision)| store.get(key).is_some_and(|stored| stored.revision < **revision));
        if let Some((key, revision)) = lost {
            let what = format!("{key} was acknowledged at {revision} and is older after a crash");
            self.violate(what);
        }
    }

    /// The store is that of a backup now: what was promised since is lost by intention.
    pub(crate) fn restored(&mut self, store: &Store, now: Moment) {
        self.restores += 1;
        self.workloads.restored();
        self.promised.clear();
        self.acknowledged = (store.generation(), store.revision());
        let there: BTreeSet<PodUid> =
            store.list(crate::keys::PODS).map(|(_, stored)| uid_of(&stored.value)).collect();
        for (uid, facts) in &mut self.pods {
            facts.object = if there.contains(uid) { Object::There } else { Object::Gone };
            facts.forgotten.clear();
            // What the backup still names runs again; what it does not know is held, not ended.
            facts.over_at = None;
            facts.lost.clone_from(&facts.bound);
        }
        for (_, stored) in store.list(crate::keys::PODS) {
            self.note_pod(&stored.value, now);
        }
    }

    // What the store says.

    pub(crate) fn committed(&mut self, changes: &[Change], store: &Store, now: Moment) {
        if let Some(broken) = self.workloads.committed(changes, store, now) {
            self.violate(broken);
        }
        for change in changes {
            if let Place::Pod(key) = Place::of(&change.key) {
                if let Some(after) = &change.after {
                    self.note_pod(&after.value, now);
                }
                if let Some(before) = &change.before
                    && change.after.as_ref().is_none_or(|after| uid_of(&after.value) != uid_of(&before.value))
                {
                    self.note_removed(&uid_of(&before.value), &key, &before.value, store, now);
                }
            }
        }
    }

    fn note_pod(&mut self, pod: &Value, now: Moment) {
        let facts = self.pods.entry(uid_of(pod)).or_default();
        facts.object = Object::There;
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            let node = NodeName::new(node);
            facts.lost.remove(&node);
            facts.bound.insert(node);
        }
        let metadata = &pod["metadata"];
        if !metadata["deletionTimestamp"].is_null() {
            let grace = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or_default();
            let over = now + Duration::from_secs(grace);
            facts.over_at = Some(facts.over_at.map_or(over, |known| known.min(over)));
            facts.was_deleted = true;
        }
    }

    fn note_removed(&mut self, uid: &PodUid, key: &ObjectKey, last: &Value, store: &Store, now: Moment) {
        let runs =
            self.running.values().find(|running| running.uid == *uid && !self.is_lost(running)).cloned();
        let facts = self.pods.entry(uid.clone()).or_default();
        facts.object = Object::Gone;
        facts.over_at = Some(facts.over_at.map_or(now, |known| known.min(now)));
        facts.was_deleted = true;
        let node = last["spec"]["nodeName"].as_str().unwrap_or_default();
        let record = dunlin_coordinator_core::dispatch::tombstone_key(&NodeName::new(node), uid);
        facts.removed_early = store.get(&record).is_some();
        if let Some(running) = runs
            && !self.pods[uid].removed_early
            && !self.cloned.contains(&running.node)
        {
            let node = running.node;
            self.violate(format!("{key} ({uid}) was removed with no tombstone while it runs on {node}"));
        }
    }

    /// A client ordered the end of a pod that a node holds.
    pub(crate) fn buried(&mut self, uid: &PodUid, now: Moment) {
        let facts = self.pods.entry(uid.clone()).or_default();
        facts.was_deleted = true;
        // The store may know it, on another node.
        if facts.object != Object::There {
            facts.over_at = Some(facts.over_at.map_or(now, |known| known.min(now)));
        }
    }

    /// The coordinator's record says that this node has been told to forget this pod, and has done so.
    pub(crate) fn forgotten(&mut self, node: &NodeName, uid: &PodUid) {
        if self.cloned.contains(node) {
            return;
        }
        self.pods.entry(uid.clone()).or_default().forgotten.insert(node.clone());
        // Stores that were restored one after the other may have bound it to several; each forgets for itself.
        if self.running.values().any(|running| running.uid == *uid && running.node == *node) {
            self.violate(format!("{node} has forgotten {uid}, which runs"));
        }
    }

    /// Whether a restored store does not know that a pod runs there.
    pub(crate) fn is_lost(&self, running: &Running) -> bool {
        self.pods.get(&running.uid).is_some_and(|facts| facts.lost.contains(&running.node))
    }

    // What nodes do.

    /// A container begins.
    pub(crate) fn started(&mut self, copy: usize, id: ContainerId, running: Running) {
        let exempt = self.cloned.contains(&running.node);
        let Running { uid, pod, node } = &running;
        let other = self.running.iter().find(|((at, _), other)| {
            (other.uid == *uid || other.pod == *pod)
                && !self.is_lost(other)
                && !self.cloned.contains(&other.node)
                && (other.uid == *uid || *at != copy)
                && !self.pods.get(&other.uid).is_some_and(|facts| facts.removed_early)
        });
        let facts = self.pods.get(uid);
        let problem = if exempt {
            None
        } else if let Some((_, other)) = other
            && !self.is_lost(&running)
            && !facts.is_some_and(|facts| facts.removed_early)
        {
            Some(format!(
                "{pod} ({uid}) starts on {node} while a container of {} runs on {}",
                other.uid, other.node
            ))
        } else if facts.is_some_and(|facts| facts.forgotten.contains(node)) {
            Some(format!("{pod} ({uid}) starts on {node}, which was told to forget it"))
        } else if facts.is_none() {
            Some(format!("{pod} ({uid}) starts on {node}, and no store has ever held it"))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.violate(problem);
        }
        self.running.insert((copy, id), running);
    }

    /// A container was told to stop.
    pub(crate) fn told_to_stop(&mut self, copy: usize, id: &ContainerId) {
        let Some(running) = self.running.get(&(copy, id.clone())) else { return };
        let deleted = self.pods.get(&running.uid).is_some_and(|facts| facts.was_deleted);
        let failures = self.failed_looks.get(&(copy, id.clone())).copied().unwrap_or_default();
        if !deleted && failures < LIVENESS_FAILURES {
            let Running { uid, pod, node } = running;
            self.violate(format!("{node} stops {pod} ({uid}), which nobody has deleted"));
        }
    }

    /// A liveness probe has looked at a container.
    pub(crate) fn looked_at(&mut self, copy: usize, id: &ContainerId, outcome: &Outcome) {
        let failures = self.failed_looks.entry((copy, id.clone())).or_default();
        *failures = if *outcome == Outcome::Success { 0 } else { *failures + 1 };
    }

    /// A container ended.
    pub(crate) fn ended(&mut self, copy: usize, id: &ContainerId) {
        self.running.remove(&(copy, id.clone()));
    }

    /// All containers of a copy ended.
    pub(crate) fn all_ended(&mut self, copy: usize) {
        self.running.retain(|(at, _), _| *at != copy);
    }

    /// Containers that run on a copy.
    pub(crate) fn running_on(&self, copy: usize) -> impl Iterator<Item = (&ContainerId, &Running)> {
        self.running.iter().filter(move |((at, _), _)| *at == copy).map(|((_, id), running)| (id, running))
    }

    /// An agent starts with what it finds on its disk.
    pub(crate) fn booted(&mut self, copy: usize, holds: (u64, Revision)) {
        let facts = self.copies.entry(copy).or_default();
        if holds < facts.acknowledged {
            let told = facts.acknowledged;
            self.violate(format!(
                "copy {copy} acknowledged generation {}, revision {} and starts with {}, {}",
                told.0, told.1, holds.0, holds.1
            ));
        }
    }

    /// A copy holds this now.
    pub(crate) fn applied(&mut self, copy: usize, holds: (u64, Revision)) {
        let facts = self.copies.entry(copy).or_default();
        if holds < facts.acknowledged {
            let before = facts.acknowledged;
            self.violate(format!("copy {copy} went from {before:?} back to {holds:?}"));
        }
    }

    /// A copy says to the coordinator that it holds this.
    pub(crate) fn says_it_holds(&mut self, copy: usize, holds: (u64, Revision)) {
        self.applied(copy, holds);
        let facts = self.copies.entry(copy).or_default();
        facts.acknowledged = facts.acknowledged.max(holds);
    }

    // Who is in touch.

    pub(crate) fn session_opened(&mut self, conn: ConnId, node: &NodeName, _now: Moment) {
        self.sessions.insert(conn, node.clone());
    }

    pub(crate) fn session_ended(&mut self, conn: ConnId, _node: &NodeName) {
        self.sessions.remove(&conn);
    }

    pub(crate) fn acknowledged(&mut self, _conn: ConnId, _node: &NodeName, _revision: Revision) {}

    /// A side gave up a session. Some reasons are nobody's fault but a defect's.
    pub(crate) fn session_failed(&mut self, side: &str, node: &NodeName, error: &SessionError) {
        let defect = matches!(
            error,
            SessionError::Frame(_)
                | SessionError::Change(_)
                | SessionError::ChangeTooLarge(_)
                | SessionError::OlderRevision { .. }
                | SessionError::TooManyPods
                | SessionError::WrongNode { .. }
                | SessionError::WrongCluster { .. }
                | SessionError::Version { .. }
        );
        if defect && !self.cloned.contains(node) {
            self.violate(format!("the {side} ended a session of {node}: {}", error.reason()));
        }
    }

    pub(crate) fn node_opened(&mut self, copy: usize, conn: ConnId) {
        self.node_sessions.insert(copy, conn);
    }

    pub(crate) fn node_ended(&mut self, copy: usize) {
        self.node_sessions.remove(&copy);
    }

    /// Whether both ends of a copy's connection are open and bytes get through.
    pub(crate) fn is_in_touch(&self, copy: usize, network: &Network) -> bool {
        self.node_sessions
            .get(&copy)
            .is_some_and(|conn| self.sessions.contains_key(conn) && !network.is_lost(*conn))
    }

    /// Looks for what runs although it is over.
    pub(crate) fn look(&mut self, copies: usize, network: &Network, now: Moment) {
        for copy in 0..copies {
            if !self.is_in_touch(copy, network) {
                self.settled_since.remove(&copy);
                continue;
            }
            let since = *self.settled_since.entry(copy).or_insert(now);
            let stays = self.running_on(copy).find(|(_, running)| {
                let over = self.pods.get(&running.uid).and_then(|facts| facts.over_at);
                // A store that went back may have bound it elsewhere, and ended it only there.
                !self.is_lost(running) && over.is_some_and(|over| now.since(over.max(since)) > SETTLE)
            });
            if let Some((_, Running { uid, pod, node })) = stays
                && !self.cloned.contains(node)
            {
                let what = format!("{pod} ({uid}) is deleted and still runs on {node}, which is in touch");
                self.violate(what);
            }
        }
    }
}

fn uid_of(pod: &Value) -> PodUid {
    PodUid::new(pod["metadata"]["uid"].as_str().unwrap_or_default())
}

/// How long a node in touch may take to end what is over: a change may wait for the one before it, on a slow disk.
const SETTLE: Duration = Duration::from_secs(150);
