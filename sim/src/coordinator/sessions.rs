//! The sessions of nodes, and where what they say enters the store.

use dunlin_coordinator_core::{
    deletion::{Manner, Stop},
    dispatch::tombstone_key,
    node_status, pod_status,
    view::Liveness,
};
use dunlin_link::{
    NodeName, PodUid, UnixMillis,
    message::{Epoch, Tunables},
    moment::Moment,
    restore::RestoreRecord,
    session::{
        CloseCode, SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession, Recorded},
        registry::{Arrival, Caller, StaleAttempt},
    },
    status::{NodeFacts, PodStatusReport},
};
use rand::Rng;
use serde_json::Value;

use super::{
    Coordinator,
    carry_out::{change, delete, wish},
    key_of,
    ops::{End, Op, Then, Verdict},
};
use crate::{
    context::{Authority, CLUSTER, Context, Event, unix_millis},
    keys,
    network::{ConnId, Side},
    plant::Plant,
};

/// One connection's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) node: NodeName,
    machine: CoordinatorSession,
    epoch: Option<Epoch>,
    recording: Option<Recording>,
    timer: Option<Moment>,
}

/// A batch of statuses on its way into the store.
#[derive(Debug)]
struct Recording {
    left: usize,
    results: Vec<(PodUid, Recorded)>,
}

impl Coordinator {
    /// A connection of `node` arrived, its certificate checked.
    pub(crate) fn handle_accepted(&mut self, conn: ConnId, node: NodeName, context: &mut Context) {
        let restore_generation = self.store.generation();
        let sealing_seed = context.rng.random();
        let restore = (restore_generation > 0).then(|| {
            Authority::sign(RestoreRecord {
                cluster_id: CLUSTER.to_owned(),
                generation: restore_generation,
                revision: self.store.restored_at(),
                restored_at: UnixMillis(0),
            })
        });
        let Some(process) = &mut self.process else { return };
        let config = CoordinatorConfig {
            node: node.clone(),
            cluster_id: CLUSTER.to_owned(),
            restore_generation,
            tunables: Tunables { keep_alive_ms: 25_000, idle_timeout_ms: 75_000, reconnect_ms_max: 60_000 },
            sealing_seed,
        };
        let machine = CoordinatorSession::new(config, context.now);
        let machine = match restore {
            Some(restore) => machine.restored(restore),
            None => machine,
        };
        process.sessions.insert(conn, Session { node, machine, epoch: None, recording: None, timer: None });
        self.pump(conn, context);
    }

