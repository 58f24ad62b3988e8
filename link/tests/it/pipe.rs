//! Both machines connected by a pipe that delivers any number of bytes, breaks anywhere, and goes on delivering what an old
//! connection carried long after the node has opened another. A seed decides everything; the same seed repeats a failure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignedPod, AssignmentChange, Desired},
    codec,
    held::HeldSet,
    message::{Epoch, Tunables},
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

use crate::samples;

/// The node's disk and its pods, kept as the real agent keeps them.
#[derive(Default)]
struct Agent {
    held: HeldSet,
    orphans: BTreeSet<PodUid>,
    objects: BTreeSet<Digest>,
    sequences: BTreeMap<PodUid, u64>,
    unacked: BTreeMap<PodUid, PodStatusReport>,
}

impl Agent {
    fn applied(&self) -> Applied {
        Applied {
            revision: self.held.revision,
            restore_generation: 0,
            protocol: 8,
            state_digest: self.held.digest(),
        }
    }

    /// Applies a change, unless it leads to another set than the coordinator means; answers the reports that it causes.
    fn commit(&mut self, change: &AssignmentChange) -> Vec<PodStatusReport> {
        assert!(change.revision >= self.held.revision, "an older revision was applied");
        let mut after = self.held.clone();
        let _left_held = after.apply(change);
        if after.digest() != change.state_digest {
            return Vec::new();
        }
        if change.base.is_none() {
            let is_named =
                |uid: &&PodUid| after.tombstones.contains_key(*uid) || after.pods.contains_key(*uid);
            for uid in self.held.tombstones.keys().filter(|uid| !is_named(uid)) {
                self.unacked.remove(uid);
                self.sequences.remove(uid);
            }
        }
        self.objects.extend(change.objects.iter().map(|(digest, _)| *digest));
        for (_, pod) in &change.upserts {
            let named = pod.config.iter().filter_map(|config| config.digest);
            named.for_each(|digest| assert!(self.objects.contains(&digest), "a pod without its content"));
        }
        let running: BTreeSet<PodUid> = self.held.pods.keys().cloned().collect();
        let orphans = self.held.apply(change);
        self.orphans.extend(orphans);
        self.orphans
            .retain(|uid| !self.held.pods.contains_key(uid) && !self.held.tombstones.contains_key(uid));
        for uid in &change.forget {
            let last = self.unacked.remove(uid);
            assert!(last.is_none_or(|report| report.stopped), "told to forget a pod that did not stop");
            assert!(!running.contains(uid), "told to forget a pod that was never told to stop");
            self.orphans.remove(uid);
            self.sequences.remove(uid);
        }
        assert_eq!(self.orphans.len(), 0, "the desired set never loses a pod, so none may become an orphan");
        let buried: Vec<PodUid> = change.tombstones.iter().map(|tombstone| tombstone.uid.clone()).collect();
        let started: Vec<PodUid> = change.upserts.iter().map(|(_, pod)| pod.uid.clone()).collect();
        started.iter().chain(&buried).map(|uid| self.report(uid)).collect()
    }

    /// The next report of a pod.
    fn report(&mut self, uid: &PodUid) -> PodStatusReport {
        let sequence = self.sequences.entry(uid.clone()).or_default();
        *sequence += 1;
        let mut report = samples::report(uid, *sequence);
        report.stopped = self.held.tombstones.contains_key(uid);
        self.unacked.insert(uid.clone(), report.clone());
        report
    }
}

/// One connection as the coordinator sees it, and the bytes that are under way.
struct Connection {
    session: CoordinatorSession,
    epoch: Option<Epoch>,
    to_coordinator: VecDeque<u8>,
    to_node: VecDeque<u8>,
}

