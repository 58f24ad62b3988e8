//! An agent without disk, modules and runtime: the node's own core decides, batches lie in memory at once, every module is here, and a
//! sandbox of no substance runs what it is asked to.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node::session::{Applied, SessionHandle, SessionHost};
use dunlin_edge_node_core::{
    check::Outcome,
    clock::{Mono, Now},
    launch::{GuestFiles, Material},
    node::{
        ChangeError, ChangeTicket, Loaded, NodeCore, NodeOptions, Output, Prepared, Presence, Told as Heard,
        Unacked,
    },
    pod::Residence,
    sandbox::{Exit, ExitCause, Owner, Request, State as RunState},
};
use dunlin_link::{
    ContainerId, PodUid, UnixMillis,
    assignment::{AssignmentChange, Refusal},
    logs::{LogRequest, LogStreams},
    status::PodStatusReport,
    tokens::IssuedToken,
};
use tokio::{io::AsyncRead, sync::Notify};

/// See the module.
#[derive(Debug)]
pub(super) struct HollowHost {
    started: Instant,
    state: Mutex<State>,
    /// Apart from the state, because the session asks for it while it holds what the state waits for when it reports.
    shown: Mutex<Shown>,
    /// Rings when the core may want to be called at another time.
    time: Notify,
    /// Set once, before the session runs.
    session: OnceLock<SessionHandle>,
}

/// One lock, because what the core asks for is answered before anybody else speaks to it.
#[derive(Debug)]
struct State {
    core: NodeCore,
    remains: Remains,
    answer: Option<Result<Vec<Refusal>, ChangeError>>,
    changes: u64,
    snapshots: u64,
}

/// What an agent leaves behind: the node's disk, and the containers, which go on without it.
#[derive(Clone, Debug, Default)]
struct Remains {
    disk: Loaded,
    containers: BTreeMap<ContainerId, (Owner, RunState)>,
}

/// What the session may ask for at any time.
#[derive(Debug)]
struct Shown {
    applied: Applied,
    unacked: Unacked,
}

/// What one node, or all of them, were told so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Assignment changes that arrived, ones that did not fit included.
    pub(super) changes: u64,
    /// Those of them that named everything anew.
    pub(super) snapshots: u64,
    /// Pods that are assigned.
    pub(super) pods: usize,
    /// Containers that run.
    pub(super) running: usize,
    /// Reports that the coordinator has not acknowledged.
    pub(super) unacked: usize,
}

impl HollowHost {
    /// A node with an empty disk.
    pub(super) fn new(options: NodeOptions) -> Self {
        Self::boot(options, Remains::default())
    }

    /// The same node after its agent ended and started again: on its disk, beside its containers.
    pub(super) fn restarted(&self, options: NodeOptions) -> Self {
        let state = self.state();
        let again = Self::boot(options, state.remains.clone());
        let mut state_again = again.state();
        (state_again.changes, state_again.snapshots) = (state.changes, state.snapshots);
        drop(state_again);
        again
    }

    fn boot(options: NodeOptions, mut remains: Remains) -> Self {
        let started = Instant::now();
        let now = read_clocks(started);
        remains.disk.starts += 1;
        let runtime = options.facts.runtime_version.clone();
        let mut core = NodeCore::boot(options, remains.disk.clone(), now);
        for (id, (owner, state)) in &remains.containers {
            let (id, owner, state) = (id.clone(), owner.clone(), state.clone());
            core.handle_told(Heard::Container { id, owner, state }, now);
        }
        core.handle_told(Heard::Synced { runtime }, now);
        let shown = Shown { applied: core.applied(), unacked: Unacked::default() };
        let state = State { core, remains, answer: None, changes: 0, snapshots: 0 };
        Self {
            started,
            state: Mutex::new(state),
            shown: Mutex::new(shown),
            time: Notify::new(),
            session: OnceLock::new(),
        }
    }

    /// Where reports go; to be called once, before the session runs.
    pub(super) fn attach(&self, session: SessionHandle) {
        // A second session of one host would be a defect of the bench; the first stays.
        let _ = self.session.set(session);
        self.turn(|_, _| {});
    }

    /// Lets the core's timers go off, for ever.
    pub(super) async fn keep_time(&self) {
        loop {
            let next = self.state().core.poll_timeout();
            let wait = next.map(|at| at.millis_after(read_clocks(self.started).mono));
            tokio::select! {
                () = sleep(wait) => self.turn(|state, now| state.core.handle_timeout(now)),
                () = self.time.notified() => {}
            }
        }
    }

    /// Every container ends by itself, as if it had failed.
    pub(super) fn end_containers(&self) {
        let ids: Vec<ContainerId> = self.state().remains.containers.keys().cloned().collect();
        for id in ids {
            self.turn(|state, now| state.end(&id, ExitCause::Code(1), now));
        }
    }

    pub(super) fn told(&self) -> Told {
        let state = self.state();
        let containers = state.remains.containers.values();
        Told {
            changes: state.changes,
            snapshots: state.snapshots,
            pods: state.remains.disk.pods.len(),
            running: containers.filter(|(_, state)| matches!(state, RunState::Running { .. })).count(),
            unacked: self.shown().unacked.len(),
        }
    }

