//! Restore generations: which coordinators a node accepts, and how its set comes over from before a restore.

use std::{sync::Arc, time::Duration};

use dunlin_link::{
    BootId, Digest, NodeName, PodUid, Revision, UnixMillis,
    assignment::{AssignmentChange, Desired, Tombstone},
    held::HeldSet,
    message::{Attempt, Epoch, Tunables},
    moment::Moment,
    restore::{RestoreAuthority, RestoreRecord, SignedRestore},
    session::{
        SessionError,
        coordinator::{CoordinatorConfig, CoordinatorOutput, CoordinatorSession},
        node::{Applied, NodeConfig, NodeOutput, NodeSession},
    },
};

use crate::samples;

/// An authority whose signature of a statement is the statement's digest under its name.
#[derive(Debug)]
struct Authority(&'static str);

impl Authority {
    fn sign(&self, statement: &[u8]) -> Vec<u8> {
        Digest::of(&[self.0.as_bytes(), statement].concat()).to_string().into_bytes()
    }
}

impl RestoreAuthority for Authority {
    fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        self.sign(statement) == signature
    }
}

fn record(cluster_id: &str, generation: u64, signer: &'static str) -> SignedRestore {
    let record = RestoreRecord {
        cluster_id: cluster_id.to_owned(),
        generation,
        revision: Revision(1000),
        restored_at: UnixMillis(5),
    };
    let signature = Authority(signer).sign(&record.statement());
    SignedRestore { record, signature }
}

/// What a node knows and is.
struct Node {
    session: NodeSession,
    held: HeldSet,
    generation: u64,
}

const NOW: Moment = Moment(Duration::ZERO);

impl Node {
    fn holding(desired: &Desired, generation: u64) -> Self {
        let config = NodeConfig {
            node: NodeName::new("n1"),
            boot_id: BootId([0; 16]),
            agent: 1,
            cluster_id: "c".into(),
            sealing_key: None,
        };
        let session = NodeSession::new(config, samples::facts(), NOW).trusting(Arc::new(Authority("ca")));
        Self { session, held: HeldSet::of(desired), generation }
    }

    fn applied(&self) -> Applied {
        Applied {
            revision: self.held.revision,
            restore_generation: self.generation,
            protocol: 8,
            state_digest: self.held.digest(),
        }
    }

    /// One connection to a coordinator of a generation, with a record if it has one; answers the changes that it brought, and the
    /// coordinator's machine to go on with.
    fn meet(
        &mut self,
        generation: u64,
        restore: Option<SignedRestore>,
        (epoch, desired): (u64, &Desired),
    ) -> Result<(Vec<AssignmentChange>, CoordinatorSession), SessionError> {
        let config = CoordinatorConfig {
            node: NodeName::new("n1"),
            cluster_id: "c".into(),
            restore_generation: generation,
            tunables: Tunables { keep_alive_ms: 1, idle_timeout_ms: 1, reconnect_ms_max: 1 },
            sealing_seed: [1; 32],
        };
        let mut coordinator = CoordinatorSession::new(config, NOW);
        if let Some(restore) = restore {
            coordinator = coordinator.restored(restore);
        }
        self.session.handle_connected(NOW, UnixMillis(0), self.applied(), Vec::new());
        let mut changes = Vec::new();
        while let Some(bytes) = self.session.poll_transmit(UnixMillis(0)) {
            coordinator.handle_bytes(NOW, UnixMillis(0), &bytes)?;
        }
        while let Some(output) = coordinator.poll_output() {
            assert!(matches!(output, CoordinatorOutput::Greeted { attempt: Attempt { agent: 1, .. }, .. }));
            let epoch = Epoch { term: 1, counter: epoch };
            coordinator.welcome(epoch, desired.clone(), NOW, UnixMillis(0)).unwrap();
        }
        self.hear(&mut coordinator, &mut changes)?;
        Ok((changes, coordinator))
    }

    /// Takes what the coordinator has to say and answers it.
    fn hear(
        &mut self,
        coordinator: &mut CoordinatorSession,
        changes: &mut Vec<AssignmentChange>,
    ) -> Result<(), SessionError> {
        while let Some(bytes) = coordinator.poll_transmit() {
            self.session.handle_bytes(NOW, &bytes)?;
        }
        while let Some(output) = self.session.poll_output() {
            if let NodeOutput::Commit(change) = output {
                let _held = self.held.apply(&change);
                self.generation = change.restore_generation;
                self.session.committed(self.applied(), Vec::new());
                changes.push(change);
            }
        }
        while let Some(bytes) = self.session.poll_transmit(UnixMillis(0)) {
            coordinator.handle_bytes(NOW, UnixMillis(0), &bytes)?;
        }
        Ok(())
    }
}