struct World {
    rng: SmallRng,
    now: Moment,
    node_name: NodeName,
    agent: Agent,
    node: NodeSession,
    /// The connection that the node has, and those that it gave up but that the coordinator still hears.
    current: Option<Connection>,
    old: Vec<Connection>,
    term: u64,
    registry: Registry,
    desired: Desired,
    recorded: BTreeMap<PodUid, (u64, bool)>,
    pods_made: u32,
    resyncs: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = NodeConfig {
            node: NodeName::new("n1"),
            boot_id: BootId([1; 16]),
            agent: 1,
            cluster_id: "c".into(),
            sealing_key: None,
        };
        Self {
            rng: SmallRng::seed_from_u64(seed),
            now: Moment::default(),
            node_name: config.node.clone(),
            agent: Agent::default(),
            node: NodeSession::new(config, samples::facts(), Moment::default()),
            current: None,
            old: Vec::new(),
            term: 1,
            registry: Registry::new(1),
            desired: Desired::default(),
            recorded: BTreeMap::new(),
            pods_made: 0,
            resyncs: 0,
        }
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(i64::try_from(self.now.0.as_millis()).unwrap())
    }

    /// One random event.
    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..3 => self.cut(),
            3..5 => self.restart_coordinator(),
            5..12 => self.add_pod(),
            12..16 => self.change_pod(),
            16..20 => self.delete_pod(),
            20..22 => self.shorten_grace(),
            22..30 => self.pod_changes(),
            30..35 => self.advance(Duration::from_millis(900)),
            35..45 => self.deliver_old(),
            _ => self.deliver(),
        }
        self.turn();
    }

    fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        if self.node.handle_timeout(self.now).is_err() {
            self.cut();
        }
        let now = self.now;
        let failed =
            self.current.as_mut().is_some_and(|current| current.session.handle_timeout(now).is_err());
        if failed {
            self.cut();
        }
    }

    /// Moves some bytes of the current connection in one direction or the other.
    fn deliver(&mut self) {
        let Some(connection) = &mut self.current else { return };
        let count = self.rng.random_range(1..2_000);
        if self.rng.random() {
            let count = count.min(connection.to_node.len());
            let bytes: Vec<u8> = connection.to_node.drain(..count).collect();
            self.node.handle_bytes(self.now, &bytes).unwrap();
        } else {
            let wall = self.wall();
            let connection = self.current.as_mut().unwrap();
            let count = count.min(connection.to_coordinator.len());
            let bytes: Vec<u8> = connection.to_coordinator.drain(..count).collect();
            if let Err(error) = connection.session.handle_bytes(self.now, wall, &bytes) {
                panic!("{}", error.reason());
            }
        }
    }

    /// Lets the coordinator hear more of a connection that the node has given up.
    fn deliver_old(&mut self) {
        if self.old.is_empty() {
            return;
        }
        let wall = self.wall();
        let index = self.rng.random_range(0..self.old.len());
        let count = self.rng.random_range(1..2_000).min(self.old[index].to_coordinator.len());
        let bytes: Vec<u8> = self.old[index].to_coordinator.drain(..count).collect();
        let ended = bytes.is_empty() || self.old[index].session.handle_bytes(self.now, wall, &bytes).is_err();
        if ended {
            let connection = self.old.swap_remove(index);
            if let Some(epoch) = connection.epoch {
                self.registry.close(&self.node_name, epoch);
            }
        }
    }

    /// The connection breaks for the node, with bytes under way.
    fn cut(&mut self) {
        if let Some(connection) = self.current.take() {
            self.old.push(connection);
            self.node.handle_disconnected(self.now, &mut self.rng);
        }
    }

    fn restart_coordinator(&mut self) {
        self.old.clear();
        if self.current.take().is_some() {
            self.node.handle_disconnected(self.now, &mut self.rng);
        }
        self.term += 1;
        self.registry = Registry::new(self.term);
        self.forget_what_is_not_stored();
    }

    /// What a start of the coordinator does to the desired set: pods have the revisions of their objects, which later statuses have
    /// moved, and a pod whose end is recorded has left no trace.
    fn forget_what_is_not_stored(&mut self) {
        let newest = self.desired.revision.0;
        for pod in Arc::make_mut(&mut self.desired.pods).values_mut() {
            if self.rng.random() {
                pod.revision = Revision(self.rng.random_range(pod.revision.0..=newest));
            }
        }
        let is_over = |uid: &PodUid| self.recorded.get(uid).is_some_and(|(_, stopped)| *stopped);
        let over: Vec<PodUid> = self.desired.tombstones.keys().filter(|uid| is_over(uid)).cloned().collect();
        for uid in over {
            Arc::make_mut(&mut self.desired.tombstones).remove(&uid);
            Arc::make_mut(&mut self.desired.pods).remove(&uid);
        }
        self.next_revision();
    }

    fn add_pod(&mut self) {
        self.pods_made += 1;
        let text = self.rng.random_range(0..3).to_string();
        self.assign(samples::uid(self.pods_made), &text);
    }

    fn change_pod(&mut self) {
        if let Some(uid) = self.any(self.desired.pods.keys().cloned().collect()) {
            let text = self.rng.random_range(0..3).to_string();
            self.assign(uid, &text);
        }
    }

    fn assign(&mut self, uid: PodUid, text: &str) {
        let revision = self.next_revision();
        let object = samples::config(text);
        let digest = Digest::of(&codec::encode(&object));
        let assignment = Arc::new(samples::pod(&uid, 1, Some(digest)));
        Arc::make_mut(&mut self.desired.objects).insert(digest, Arc::new(object));
        Arc::make_mut(&mut self.desired.pods).insert(uid, AssignedPod { revision, assignment });
        self.desired_changed();
    }

    fn delete_pod(&mut self) {
        if let Some(uid) = self.any(self.desired.pods.keys().cloned().collect()) {
            self.next_revision();
            let tombstone = samples::tombstone(&uid);
            Arc::make_mut(&mut self.desired.tombstones).insert(uid, tombstone);
            self.desired_changed();
        }
    }

    /// A second deletion leaves a pod less time than the first.
    fn shorten_grace(&mut self) {
        if let Some(uid) = self.any(self.desired.tombstones.keys().cloned().collect()) {
            self.next_revision();
            let tombstones = Arc::make_mut(&mut self.desired.tombstones);
            tombstones.entry(uid).and_modify(|tombstone| tombstone.grace_seconds /= 2);
            self.desired_changed();
        }
    }

    fn pod_changes(&mut self) {
        if let Some(uid) = self.any(self.agent.held.pods.keys().cloned().collect()) {
            let report = self.agent.report(&uid);
            self.node.report(report);
        }
    }

    fn any(&mut self, uids: Vec<PodUid>) -> Option<PodUid> {
        (!uids.is_empty()).then(|| uids[self.rng.random_range(0..uids.len())].clone())
    }

    fn next_revision(&mut self) -> Revision {
        self.desired.revision.0 += self.rng.random_range(1..4);
        self.desired.revision
    }

    fn desired_changed(&mut self) {
        for connection in self.current.iter_mut().chain(&mut self.old) {
            connection.session.set_desired(self.desired.clone(), self.now).unwrap();
        }
    }

    /// Lets every machine say and do what it has to.
    fn turn(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.act_for_node(output);
        }
        let wall = self.wall();
        if let Some(connection) = &mut self.current {
            while let Some(bytes) = self.node.poll_transmit(wall) {
                connection.to_coordinator.extend(bytes);
            }
        }
        let mut connections: Vec<Connection> = self.old.drain(..).collect();
        let has_current = self.current.is_some();
        connections.extend(self.current.take());
        for connection in &mut connections {
            self.act_for_coordinator(connection);
            while let Some(bytes) = connection.session.poll_transmit() {
                connection.to_node.extend(bytes);
            }
        }
        self.current = if has_current { connections.pop() } else { None };
        self.old = connections;
        // A coordinator closes the connection that it refused or replaced.
        if self.current.as_ref().is_some_and(|current| {
            current.epoch.is_some_and(|epoch| !self.registry.is_current(&self.node_name, epoch))
        }) {
            self.cut();
        }
    }

    fn act_for_node(&mut self, output: NodeOutput) {
        match output {
            NodeOutput::Connect => {
                let unacked = self.agent.unacked.values().cloned().collect();
                self.node.handle_connected(self.now, self.wall(), self.agent.applied(), unacked);
                let config = CoordinatorConfig {
                    node: self.node_name.clone(),
                    cluster_id: "c".into(),
                    restore_generation: 0,
                    tunables: Tunables {
                        keep_alive_ms: 25_000,
                        idle_timeout_ms: 60_000,
                        reconnect_ms_max: 2_000,
                    },
                    sealing_seed: self.rng.random(),
                };
                self.current = Some(Connection {
                    session: CoordinatorSession::new(config, self.now),
                    epoch: None,
                    to_coordinator: VecDeque::new(),
                    to_node: VecDeque::new(),
                });
            }
            NodeOutput::Commit(change) => {
                let reports = self.agent.commit(&change);
                reports.into_iter().for_each(|report| self.node.report(report));
                self.node.committed(self.agent.applied(), Vec::new());
            }
            NodeOutput::Acked(reports) => {
                for (uid, sequence) in reports {
                    if self.agent.unacked.get(&uid).is_some_and(|report| report.sequence <= sequence) {
                        self.agent.unacked.remove(&uid);
                    }
                }
            }
            NodeOutput::Opened(_) | NodeOutput::Renewed(_) | NodeOutput::StaticPodsWanted(_) => {}
        }
    }

    fn act_for_coordinator(&mut self, connection: &mut Connection) {
        while let Some(output) = connection.session.poll_output() {
            if let CoordinatorOutput::Greeted { attempt, boot_id, .. } = output {
                let wall = self.wall();
                let caller = Caller { boot_id, attempt };
                let arrival = self.registry.arrive(&self.node_name, caller, self.now);
                if let Ok(Arrival::Seated(epoch)) = arrival {
                    connection.epoch = Some(epoch);
                    connection.session.welcome(epoch, self.desired.clone(), self.now, wall).unwrap();
                } else {
                    connection.session.refuse("stale".into());
                }
                continue;
            }
            let is_current =
                connection.epoch.is_some_and(|epoch| self.registry.is_current(&self.node_name, epoch));
            if !is_current {
                continue;
            }
            match output {
                CoordinatorOutput::Statuses(reports) => self.record(connection, &reports),
                CoordinatorOutput::Buried(uids) => {
                    // Now and then finalizers hold the pods: their orders stay for now, and have to come up again.
                    let is_held = self.rng.random_range(0..4) == 0;
                    for uid in uids.iter().filter(|_| !is_held) {
                        Arc::make_mut(&mut self.desired.tombstones).remove(uid);
                        Arc::make_mut(&mut self.desired.pods).remove(uid);
                    }
                    self.next_revision();
                    self.desired_changed();
                    connection.session.set_desired(self.desired.clone(), self.now).unwrap();
                }
                CoordinatorOutput::Resynced(_) => self.resyncs += 1,
                _ => {}
            }
        }
    }

    fn record(&mut self, connection: &mut Connection, reports: &[PodStatusReport]) {
        let mut results = Vec::new();
        for report in reports {
            if self.rng.random_range(0..10) == 0 {
                results.push((report.uid.clone(), Recorded::Retry));
                continue;
            }
            let known = self.recorded.entry(report.uid.clone()).or_default();
            // A node that was told to forget, but whose acknowledgement was lost, is told to stop the pod once more and counts anew.
            assert!(known.1 || known.0 <= report.sequence, "the state of {} went back", report.uid);
            assert!(!known.1 || report.stopped, "{} came back to life", report.uid);
            *known = (report.sequence, report.stopped);
            let is_named = self.desired.pods.contains_key(&report.uid)
                || self.desired.tombstones.contains_key(&report.uid);
            let result = if is_named { Recorded::Done } else { Recorded::Gone };
            results.push((report.uid.clone(), result));
        }
        connection.session.recorded(&results, self.now).unwrap();
    }

    /// Whether both sides agree and nothing is left to say.
    fn has_converged(&self) -> bool {
        let target = HeldSet::of(&self.desired);
        self.node.is_open()
            && self.desired.tombstones.is_empty()
            && (&self.agent.held.pods, &self.agent.held.tombstones) == (&target.pods, &target.tombstones)
            && self.agent.unacked.is_empty()
            && self.agent.sequences.iter().all(|(uid, sequence)| {
                self.recorded.get(uid).is_some_and(|(recorded, _)| recorded == sequence)
            })
    }
}

