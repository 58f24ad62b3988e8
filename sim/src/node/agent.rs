//! The agent's shell: carries what the core and the session want to the disk, the runner and the network, as the real one does.

use std::{collections::VecDeque, time::Duration};

use dunlin_edge_node_core::{
    check::What,
    launch::{GuestFiles, Material},
    node::{
        Arrived, ChangeTicket, CheckOrder, NodeCore, Notice, Output, Preparation, Prepared, Presence,
        Unacked, WriteTicket,
    },
    pod::Residence,
    sandbox::Request,
};
use dunlin_link::{
    ContainerId, Digest, PodUid,
    moment::Moment,
    session::{
        CloseCode, SessionError,
        node::{NodeOutput, NodeSession},
    },
};
use rand::Rng;

use super::{
    Node,
    runner::{Effect, LIVENESS_PORT},
};
use crate::{
    context::{Context, Event},
    coordinator::key_of,
    network::{ConnId, Side},
    oracle::Running,
    plant::Plant,
    trace::Note,
};

/// Everything that the end of the process loses.
#[derive(Debug)]
pub(super) struct Agent {
    session: NodeSession,
    pub(super) core: NodeCore,
    link: Link,
    /// A connection that is up, while a commit of the one before is not over.
    waiting: Option<ConnId>,
    /// The change under way, and the connection that it came by.
    committing: Option<(ChangeTicket, ConnId)>,
    tickets: u64,
    unacked: Unacked,
    requests: VecDeque<Request>,
    timer: Option<Moment>,
    sandbox_due: Option<Moment>,
    guest_due: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Dialing(ConnId),
    Up(ConnId),
}

impl Agent {
    pub(super) fn new(session: NodeSession, core: NodeCore) -> Self {
        Self {
            session,
            core,
            link: Link::None,
            waiting: None,
            committing: None,
            tickets: 0,
            unacked: Unacked::default(),
            requests: VecDeque::new(),
            timer: None,
            sandbox_due: None,
            guest_due: None,
        }
    }

    /// The runner is gone, and what was on its way to it.
    pub(super) fn drop_requests(&mut self) {
        self.requests.clear();
    }

    pub(super) const fn connection(&self) -> Option<ConnId> {
        match self.link {
            Link::None => None,
            Link::Dialing(conn) | Link::Up(conn) => Some(conn),
        }
    }
}

impl Node {
    /// A dial has succeeded.
    pub(crate) fn handle_connected(&mut self, conn: ConnId, context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        if agent.link != Link::Dialing(conn) {
            return;
        }
        context.trace.note(context.now, Note::Opened(conn));
        agent.link = Link::Up(conn);
        if agent.committing.is_some() {
            // What the node holds is known only after it.
            agent.waiting = Some(conn);
        } else {
            self.greet(context);
        }
        self.pump(context);
    }

    /// A dial has failed, or the connection is known to be gone.
    pub(crate) fn handle_broken(&mut self, conn: ConnId, context: &mut Context) {
        if self.agent.as_ref().is_some_and(|agent| agent.connection() == Some(conn)) {
            self.disconnect(context);
            self.pump(context);
        }
    }

