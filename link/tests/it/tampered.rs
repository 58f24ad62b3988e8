//! A recorded conversation, played to either machine replayed, reordered, cut, oversized and mixed with frames that belong elsewhere:
//! each is an error or has no effect, nothing goes back, and an honest other side brings the machine into step afterwards.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignedPod, AssignmentChange, Desired},
    codec,
    frame::{self, HEADER_BYTES},
    held::HeldSet,
    limits::{CONTROL_FRAME_BYTES_MAX, SESSION_QUEUE_MAX},
    message::{AssignmentAck, Resync, Tunables},
    moment::Moment,
    session::{
        SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession, Recorded},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
        registry::{Arrival, Caller, Registry},
    },
    status::PodStatusReport,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{golden, samples};

const NOW: Moment = Moment(Duration::ZERO);
const WALL: UnixMillis = UnixMillis(0);

/// What the node keeps on its disk.
#[derive(Default)]
struct Holder {
    held: HeldSet,
    sequence: u64,
}

impl Holder {
    fn applied(&self) -> Applied {
        Applied {
            revision: self.held.revision,
            restore_generation: 0,
            protocol: 8,
            state_digest: self.held.digest(),
        }
    }

    /// Applies a change that leads to the set which it names; answers the reports that it causes.
    fn commit(&mut self, change: &AssignmentChange) -> Vec<PodStatusReport> {
        assert!(change.revision >= self.held.revision, "an older revision is to be committed");
        let mut after = self.held.clone();
        let _left_held = after.apply(change);
        if after.digest() != change.state_digest {
            return Vec::new();
        }
        self.held = after;
        let started = change.upserts.iter().map(|(_, pod)| (&pod.uid, false));
        let stopped = change.tombstones.iter().map(|tombstone| (&tombstone.uid, true));
        let mut reports = Vec::new();
        for (uid, stopped) in started.chain(stopped) {
            self.sequence += 1;
            reports.push(PodStatusReport { stopped, ..samples::report(uid, self.sequence) });
        }
        reports
    }

    fn act(&mut self, node: &mut NodeSession) {
        while let Some(output) = node.poll_output() {
            if let NodeOutput::Commit(change) = output {
                self.commit(&change).into_iter().for_each(|report| node.report(report));
                node.committed(self.applied(), Vec::new());
            }
        }
    }
}

/// A frame, and how many of the sets its receiver had been given when it came.
#[derive(Clone)]
struct Step {
    stage: usize,
    bytes: Vec<u8>,
}

/// What an honest pair said, and every set that the node held meanwhile.
#[derive(Default)]
struct Conversation {
    up: Vec<Step>,
    down: Vec<Step>,
    digests: BTreeSet<Digest>,
}

/// Lets both machines talk over one connection while the desired set changes.
fn converse(
    node: &mut NodeSession,
    holder: &mut Holder,
    registry: &mut Registry,
    sets: &[Desired],
) -> Conversation {
    node.handle_connected(NOW, WALL, holder.applied(), Vec::new());
    let mut coordinator = CoordinatorSession::new(coordinator_config(), NOW);
    let mut said = Conversation::default();
    for (stage, set) in sets.iter().enumerate() {
        if coordinator.epoch().is_some() {
            coordinator.set_desired(set.clone(), NOW).unwrap();
        }
        loop {
            let before = said.up.len() + said.down.len();
            while let Some(bytes) = node.poll_transmit(WALL) {
                coordinator.handle_bytes(NOW, WALL, &bytes).unwrap();
                said.up.push(Step { stage, bytes });
            }
            while let Some(output) = coordinator.poll_output() {
                act_for_coordinator(&mut coordinator, registry, set, output);
            }
            while let Some(bytes) = coordinator.poll_transmit() {
                node.handle_bytes(NOW, &bytes).unwrap();
                said.down.push(Step { stage, bytes });
                holder.act(node);
                said.digests.insert(holder.held.digest());
            }
            if said.up.len() + said.down.len() == before {
                break;
            }
        }
    }
    said
}