#[test]
fn both_sides_agree_after_any_loss_and_states_never_go_back() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            world.step();
        }
        assert!(world.settles(20_000), "seed {seed} does not settle");
    }
}

#[test]
fn a_node_that_lost_its_disk_gets_a_snapshot_and_keeps_no_orphan() {
    let mut world = World::new(1);
    (0..5).for_each(|_| world.add_pod());
    world.agent = Agent::default();
    assert!(world.settles(5_000));
    assert_eq!(world.agent.held.pods.len(), 5);
}

#[test]
fn a_delta_that_does_not_fit_is_followed_by_a_snapshot() {
    let mut world = World::new(1);
    (0..3).for_each(|_| world.add_pod());
    assert!(world.settles(5_000));
    assert_eq!(world.resyncs, 0);

    // The coordinator starts anew and reads the first pod with the revision of its last status, below what the node holds.
    let newest = world.desired.revision;
    let first = samples::uid(1);
    let pod = &mut Arc::make_mut(&mut world.desired.pods).get_mut(&first).unwrap().revision;
    assert!(*pod < newest);
    *pod = newest;
    world.next_revision();
    world.term += 1;
    world.registry = Registry::new(world.term);
    world.cut();
    assert!(world.settles(5_000));
    assert_eq!(world.resyncs, 1);

    // A pod stops, and its last trace goes before the node is told to forget it.
    world.delete_pod();
    world.recorded.clear();
    assert!((0..5_000).any(|_| {
        world.pass();
        world.recorded.values().any(|(_, stopped)| *stopped)
    }));
    world.restart_coordinator();
    assert!(world.settles(5_000));
    assert!(world.desired.tombstones.is_empty());
    assert_eq!(world.agent.held.pods.len(), 2);
}