    /// Feeds the core and carries out all that it asks for.
    fn turn(&self, feed: impl FnOnce(&mut State, Now)) {
        let now = read_clocks(self.started);
        let mut state = self.state();
        feed(&mut state, now);
        while let Some(output) = state.core.poll_output(now) {
            self.obey(&mut state, output, now);
        }
        drop(state);
        self.time.notify_one();
    }

    fn obey(&self, state: &mut State, output: Output, now: Now) {
        match output {
            Output::Write { ticket, batch } => {
                state.remains.disk.apply(*batch);
                state.core.handle_written(ticket, Ok(()), now);
            }
            Output::Committed { result, .. } => {
                self.shown().applied = state.core.applied();
                state.answer = Some(result);
            }
            Output::Ask(request) => state.ask(request, now),
            Output::Locate(digest) => state.core.handle_module(digest, Presence::Here, now),
            Output::Prepare(preparation) => {
                let material = Material::Module { module: String::new(), files: GuestFiles::default() };
                let files = Prepared::Ready { log: String::new(), material };
                state.core.handle_prepared(preparation.run, files, now);
            }
            // Nobody reads it.
            Output::AskToken(order) => {
                let lifetime_seconds = order.claim.expiration_seconds;
                let issued = IssuedToken { token: String::new(), lifetime_seconds };
                state.core.handle_token(&order, Ok(issued), now);
            }
            // Whoever runs nothing finds it well.
            Output::Check(order) => state.core.handle_checked(&order.key, Outcome::Success, now),
            Output::Report(report) => {
                self.shown().unacked.reported((*report).clone());
                self.say(|session| session.report(*report));
            }
            Output::Forgotten { uid, .. } => self.shown().unacked.forget(&uid),
            Output::Event(event) => self.say(|session| session.event(event)),
            Output::Facts(facts) => self.say(|session| session.facts(*facts)),
            Output::StartOver => self.say(SessionHandle::start_over),
            Output::Survey(order) => state.core.handle_surveyed(&order.uid, Residence::Shared, now),
            // There is no module to fetch or to drop and no manifest, nobody asks for health, and nobody reads a log.
            Output::Fetch { .. }
            | Output::Pull(_)
            | Output::Sweep(_)
            | Output::Reclaim(_)
            | Output::DropLogs(_)
            | Output::Project(_)
            | Output::Unmount(_)
            | Output::State(_)
            | Output::StaticPods(_)
            | Output::Pods(_)
            | Output::Notice(_)
            | Output::AskPod(..)
            | Output::OpenSandbox(_)
            | Output::CloseSandbox(_) => {}
        }
    }

    fn say(&self, what: impl FnOnce(&SessionHandle)) {
        if let Some(session) = self.session.get() {
            what(session);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ask(&mut self, request: Request, now: Now) {
        match request {
            Request::Start(spec) => {
                self.tell(spec.id, spec.owner, RunState::Running { started_at: now.wall }, now);
            }
            Request::Stop { id, .. } => self.end(&id, ExitCause::Stopped, now),
            Request::Remove { id } => {
                self.remains.containers.remove(&id);
            }
            Request::Hello { .. }
            | Request::Shutdown
            | Request::StartLinux(_)
            | Request::OpenPod(_)
            | Request::OpenRunner { .. } => {}
        }
    }

    fn end(&mut self, id: &ContainerId, cause: ExitCause, now: Now) {
        let Some((owner, RunState::Running { started_at })) = self.remains.containers.get(id) else { return };
        let (owner, started_at) = (owner.clone(), Some(*started_at));
        let exit = Exit { cause, message: String::new(), started_at, finished_at: now.wall };
        self.tell(id.clone(), owner, RunState::Exited(exit), now);
    }

    fn tell(&mut self, id: ContainerId, owner: Owner, state: RunState, now: Now) {
        self.remains.containers.insert(id.clone(), (owner.clone(), state.clone()));
        self.core.handle_told(Heard::Container { id, owner, state }, now);
    }
}

impl SessionHost for HollowHost {
    fn applied(&self) -> Applied {
        self.shown().applied
    }

    async fn commit(&self, change: AssignmentChange) -> io::Result<Vec<Refusal>> {
        self.turn(|state, now| {
            state.changes += 1;
            state.snapshots += u64::from(change.base.is_none());
            state.core.handle_change(ChangeTicket(state.changes), change, now);
        });
        let answer = self.state().answer.take();
        let answer = answer.ok_or_else(|| io::Error::other("the core did not answer a change"))?;
        answer.map_err(io::Error::other)
    }

    fn acked(&self, reports: Vec<(PodUid, u64)>) {
        self.shown().unacked.acked(&reports);
    }

    fn unacked(&self) -> Vec<PodStatusReport> {
        self.shown().unacked.iter().cloned().collect()
    }

    async fn open_log(
        &self,
        _request: LogRequest,
        _streams: LogStreams,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, String> {
        Err("a hollow node keeps no logs".into())
    }
}

async fn sleep(millis: Option<u64>) {
    match millis {
        Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        None => std::future::pending().await,
    }
}

fn read_clocks(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Now { wall: UnixMillis(millis(wall)), mono: Mono(millis(started.elapsed())) }
}
