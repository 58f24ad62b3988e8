//! An agent without a runtime: keeps what it is told in memory and answers every pod as Running at once, and as stopped when it is
//! buried.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node::session::{Applied, SessionHandle, SessionHost};
use dunlin_link::{
    PodUid, UnixMillis,
    assignment::{AssignmentChange, Refusal, Tombstone},
    held::HeldSet,
    logs::LogRequest,
    pod::{Container, PodAssignment},
    status::{ContainerState, ContainerStatus, PodCondition, PodConditionKind, PodPhase, PodStatusReport},
};
use tokio::io::AsyncRead;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HollowHost {
    state: Mutex<State>,
    /// Set once, before the session runs.
    session: OnceLock<SessionHandle>,
}

/// What an agent would keep on its disk.
#[derive(Debug, Default)]
struct State {
    held: HeldSet,
    unacked: BTreeMap<PodUid, PodStatusReport>,
    sequence: u64,
    /// Changes committed since the start.
    commits: u64,
    /// Content that came with them.
    objects: u64,
}

/// What one node, or all of them, were told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Changes committed.
    pub(super) commits: u64,
    /// ConfigMaps and Secrets received.
    pub(super) objects: u64,
    /// Pods held.
    pub(super) pods: usize,
    /// Reports that the coordinator has not acknowledged.
    pub(super) unacked: usize,
}

impl HollowHost {
    /// Where reports go; to be called once, before the session runs.
    pub(super) fn attach(&self, session: SessionHandle) {
        // A second session of one host would be a defect of the bench; the first stays.
        let _ = self.session.set(session);
    }

    pub(super) fn told(&self) -> Told {
        let state = self.state();
        Told {
            commits: state.commits,
            objects: state.objects,
            pods: state.held.pods.len(),
            unacked: state.unacked.len(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, state: &mut State, report: PodStatusReport) {
        state.sequence += 1;
        let report = PodStatusReport { sequence: state.sequence, ..report };
        state.unacked.insert(report.uid.clone(), report.clone());
        if let Some(session) = self.session.get() {
            session.report(report);
        }
    }
}

impl SessionHost for HollowHost {
    fn applied(&self) -> Applied {
        let state = self.state();
        Applied { revision: state.held.revision, restore_generation: 0, state_digest: state.held.digest() }
    }

    async fn commit(&self, change: AssignmentChange) -> io::Result<Vec<Refusal>> {
        let mut state = self.state();
        let mut after = state.held.clone();
        let _held_without_name = after.apply(&change);
        if after.digest() != change.state_digest {
            return Ok(Vec::new());
        }
        state.held = after;
        state.commits += 1;
        state.objects += change.objects.len() as u64;
        for uid in &change.forget {
            state.unacked.remove(uid);
        }
        for (_, pod) in &change.upserts {
            self.report(&mut state, running(pod));
        }
        for tombstone in &change.tombstones {
            self.report(&mut state, stopped(tombstone));
        }
        Ok(Vec::new())
    }

    fn acked(&self, reports: Vec<(PodUid, u64)>) {
        let mut state = self.state();
        for (uid, sequence) in reports {
            if state.unacked.get(&uid).is_some_and(|report| report.sequence <= sequence) {
                state.unacked.remove(&uid);
            }
        }
    }

    fn unacked(&self) -> Vec<PodStatusReport> {
        self.state().unacked.values().cloned().collect()
    }

    async fn open_log(&self, _request: LogRequest) -> Result<Box<dyn AsyncRead + Send + Unpin>, String> {
        Err("a hollow node keeps no logs".into())
    }
}

fn running(pod: &PodAssignment) -> PodStatusReport {
    let now = now();
    let conditions = [
        PodConditionKind::PodReadyToStartContainers,
        PodConditionKind::Initialized,
        PodConditionKind::ContainersReady,
        PodConditionKind::Ready,
    ];
    PodStatusReport {
        observed_generation: pod.generation,
        phase: PodPhase::Running,
        conditions: conditions.into_iter().map(|kind| is_true(kind, now)).collect(),
        start_time: Some(now),
        containers: pod.spec.containers.iter().map(|container| started(container, now)).collect(),
        ..blank(&pod.uid, &pod.namespace, &pod.name)
    }
}

fn stopped(tombstone: &Tombstone) -> PodStatusReport {
    let report = blank(&tombstone.uid, &tombstone.namespace, &tombstone.name);
    PodStatusReport { phase: PodPhase::Succeeded, stopped: true, ..report }
}

fn blank(uid: &PodUid, namespace: &str, name: &str) -> PodStatusReport {
    PodStatusReport {
        uid: uid.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        sequence: 0,
        observed_generation: 0,
        phase: PodPhase::Pending,
        reason: String::new(),
        message: String::new(),
        conditions: Vec::new(),
        host_ip: "127.0.0.1".to_owned(),
        pod_ip: String::new(),
        start_time: None,
        init_containers: Vec::new(),
        containers: Vec::new(),
        stopped: false,
        local_endpoints: Vec::new(),
    }
}

fn is_true(kind: PodConditionKind, now: UnixMillis) -> PodCondition {
    PodCondition { kind, status: true, reason: String::new(), message: String::new(), last_transition: now }
}

fn started(container: &Container, now: UnixMillis) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.reference.clone(),
        image_digest: container.image.digest,
        container_id: None,
        ready: true,
        started: true,
        restart_count: 0,
        state: ContainerState::Running { started_at: now },
        last_state: None,
    }
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