fn set(revision: u64) -> Desired {
    Desired { revision: Revision(revision), ..Desired::default() }
}

#[test]
fn only_a_record_of_the_authority_leads_to_a_higher_generation() {
    let check = |generation, restore, accepted: bool| {
        let mut node = Node::holding(&set(7), 1);
        let met = node.meet(generation, restore, (1, &set(2000))).map(drop);
        assert_eq!(met.is_ok(), accepted, "{met:?}");
        assert_eq!(node.generation, if accepted { generation } else { 1 });
    };
    check(1, None, true);
    check(2, Some(record("c", 2, "ca")), true);
    check(9, Some(record("c", 9, "ca")), true);
    check(2, None, false);
    check(2, Some(record("c", 2, "other")), false);
    check(2, Some(record("d", 2, "ca")), false);
    check(3, Some(record("c", 2, "ca")), false);
    let mut forged = record("c", 2, "ca");
    forged.record.revision = Revision(1);
    check(2, Some(forged), false);
}

#[test]
fn a_restored_coordinator_hears_of_pods_once_its_set_is_committed() {
    let mut node = Node::holding(&set(5000), 0);
    let heard = |coordinator: &mut CoordinatorSession| -> Vec<u64> {
        let Some(CoordinatorOutput::Statuses(reports)) = coordinator.poll_output() else { return Vec::new() };
        reports.iter().map(|report| report.sequence).collect()
    };
    let report = |sequence| samples::report(&PodUid::new("u"), sequence);
    node.session.report(report(1));
    let (_, mut coordinator) = node.meet(1, Some(record("c", 1, "ca")), (1, &set(0))).unwrap();
    assert_eq!(heard(&mut coordinator), []);
    coordinator.set_desired(set(1001), NOW).unwrap();
    node.hear(&mut coordinator, &mut Vec::new()).unwrap();
    assert_eq!(heard(&mut coordinator), []);
    node.session.report(report(2));
    node.hear(&mut coordinator, &mut Vec::new()).unwrap();
    assert_eq!(heard(&mut coordinator), [2]);
}

#[test]
fn a_restored_coordinator_sends_everything_again_and_the_old_one_is_refused() {
    let mut node = Node::holding(&set(5000), 0);
    // Not yet: the coordinator is still reading its store.
    let restore = record("c", 1, "ca");
    let (changes, mut coordinator) = node.meet(1, Some(restore.clone()), (1, &set(0))).unwrap();
    assert_eq!(changes, []);
    assert_eq!(node.generation, 0);
    let mut changes = Vec::new();
    coordinator.set_desired(set(1001), NOW).unwrap();
    node.hear(&mut coordinator, &mut changes).unwrap();
    assert_eq!(
        changes.iter().map(|change| (change.base, change.revision)).collect::<Vec<_>>(),
        [(None, Revision(1001))]
    );
    assert_eq!((node.generation, coordinator.acknowledged()), (1, Some(Revision(1001))));

    // Epochs of a restored cluster may begin anew; within a generation they rise.
    assert!(matches!(node.meet(1, None, (1, &set(1001))), Err(SessionError::StaleEpoch { .. })));
    assert!(node.meet(1, None, (2, &set(1001))).unwrap().0.is_empty());

    let refused = node.meet(0, None, (9, &set(9000))).map(drop);
    assert!(matches!(refused, Err(SessionError::OlderGeneration { offered: 0, seen: 1 })), "{refused:?}");
    assert_eq!(node.held.revision, Revision(1001));
}

#[test]
fn a_coordinator_that_has_just_started_sends_what_the_node_lacks_once_it_has_read_that() {
    let check = |wanted: Desired, expected: &[Option<Revision>]| {
        let mut node = Node::holding(&set(7), 0);
        let (mut changes, mut coordinator) = node.meet(0, None, (1, &set(0))).unwrap();
        assert_eq!(changes, []);
        coordinator.set_desired(wanted.clone(), NOW).unwrap();
        node.hear(&mut coordinator, &mut changes).unwrap();
        assert_eq!(changes.iter().map(|change| change.base).collect::<Vec<_>>(), expected);
        assert_eq!(node.held.digest(), HeldSet::of(&wanted).digest());
    };
    check(set(7), &[]);
    check(Desired { revision: Revision(9), ..set(7) }, &[]);
    let tombstone = Tombstone {
        uid: PodUid::new("u"),
        namespace: "default".into(),
        name: "p".into(),
        grace_seconds: 1,
        requested_at: UnixMillis(0),
    };
    let tombstones = Arc::new([(tombstone.uid.clone(), tombstone)].into());
    check(Desired { tombstones, ..set(9) }, &[Some(Revision(7))]);
}