    pub(crate) fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], context: &mut Context) {
        let (now, wall) = (context.now, unix_millis(context.wall()));
        let Some(session) = self.session(conn) else { return };
        match session.machine.handle_bytes(now, wall, bytes) {
            Ok(()) => self.pump(conn, context),
            Err(error) => self.fail(conn, &error, context),
        }
        self.turn(context);
    }

    /// The connection is known to be gone.
    pub(crate) fn handle_broken(&mut self, conn: ConnId, context: &mut Context) {
        self.end(conn, context);
        self.turn(context);
    }

    pub(crate) fn handle_session_time(&mut self, conn: ConnId, context: &mut Context) {
        let now = context.now;
        let Some(session) = self.session(conn) else { return };
        session.timer = None;
        match session.machine.handle_timeout(now) {
            Ok(()) => self.pump(conn, context),
            Err(error) => self.fail(conn, &error, context),
        }
        self.turn(context);
    }

    /// Hands changed sets to the sessions of these nodes.
    pub(super) fn tell_sessions(&mut self, nodes: &[NodeName], context: &mut Context) {
        let Some(process) = &self.process else { return };
        let concerned: Vec<ConnId> = process
            .sessions
            .iter()
            .filter(|(_, session)| session.epoch.is_some() && nodes.contains(&session.node))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in concerned {
            let Some(process) = &mut self.process else { return };
            let Some(session) = process.sessions.get_mut(&conn) else { continue };
            let desired = process.sets.desired(&session.node);
            match session.machine.set_desired(desired, context.now) {
                Ok(()) => self.pump(conn, context),
                Err(error) => self.fail(conn, &error, context),
            }
        }
    }

    /// Acts on what the session says, sends what it has to send, and sets its clock.
    fn pump(&mut self, conn: ConnId, context: &mut Context) {
        while let Some(session) = self.session(conn)
            && session.recording.is_none()
            && let Some(output) = session.machine.poll_output()
        {
            self.act_on(conn, output, context);
        }
        let Some(session) = self.session(conn) else { return };
        let node = session.node.clone();
        while let Some(bytes) = session.machine.poll_transmit() {
            context.send(conn, Side::Node, bytes);
        }
        if let Some(revision) = session.machine.acknowledged() {
            context.oracle.acknowledged(conn, &node, revision);
        }
        if let Some(at) = session.machine.poll_timeout()
            && session.timer.is_none_or(|known| at < known)
        {
            let at = at.max(context.now);
            session.timer = Some(at);
            context.agenda.at(at, Event::SessionTime { conn });
        }
    }

    fn act_on(&mut self, conn: ConnId, output: CoordinatorOutput, context: &mut Context) {
        let Some(session) = self.session(conn) else { return };
        let (node, epoch) = (session.node.clone(), session.epoch);
        let offset = session.machine.clock_offset_ms();
        if let Some(epoch) = epoch
            && !self.is_current(&node, epoch)
        {
            return self.close(conn, CloseCode::Superseded, "superseded by a newer session", context);
        }
        match output {
            CoordinatorOutput::Greeted { facts, boot_id, attempt } => {
                self.greet(conn, facts, Caller { boot_id, attempt }, context);
            }
            CoordinatorOutput::Statuses(reports) => self.record(conn, &node, reports, offset, context),
            CoordinatorOutput::Facts(facts) => self.register(&node, facts, context),
            CoordinatorOutput::Refused(refusals) => {
                for refusal in refusals {
                    self.refuse(&node, &refusal, context);
                }
            }
            CoordinatorOutput::Buried(uids) => {
                for uid in uids {
                    context.oracle.forgotten(&node, &uid);
                    self.drop_tombstone(&node, &uid, context);
                }
            }
            _ => {}
        }
    }

    fn greet(&mut self, conn: ConnId, facts: NodeFacts, caller: Caller, context: &mut Context) {
        let Some(process) = &mut self.process else { return };
        let (Some(registry), Some(session)) = (&mut process.registry, process.sessions.get_mut(&conn)) else {
            return;
        };
        let node = session.node.clone();
        let arrival = match registry.arrive(&node, caller, context.now) {
            // Each node has one machine here: another agent means that the one before is gone. The coordinator's shell asks.
            Ok(Arrival::Occupied { by, .. }) => registry.replace(&node, caller, by, context.now),
            arrival => arrival,
        };
        let epoch = match arrival {
            Ok(Arrival::Seated(epoch)) => epoch,
            Ok(Arrival::Occupied { .. }) | Err(StaleAttempt) => {
                let error = session.machine.refuse(StaleAttempt.to_string());
                return self.fail(conn, &error, context);
            }
        };
        let before: Vec<ConnId> = process
            .sessions
            .iter()
            .filter(|(other, session)| **other != conn && session.node == node && session.epoch.is_some())
            .map(|(other, _)| *other)
            .collect();
        // The planted bug needs the old session to linger until its connection is found to be gone.
        let lingers = context.plant == Some(Plant::OldSessionWins);
        for other in before.into_iter().filter(|_| !lingers) {
            self.close(other, CloseCode::Superseded, "superseded by a newer session", context);
        }
        let Some(process) = &mut self.process else { return };
        let Some(session) = process.sessions.get_mut(&conn) else { return };
        session.epoch = Some(epoch);
        let desired = process.sets.desired(&node);
        let wall = unix_millis(context.wall());
        if let Err(error) = session.machine.welcome(epoch, desired, context.now, wall) {
            return self.fail(conn, &error, context);
        }
        context.oracle.session_opened(conn, &node, context.now);
        self.heard(&node, Liveness::Live);
        self.register(&node, facts, context);
    }

    fn register(&mut self, node: &NodeName, facts: NodeFacts, context: &mut Context) {
        let now = context.wall();
        let name = node.clone();
        let decide = move |current: Option<&Value>| {
            let Some(current) = current else {
                let mut fresh = node_status::new_node(&name, &facts, now);
                fresh["metadata"]["uid"] = format!("uid-{name}").into();
                return Verdict::Put(fresh);
            };
            let mut new = current.clone();
            node_status::merge_status(&mut new, &facts, now);
            node_status::merge_labels(&mut new, &name, &facts);
            Verdict::Put(new)
        };
        self.attempt(Op::new(keys::node(node), Then::Nothing, decide), context);
    }

    fn record(
        &mut self,
        conn: ConnId,
        node: &NodeName,
        reports: Vec<PodStatusReport>,
        offset: i64,
        context: &mut Context,
    ) {
        let Some(session) = self.session(conn) else { return };
        session.recording = Some(Recording { left: reports.len(), results: Vec::new() });
        let now = context.wall();
        for report in reports {
            if context.rng.random_bool(RETRY_SHARE) {
                // As if the store had been too busy for this one.
                self.recorded(conn, report.uid, Recorded::Retry, context);
                continue;
            }
            let key = keys::pod(&key_of(&report.namespace, &report.name));
            let (merged, own) = (report.clone(), node.clone());
            let store = change(key, Then::Nothing, Some(report.uid.clone()), now, move |pod| {
                pod_status::merge(pod, &merged, offset)
            });
            let then = Then::Status { conn, node: own.clone(), report: Box::new(report) };
            self.attempt(store.only_of(own, then), context);
        }
    }

    /// A report's merge came to an end.
    pub(super) fn status_stored(
        &mut self,
        conn: ConnId,
        node: &NodeName,
        report: &PodStatusReport,
        end: End,
        context: &mut Context,
    ) {
        let uid = report.uid.clone();
        match end {
            End::Kept(pod) if report.stopped && !pod["metadata"]["deletionTimestamp"].is_null() => {
                let now = context.wall();
                let wish = wish(Some(0), Some(uid.clone()), Stop::Confirmed);
                let key = keys::pod(&key_of(&report.namespace, &report.name));
                let then = Then::Removed { conn, node: node.clone(), uid };
                let remove = move |current: Option<&Value>| delete(Manner::Pod, current, &wish, now);
                self.attempt(Op::new(key, then, remove), context);
            }
            End::Kept(_) | End::Removed => self.recorded(conn, uid, Recorded::Done, context),
            End::Gone | End::Refused => {
                if report.stopped {
                    self.drop_tombstone(node, &uid, context);
                }
                self.recorded(conn, uid, Recorded::Gone, context);
            }
        }
    }

    /// A stopped pod's removal came to an end.
    pub(super) fn pod_removed(
        &mut self,
        conn: ConnId,
        node: &NodeName,
        uid: PodUid,
        end: &End,
        context: &mut Context,
    ) {
        match end {
            End::Kept(_) | End::Removed => self.recorded(conn, uid, Recorded::Done, context),
            End::Gone | End::Refused => {
                self.drop_tombstone(node, &uid, context);
                self.recorded(conn, uid, Recorded::Gone, context);
            }
        }
    }

    fn recorded(&mut self, conn: ConnId, uid: PodUid, recorded: Recorded, context: &mut Context) {
        let now = context.now;
        let Some(session) = self.session(conn) else { return };
        let Some(recording) = &mut session.recording else { return };
        recording.left -= 1;
        recording.results.push((uid, recorded));
        if recording.left > 0 {
            return;
        }
        let Some(Recording { results, .. }) = session.recording.take() else { return };
        match session.machine.recorded(&results, now) {
            Ok(()) => self.pump(conn, context),
            Err(error) => self.fail(conn, &error, context),
        }
    }

    fn refuse(&mut self, node: &NodeName, refusal: &dunlin_link::assignment::Refusal, context: &mut Context) {
        let Some(process) = &self.process else { return };
        let desired = process.sets.desired(node);
        let Some(pod) = desired.pods.get(&refusal.uid) else { return };
        let key = keys::pod(&key_of(&pod.assignment.namespace, &pod.assignment.name));
        let now = context.wall();
        let (reason, message) = (refusal.reason.clone(), refusal.message.clone());
        let refuse = move |pod: &mut Value| pod_status::refuse(pod, &reason, &message, now);
        self.attempt(change(key, Then::Nothing, Some(refusal.uid.clone()), now, refuse), context);
    }

    fn drop_tombstone(&mut self, node: &NodeName, uid: &PodUid, context: &mut Context) {
        let drop = |current: Option<&Value>| match current {
            Some(_) => Verdict::Remove(None),
            None => Verdict::Keep,
        };
        self.attempt(Op::new(tombstone_key(node, uid), Then::Nothing, drop), context);
    }

    fn fail(&mut self, conn: ConnId, error: &SessionError, context: &mut Context) {
        if let Some(session) = self.session(conn) {
            context.oracle.session_failed("coordinator", &session.node, error);
        }
        self.close(conn, error.close_code(), &error.reason(), context);
    }

    /// Closes a connection from this side.
    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str, context: &mut Context) {
        if let Some(session) = self.session(conn) {
            while let Some(bytes) = session.machine.poll_transmit() {
                context.send(conn, Side::Node, bytes);
            }
        }
        context.close(conn, Side::Coordinator, code, reason);
        self.end(conn, context);
    }

    /// Forgets a session; the node is silent if this was its current one.
    fn end(&mut self, conn: ConnId, context: &mut Context) {
        let Some(process) = &mut self.process else { return };
        let Some(session) = process.sessions.remove(&conn) else { return };
        context.oracle.session_ended(conn, &session.node);
        let (Some(epoch), Some(registry)) = (session.epoch, &mut process.registry) else { return };
        let was_current = registry.close(&session.node, epoch);
        if was_current || context.plant == Some(Plant::OldSessionWins) {
            self.heard(&session.node, Liveness::Silent(context.wall()));
        }
    }

    fn heard(&mut self, node: &NodeName, liveness: Liveness) {
        if let Some(process) = &mut self.process {
            process.reconciler.heard(node.clone(), liveness);
        }
    }

    fn is_current(&self, node: &NodeName, epoch: Epoch) -> bool {
        let registry = self.process.as_ref().and_then(|process| process.registry.as_ref());
        registry.is_some_and(|registry| registry.is_current(node, epoch))
    }

    fn session(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.process.as_mut()?.sessions.get_mut(&conn)
    }
}

/// How many reports the store has no time for.
const RETRY_SHARE: f64 = 0.01;