    pub(crate) fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        if agent.link != Link::Up(conn) || agent.waiting.is_some() {
            return;
        }
        if let Err(error) = agent.session.handle_bytes(context.now, bytes) {
            self.fail(&error, context);
        }
        self.pump(context);
    }

    pub(crate) fn handle_agent_time(&mut self, life: u32, context: &mut Context) {
        if life != self.life {
            return;
        }
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        agent.timer = None;
        agent.core.handle_timeout(now);
        if let Err(error) = agent.session.handle_timeout(context.now) {
            self.fail(&error, context);
        }
        self.pump(context);
    }

    /// Messages between agent and runner arrive.
    pub(crate) fn handle_sandbox(&mut self, life: u32, context: &mut Context) {
        if life != self.life {
            return;
        }
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        agent.sandbox_due = None;
        let requests: Vec<Request> = agent.requests.drain(..).collect();
        if !self.runner.is_lost() {
            for request in requests {
                self.obey(request, context);
            }
        }
        while let Some(told) = self.runner.next_told() {
            let Some(agent) = &mut self.agent else { return };
            agent.core.handle_told(told, now);
        }
        self.pump(context);
    }

    /// A guest begins or ends.
    pub(crate) fn handle_guest(&mut self, boot: u32, context: &mut Context) {
        if boot != self.boot || !self.is_on() {
            return;
        }
        if let Some(agent) = &mut self.agent {
            agent.guest_due = None;
        }
        let effects = self.runner.handle_time(context.now, self.wall(context.now));
        for effect in effects {
            self.note_effect(effect, context);
        }
        self.deliver_sandbox(context);
    }

    pub(super) fn written(&mut self, ticket: WriteTicket, context: &mut Context) {
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        if context.plant != Some(Plant::EarlyAck) {
            agent.core.handle_written(ticket, Ok(()), now);
        }
        self.pump(context);
    }

    /// Does what core and session want until they want nothing, and sets the clocks.
    pub(super) fn pump(&mut self, context: &mut Context) {
        let now = self.now(context.now);
        loop {
            let Some(agent) = &mut self.agent else { return };
            if let Some(output) = agent.core.poll_output(now) {
                self.act_on(output, context);
            } else if let Some(output) = agent.session.poll_output() {
                self.act_on_session(output, context);
            } else {
                break;
            }
        }
        self.transmit(context);
        self.deliver_sandbox(context);
        let Some(agent) = &mut self.agent else { return };
        let core = agent
            .core
            .poll_timeout()
            .map(|mono| Moment(Duration::from_millis(u64::try_from(mono.0).unwrap_or_default())));
        let Some(at) = [core, agent.session.poll_timeout()].into_iter().flatten().min() else { return };
        let at = at.max(context.now);
        if agent.timer.is_none_or(|known| at < known) {
            agent.timer = Some(at);
            context.agenda.at(at, Event::AgentTime { node: self.index, life: self.life });
        }
    }

    /// Makes what agent and runner have for each other arrive soon.
    pub(super) fn deliver_sandbox(&mut self, context: &mut Context) {
        let soon = context.now + Duration::from_millis(1);
        if let Some(agent) = &mut self.agent
            && agent.sandbox_due.is_none()
            && (!agent.requests.is_empty() || self.runner.has_news())
        {
            let at = soon + context.rng.random_range(Duration::ZERO..Duration::from_millis(20));
            agent.sandbox_due = Some(at);
            context.agenda.at(at, Event::Sandbox { node: self.index, life: self.life });
        }
        if let Some(at) = self.runner.next_time() {
            let known = self.agent.as_ref().and_then(|agent| agent.guest_due);
            if known.is_none_or(|known| at < known) {
                if let Some(agent) = &mut self.agent {
                    agent.guest_due = Some(at);
                }
                context.agenda.at(at.max(context.now), Event::Guest { node: self.index, boot: self.boot });
            }
        }
    }

    fn act_on(&mut self, output: Output, context: &mut Context) {
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        match output {
            Output::Write { ticket, batch } => {
                if context.plant == Some(Plant::EarlyAck) {
                    agent.core.handle_written(ticket, Ok(()), now);
                }
                self.write(ticket, *batch, context);
            }
            Output::Committed { ticket, result } => {
                let Some((pending, conn)) = agent.committing.take() else { return };
                debug_assert_eq!(pending, ticket, "one change is committed at a time");
                let applied = agent.core.applied();
                let holds = (applied.restore_generation, applied.revision);
                context.oracle.applied(self.index, holds);
                if agent.waiting.take().is_some() {
                    self.greet(context);
                } else if agent.link == Link::Up(conn) {
                    match result {
                        Ok(refusals) => {
                            let (node, (generation, revision)) = (self.index, holds);
                            context.trace.note(context.now, Note::Applied { node, generation, revision });
                            context.oracle.says_it_holds(self.index, holds);
                            agent.session.committed(applied, refusals);
                        }
                        Err(_) => self.hang_up(CloseCode::GoingAway, "a change cannot be kept", context),
                    }
                }
            }
            Output::Ask(request) => agent.requests.push_back(request),
            Output::Report(report) => {
                self.spoken.insert(report.uid.clone(), (*report).clone());
                agent.unacked.reported((*report).clone());
                agent.session.report(*report);
            }
            Output::Forgotten { uid, .. } => {
                agent.unacked.forget(&uid);
                self.logs.retain(|(of, _), _| *of != uid);
            }
            Output::Locate(digest) => {
                let is_here = self.modules.contains(&digest);
                let presence = if is_here { Presence::Here } else { Presence::Missing };
                agent.core.handle_module(digest, presence, now);
            }
            Output::Fetch { digest, .. } => self.fetch(digest, context),
            Output::Prepare(preparation) => self.prepare(preparation, context),
            Output::Check(order) => {
                let takes = context.rng.random_range(Duration::from_millis(1)..LOOK);
                let event = Event::Checked { node: self.index, life: self.life, order };
                context.agenda.at(context.now + takes, event);
            }
            Output::StartOver => agent.session.start_over(),
            Output::Event(event) => agent.session.event(event),
            Output::Facts(facts) => agent.session.facts(*facts),
            Output::Notice(Notice::Panicked(uid)) => {
                context.oracle.violate(format!("the machine of {uid} on {} panicked", self.name));
            }
            // Nothing here is a Linux image.
            Output::Survey(order) => agent.core.handle_surveyed(&order.uid, Residence::Shared, now),
            Output::AskPod(..) | Output::OpenSandbox(_) | Output::CloseSandbox(_) | Output::AskToken(_) => {}
            // No node here has manifests of its own, and no pod an image of another registry or a token.
            Output::Pull(_)
            | Output::Sweep(_)
            | Output::Reclaim(_)
            | Output::DropLogs(_)
            | Output::Project(_)
            | Output::Unmount(_)
            | Output::State(_)
            | Output::StaticPods(_)
            | Output::Pods(_)
            | Output::Notice(_) => {}
        }
    }

    fn act_on_session(&mut self, output: NodeOutput, context: &mut Context) {
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        match output {
            NodeOutput::Connect => self.dial(context),
            NodeOutput::Opened(_) => {
                if let Link::Up(conn) = agent.link {
                    context.oracle.node_opened(self.index, conn);
                }
                if context.plant == Some(Plant::ReplayedStatus) && self.boot > 1 {
                    self.replay();
                }
            }
            NodeOutput::Commit(change) => {
                let Link::Up(conn) = agent.link else { return };
                agent.tickets += 1;
                let ticket = ChangeTicket(agent.tickets);
                agent.committing = Some((ticket, conn));
                let named: Option<Vec<PodUid>> = change
                    .base
                    .is_none()
                    .then(|| change.upserts.iter().map(|(_, pod)| pod.uid.clone()).collect());
                agent.core.handle_change(ticket, change, now);
                if let (Some(named), Some(Plant::DeletionByAbsence)) = (named, context.plant) {
                    self.stop_unnamed(&named, context);
                }
            }
            NodeOutput::Acked(reports) => agent.unacked.acked(&reports),
            NodeOutput::Renewed(_) | NodeOutput::StaticPodsWanted(_) => {}
        }
    }

    fn dial(&mut self, context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        let conn = context.network.open(self.index);
        agent.link = Link::Dialing(conn);
        context.trace.note(context.now, Note::Dialed(self.index, conn));
        if context.network.is_cut(self.index) {
            let patience = context.rng.random_range(DIAL_PATIENCE / 2..DIAL_PATIENCE);
            context.agenda.at(context.now + patience, Event::Broken { conn, side: Side::Node });
            return;
        }
        let there = context.network.delay(self.index);
        context.agenda.at(context.now + there, Event::Accepted { conn });
    }

    /// Begins the session on a connection that is up.
    fn greet(&mut self, context: &mut Context) {
        let wall = self.wall(context.now);
        let Some(agent) = &mut self.agent else { return };
        let applied = agent.core.applied();
        context.oracle.says_it_holds(self.index, (applied.restore_generation, applied.revision));
        let unacked = agent.unacked.iter().cloned().collect();
        agent.session.handle_connected(context.now, wall, applied, unacked);
    }

    fn transmit(&mut self, context: &mut Context) {
        let wall = self.wall(context.now);
        let Some(agent) = &mut self.agent else { return };
        let Link::Up(conn) = agent.link else { return };
        if agent.waiting.is_some() {
            return;
        }
        while let Some(bytes) = agent.session.poll_transmit(wall) {
            context.send(conn, Side::Coordinator, bytes);
        }
    }

    fn fail(&mut self, error: &SessionError, context: &mut Context) {
        context.oracle.session_failed("node", &self.name, error);
        self.hang_up(error.close_code(), &error.reason(), context);
    }

    fn hang_up(&mut self, code: CloseCode, reason: &str, context: &mut Context) {
        if let Some(conn) = self.connection() {
            context.close(conn, Side::Node, code, reason);
        }
        self.disconnect(context);
    }

    fn disconnect(&mut self, context: &mut Context) {
        let Some(agent) = &mut self.agent else { return };
        agent.link = Link::None;
        agent.waiting = None;
        context.oracle.node_ended(self.index);
        agent.session.handle_disconnected(context.now, &mut context.rng);
    }

    fn obey(&mut self, request: Request, context: &mut Context) {
        if let Request::Stop { id, grace_ms } = &request {
            self.note_stop(id, *grace_ms, context);
        }
        if let Some(effect) = self.runner.handle(request, context.now, &mut context.rng) {
            self.note_effect(effect, context);
        }
    }

    fn note_stop(&self, id: &ContainerId, grace_ms: u64, context: &mut Context) {
        let Some((_, owner)) = self.runner.alive().find(|(other, _)| *other == id) else { return };
        let uid = PodUid::new(owner.pod_uid.clone());
        context.trace.note(context.now, Note::Stop { node: self.index, uid, grace_ms });
        context.oracle.told_to_stop(self.index, id);
    }

    fn note_effect(&mut self, effect: Effect, context: &mut Context) {
        let node = self.index;
        match effect {
            Effect::Started(id, owner) => {
                let uid = PodUid::new(owner.pod_uid.clone());
                context
                    .trace
                    .note(context.now, Note::Start { node, uid: uid.clone(), attempt: owner.attempt });
                self.logs.insert((uid.clone(), owner.container), owner.attempt);
                let pod = key_of(&owner.namespace, &owner.pod);
                context.oracle.started(node, id, Running { uid, pod, node: self.name.clone() });
            }
            Effect::Ended(id, owner, why) => {
                let uid = PodUid::new(owner.pod_uid);
                context.trace.note(context.now, Note::Ended { node, uid, why });
                context.oracle.ended(node, &id);
            }
        }
    }

    fn fetch(&mut self, digest: Digest, context: &mut Context) {
        let takes = context.rng.random_range(FETCH / 50..FETCH);
        let event = Event::Fetched { node: self.index, life: self.life, digest };
        context.agenda.at(context.now + takes, event);
    }

    /// A fetch ends, or is tried again while nobody is reached.
    pub(crate) fn handle_fetched(&mut self, life: u32, digest: Digest, context: &mut Context) {
        if life != self.life {
            return;
        }
        if !context.oracle.is_in_touch(self.index, &context.network) {
            return self.fetch(digest, context);
        }
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        let arrived = if context.rng.random_bool(FETCH_FAILURES) {
            Err("the disk is full".to_owned())
        } else {
            self.modules.insert(digest);
            Ok(Arrived { took_ms: 1, bytes: 1 })
        };
        agent.core.handle_fetched(digest, arrived, now);
        self.pump(context);
    }

    /// A look at a guest ends.
    pub(crate) fn handle_checked(&mut self, life: u32, order: &CheckOrder, context: &mut Context) {
        if life != self.life {
            return;
        }
        let now = self.now(context.now);
        let outcome = self.runner.look(&order.id, &mut context.rng);
        let liveness = format!(":{LIVENESS_PORT}");
        let is_liveness = matches!(&order.check.what, What::Tcp(target) if target.shown.ends_with(&liveness));
        if is_liveness {
            context.oracle.looked_at(self.index, &order.id, &outcome);
        }
        let Some(agent) = &mut self.agent else { return };
        agent.core.handle_checked(&order.key, outcome, now);
        self.pump(context);
    }

    /// Makes room for a run's log, unless there is one of this run or a later one.
    fn prepare(&mut self, preparation: Preparation, context: &Context) {
        let now = self.now(context.now);
        let Some(agent) = &mut self.agent else { return };
        let Preparation { run, container, .. } = preparation;
        let last = self.logs.get(&(run.uid.clone(), container)).copied();
        let prepared = match last.filter(|last| *last >= run.attempt) {
            Some(attempt) => Prepared::Begun { attempt },
            None => Prepared::Ready {
                log: "log".to_owned(),
                material: Material::Module { module: "module".to_owned(), files: GuestFiles::default() },
            },
        };
        agent.core.handle_prepared(run, prepared, now);
    }

    /// A planted bug: a snapshot is taken as the whole truth.
    fn stop_unnamed(&mut self, named: &[PodUid], context: &mut Context) {
        let unnamed: Vec<ContainerId> = self
            .runner
            .alive()
            .filter(|(_, owner)| !named.iter().any(|uid| uid.as_str() == owner.pod_uid))
            .map(|(id, _)| id.clone())
            .collect();
        for id in unnamed {
            self.obey(Request::Stop { id, grace_ms: 0 }, context);
        }
    }

    /// A planted bug: what was said before the reboot is said again, as if it were new.
    fn replay(&mut self) {
        let starts = self.disk.starts;
        let Some(agent) = &mut self.agent else { return };
        for report in std::mem::take(&mut self.spoken).into_values() {
            let sequence = (starts << 32) | u64::from(u32::MAX);
            agent.session.report(dunlin_link::status::PodStatusReport { sequence, ..report });
        }
    }
}

/// Longest fetch of a module by a node in touch.
const FETCH: Duration = Duration::from_secs(5);

/// Longest look at a guest.
const LOOK: Duration = Duration::from_millis(300);

/// How many fetches fail.
const FETCH_FAILURES: f64 = 0.02;

/// How long a dial that nobody answers lasts.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);