fn act_for_coordinator(
    session: &mut CoordinatorSession,
    registry: &mut Registry,
    set: &Desired,
    output: CoordinatorOutput,
) {
    match output {
        CoordinatorOutput::Greeted { attempt, boot_id, .. } => {
            match registry.arrive(&name(), Caller { boot_id, attempt }, NOW) {
                Ok(Arrival::Seated(epoch)) => session.welcome(epoch, set.clone(), NOW, WALL).unwrap(),
                Ok(Arrival::Occupied { .. }) => drop(session.refuse("another agent".into())),
                Err(stale) => drop(session.refuse(stale.to_string())),
            }
        }
        CoordinatorOutput::Statuses(reports) => {
            let results: Vec<_> = reports.into_iter().map(|report| (report.uid, Recorded::Done)).collect();
            session.recorded(&results, NOW).unwrap();
        }
        _ => {}
    }
}

/// Pods come, change, are deleted and are gone.
fn sets() -> Vec<Desired> {
    let mut desired = Desired::default();
    let mut sets = Vec::new();
    for step in 1..=12_u32 {
        desired.revision = Revision(u64::from(step) * 10);
        let buried: Vec<PodUid> = desired.tombstones.keys().cloned().collect();
        for uid in &buried {
            Arc::make_mut(&mut desired.pods).remove(uid);
            Arc::make_mut(&mut desired.tombstones).remove(uid);
        }
        let uid = samples::uid(step);
        let object = samples::config(&step.to_string());
        let digest = Digest::of(&codec::encode(&object));
        let assignment = Arc::new(samples::pod(&uid, 1, Some(digest)));
        Arc::make_mut(&mut desired.objects).insert(digest, Arc::new(object));
        let pod = AssignedPod { revision: desired.revision, assignment };
        Arc::make_mut(&mut desired.pods).insert(uid, pod);
        if step % 3 == 0 {
            let oldest = desired.pods.keys().next().cloned().unwrap();
            let tombstone = samples::tombstone(&oldest);
            Arc::make_mut(&mut desired.tombstones).insert(oldest, tombstone);
        }
        sets.push(desired.clone());
    }
    sets
}

/// Changes a conversation as someone may who has its frames but not its order or its ends.
fn tamper(steps: &[Step], rng: &mut SmallRng) -> Vec<Step> {
    let foreign = golden::frames();
    let mut steps = steps.to_vec();
    for _ in 0..rng.random_range(1..5) {
        let at = rng.random_range(0..steps.len());
        let other = rng.random_range(0..steps.len());
        match rng.random_range(0..8) {
            0 => steps.insert(other, steps[at].clone()),
            1 => steps.swap(at, other),
            2 => steps[at.min(other)..].reverse(),
            3 if steps.len() > 1 => drop(steps.remove(at)),
            // The next frame's bytes are taken for the rest of this one.
            4 => steps[at].bytes.truncate(rng.random_range(0..200)),
            5 => {
                let bytes = &mut steps[at].bytes;
                bytes.truncate(rng.random_range(HEADER_BYTES..=bytes.len().max(HEADER_BYTES)));
                if let Some(body) = bytes.len().checked_sub(HEADER_BYTES) {
                    bytes[..4].copy_from_slice(&u32::try_from(body).unwrap().to_le_bytes());
                }
            }
            6 if steps[at].bytes.len() >= 4 => {
                let length = u32::try_from(CONTROL_FRAME_BYTES_MAX).unwrap() + rng.random_range(1..9);
                steps[at].bytes[..4].copy_from_slice(&length.to_le_bytes());
            }
            _ => {
                let bytes = foreign[rng.random_range(0..foreign.len())].1.clone();
                let stage = steps[at].stage;
                steps.insert(at, Step { stage, bytes });
            }
        }
    }
    steps
}