#[test]
fn an_old_epoch_is_refused_by_the_node() {
    let mut world = World::new(1);
    world.registry = Registry::new(9);
    let open = |world: &mut World| {
        (0..5_000).any(|_| {
            world.advance(Duration::from_millis(100));
            world.turn();
            let Some(connection) = &mut world.current else { return false };
            let up: Vec<u8> = connection.to_coordinator.drain(..).collect();
            let wall = UnixMillis(0);
            connection.session.handle_bytes(world.now, wall, &up).unwrap();
            world.turn();
            world.current.as_ref().is_some_and(|connection| !connection.to_node.is_empty())
        })
    };
    assert!(open(&mut world));
    world.deliver_all_to_node().unwrap();
    world.cut();
    world.registry = Registry::new(8);
    assert!(open(&mut world));
    let error = world.deliver_all_to_node().unwrap_err();
    assert!(matches!(error, SessionError::StaleEpoch { .. }), "{error}");
}

impl World {
    /// Lets a little time pass in which nothing is lost.
    fn pass(&mut self) {
        self.advance(Duration::from_millis(100));
        self.turn();
        self.deliver();
        self.turn();
    }

    /// Whether both sides agree within so many passes.
    fn settles(&mut self, passes: u32) -> bool {
        (0..passes).any(|_| {
            self.pass();
            self.has_converged()
        })
    }

    fn deliver_all_to_node(&mut self) -> Result<(), SessionError> {
        let connection = self.current.as_mut().unwrap();
        let bytes: Vec<u8> = connection.to_node.drain(..).collect();
        self.node.handle_bytes(self.now, &bytes)
    }
}