#[test]
fn a_node_is_not_moved_by_a_tampered_conversation() {
    let sets = sets();
    let said = converse(&mut new_node(), &mut Holder::default(), &mut Registry::new(1), &sets);
    assert!(said.down.len() > 40, "{}", said.down.len());
    let (mut refused, mut ended_early) = (0, 0);
    for seed in 0..400 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let (mut node, mut holder) = (new_node(), Holder::default());
        for _ in 0..2 {
            node.handle_connected(NOW, WALL, holder.applied(), Vec::new());
            let result = feed_node(&mut node, &mut holder, &tamper(&said.down, rng), &said.digests);
            refused += u32::from(result.is_err());
            ended_early += u32::from(holder.held.revision < Revision(120));
            node.handle_disconnected(NOW, rng);
        }
        // The true coordinator, in a later term.
        let last = &sets[sets.len() - 1..];
        converse(&mut node, &mut holder, &mut Registry::new(2), last);
        let (held, wanted) = (&holder.held, HeldSet::of(&last[0]));
        assert_eq!(held.revision, wanted.revision, "seed {seed}");
        assert_eq!(held.pods, wanted.pods, "seed {seed}");
    }
    assert!(refused > 400 && ended_early > 100, "the changes change nothing: {refused}, {ended_early}");
}

/// Feeds frames and checks after each that nothing went back, and that what is held was meant.
fn feed_node(
    node: &mut NodeSession,
    holder: &mut Holder,
    steps: &[Step],
    meant: &BTreeSet<Digest>,
) -> Result<(), SessionError> {
    let nothing = HeldSet::default().digest();
    for Step { bytes, .. } in steps {
        let before = (node.newest_epoch(), holder.held.revision);
        let taken = node.handle_bytes(NOW, bytes);
        holder.act(node);
        assert!(node.newest_epoch() >= before.0, "the epoch went back");
        assert!(holder.held.revision >= before.1, "the set went back");
        let digest = holder.held.digest();
        assert!(digest == nothing || meant.contains(&digest), "a set that nobody meant");
        taken?;
        while node.poll_transmit(WALL).is_some() {}
    }
    Ok(())
}

#[test]
fn a_replayed_conversation_ends_at_its_greeting() {
    let (mut node, mut holder, mut registry) = (new_node(), Holder::default(), Registry::new(1));
    let said = converse(&mut node, &mut holder, &mut registry, &sets());
    let rng = &mut SmallRng::seed_from_u64(1);
    node.handle_disconnected(NOW, rng);
    node.handle_connected(NOW, WALL, holder.applied(), Vec::new());
    let error = node.handle_bytes(NOW, &said.down[0].bytes).unwrap_err();
    assert!(matches!(error, SessionError::StaleEpoch { .. }), "{error}");

    let mut session = CoordinatorSession::new(coordinator_config(), NOW);
    session.handle_bytes(NOW, WALL, &said.up[0].bytes).unwrap();
    let output = session.poll_output().unwrap();
    act_for_coordinator(&mut session, &mut registry, &Desired::default(), output);
    assert_eq!(session.epoch(), None);
    for step in &said.up[1..] {
        session.handle_bytes(NOW, WALL, &step.bytes).unwrap();
        assert_eq!(session.poll_output(), None, "a session that was refused is listened to");
    }
}

#[test]
fn a_coordinator_believes_no_tampered_conversation() {
    let sets = sets();
    let said = converse(&mut new_node(), &mut Holder::default(), &mut Registry::new(1), &sets);
    assert!(said.up.len() > 20, "{}", said.up.len());
    let (mut refused, mut in_step) = (0, 0);
    for seed in 0..400 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let steps = tamper(&said.up, rng);
        let mut session = CoordinatorSession::new(coordinator_config(), NOW);
        let mut listener = Listener::new(&sets);
        match listener.feed(&mut session, &steps) {
            Ok(()) => in_step += u32::from(session.is_in_step()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100 && in_step > 10, "the changes change nothing: {refused}, {in_step}");
}

/// Plays the coordinator around a session whose node says what it likes.
struct Listener<'a> {
    sets: &'a [Desired],
    registry: Registry,
    /// Pods that were to stop at some time.
    deleted: BTreeSet<PodUid>,
}

impl<'a> Listener<'a> {
    fn new(sets: &'a [Desired]) -> Self {
        Self { sets, registry: Registry::new(1), deleted: BTreeSet::new() }
    }

    fn feed(&mut self, session: &mut CoordinatorSession, steps: &[Step]) -> Result<(), SessionError> {
        let mut stage = 0;
        let mut is_told_otherwise = false;
        for step in steps {
            while stage < step.stage {
                stage += 1;
                self.deleted.extend(self.sets[stage].tombstones.keys().cloned());
                session.set_desired(self.sets[stage].clone(), NOW).unwrap();
            }
            let waiting = std::iter::from_fn(|| session.poll_transmit()).count();
            assert!(waiting <= SESSION_QUEUE_MAX, "{waiting} frames wait");
            let before = (session.epoch(), session.acknowledged());
            session.handle_bytes(NOW, WALL, &step.bytes)?;
            while let Some(output) = session.poll_output() {
                is_told_otherwise |= matches!(output, CoordinatorOutput::Resynced(_));
                if let CoordinatorOutput::Buried(uids) = &output {
                    assert!(uids.iter().all(|uid| self.deleted.contains(uid)), "buried alive: {uids:?}");
                }
                act_for_coordinator(session, &mut self.registry, &self.sets[stage], output);
            }
            assert!(before.0.is_none() || session.epoch() == before.0, "the epoch changed");
            if !is_told_otherwise {
                assert!(session.acknowledged() >= before.1, "what the node holds went back");
                assert!(session.acknowledged() <= Some(self.sets[stage].revision));
            }
        }
        Ok(())
    }
}

#[test]
fn a_node_cannot_make_changes_wait_by_answering_what_it_has_not_got() {
    let sets = sets();
    for is_ack in [true, false] {
        let mut session = CoordinatorSession::new(coordinator_config(), NOW);
        let mut node = new_node();
        node.handle_connected(NOW, WALL, Holder::default().applied(), Vec::new());
        session.handle_bytes(NOW, WALL, &node.poll_transmit(WALL).unwrap()).unwrap();
        let output = session.poll_output().unwrap();
        act_for_coordinator(&mut session, &mut Registry::new(1), &sets[0], output);
        // It has read the greeting, and no more.
        assert!(session.poll_transmit().is_some());
        let revision = sets[0].revision;
        let answer = if is_ack {
            frame::encode(&AssignmentAck { revision, refusals: Vec::new() })
        } else {
            let state_digest = Digest::from_bytes([0; 32]);
            frame::encode(&Resync { revision: Revision(0), state_digest, reason: String::new() })
        };
        let error = session.handle_bytes(NOW, WALL, &answer).unwrap_err();
        assert!(error.to_string().contains("still being sent"), "{error}");
    }
}

#[test]
fn a_coordinator_that_does_not_listen_is_not_answered() {
    let (mut node, mut holder) = (new_node(), Holder::default());
    converse(&mut node, &mut holder, &mut Registry::new(1), &sets());
    // A kind that only a later version has; each is answered.
    let unknown = [0, 0, 0, 0, 0xff, 0x7f];
    for _ in 0..SESSION_QUEUE_MAX {
        node.handle_bytes(NOW, &unknown).unwrap();
    }
    assert!(matches!(node.handle_bytes(NOW, &unknown), Err(SessionError::Unread)));
    assert_eq!(std::iter::from_fn(|| node.poll_transmit(WALL)).count(), SESSION_QUEUE_MAX);
    node.handle_bytes(NOW, &unknown).unwrap();
}

fn name() -> NodeName {
    NodeName::new("n1")
}

fn new_node() -> NodeSession {
    let config = NodeConfig {
        node: name(),
        boot_id: BootId([1; 16]),
        agent: 1,
        cluster_id: "c".into(),
        sealing_key: None,
    };
    NodeSession::new(config, samples::facts(), NOW)
}

fn coordinator_config() -> CoordinatorConfig {
    CoordinatorConfig {
        node: name(),
        cluster_id: "c".into(),
        restore_generation: 0,
        tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
        sealing_seed: [7; 32],
    }
}
