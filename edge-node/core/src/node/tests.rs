//! A node on a disk that is a value and a sandbox that answers at once: what crashes, failed writes and stale news do to it.

mod harness;
mod machine;
mod own;
mod pulls;
mod tokens;
mod volumes;

use dunlin_link::{Digest, MilliCpu, Revision, pod::RestartPolicy, status::PodPhase};

use self::harness::{Node, assignment, guest, uid};
use super::{ChangeError, Output, Prepared};
use crate::sandbox::ExitCause;

#[test]
fn a_change_is_acted_on_once_durable_and_comes_back_after_a_crash() {
    let mut node = Node::new();
    let change = node.change(|change| change.assign("a").assign("b"));
    node.offer(change.clone());
    assert!(node.committed().is_none() && node.running().is_empty());
    node.write_all();
    assert_eq!(node.committed(), Some(Ok(Vec::new())));
    assert_eq!(node.running(), ["a", "b"]);
    let applied = node.core.applied();
    assert_eq!(applied.revision, Revision(1));
    node.crash();
    assert_eq!((node.core.applied(), node.running()), (applied, vec!["a", "b"]));
}

#[test]
fn a_crash_at_any_write_leaves_the_set_before_or_after_it() {
    // Counts the writes of the whole story, then crashes at each, with the batch lost and with the batch whole.
    let writes = story(None);
    assert!(writes >= 5, "{writes}");
    for at in 0..writes {
        for kept in [false, true] {
            story(Some((at, kept)));
        }
    }
}

/// Assigns, ends, buries and forgets pods; crashes once if told so, and brings the rest of the story to its end. Answers how many writes
/// there were.
fn story(crash: Option<(usize, bool)>) -> usize {
    let mut node = Node::new();
    node.crash_at = crash;
    node.make(|change| change.assign("a").assign_once("job"));
    node.exit("job", ExitCause::Code(0));
    node.settle_for(2000);
    node.make(|change| change.assign("b").bury("a"));
    node.settle_for(2000);
    let reported = node.report("job").map(|report| report.phase);
    node.make(|change| change.forget("a"));
    node.settle_for(2000);
    assert_eq!(reported, Some(PodPhase::Succeeded), "{crash:?}");
    assert_eq!(node.running(), ["b"], "{crash:?}");
    assert_eq!(node.core.applied().state_digest, node.wanted.digest(), "{crash:?}");
    assert!(node.disk.tombstones.is_empty() && !node.disk.pods.contains_key(&uid("a")), "{crash:?}");
    assert!(!node.disk.memories.contains_key(&uid("a")), "{crash:?}");
    assert_eq!(node.starts_of("job"), 1, "{crash:?}");
    node.writes
}

#[test]
fn older_revisions_other_bases_and_other_digests_change_nothing() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    node.make(|change| change.assign("b"));
    node.settle_for(5000);
    let (applied, disk) = (node.core.applied(), node.disk.clone());
    let mut change = node.change(|change| change.assign("c"));
    change.base = Some(Revision(1));
    node.offer(change.clone());
    let wrong = ChangeError::WrongBase { base: Revision(1), held: Revision(2) };
    assert_eq!(node.committed(), Some(Err(wrong)));
    change.base = None;
    change.revision = Revision(1);
    node.offer(change.clone());
    let older = ChangeError::Older { offered: Revision(1), held: Revision(2) };
    assert_eq!(node.committed(), Some(Err(older)));
    change.base = Some(Revision(2));
    change.revision = Revision(3);
    change.state_digest = Digest::of(b"another set");
    node.offer(change);
    assert_eq!(node.committed(), Some(Ok(Vec::new())));
    node.settle_for(5000);
    assert_eq!((node.core.applied(), &node.disk), (applied, &disk));
    assert_eq!(node.running(), ["a", "b"]);
}

#[test]
fn a_restored_cluster_may_go_back_and_nothing_else() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    node.make(|change| change.assign("b"));
    let mut restored = node.change(|change| change.assign("a").snapshot());
    restored.revision = Revision(1);
    node.wanted.apply(&restored);
    restored.state_digest = node.wanted.digest();
    restored.restore_generation = 1;
    node.offer(restored.clone());
    node.write_all();
    assert_eq!(node.committed(), Some(Ok(Vec::new())));
    node.crash();
    // The pod that the backup does not know is held, not stopped.
    assert_eq!(node.running(), ["a", "b"]);
    assert_eq!((node.core.applied().restore_generation, node.core.applied().revision), (1, Revision(1)));
    restored.restore_generation = 0;
    restored.revision = Revision(9);
    node.offer(restored);
    assert!(matches!(node.committed(), Some(Err(ChangeError::Older { .. }))));
}

#[test]
fn what_a_held_pod_takes_is_not_offered() {
    let mut node = Node::new();
    let mut pod = assignment("b");
    pod.spec.restart_policy = RestartPolicy::Never;
    pod.spec.containers[0].resources.cpu_request = Some(MilliCpu(1500));
    node.make(|change| change.assign("a").assign_pod(pod));
    let offered = |node: &Node| node.facts.as_ref().map(|facts| facts.allocatable);
    let left = |node: &Node| offered(node).map(|allocatable| (allocatable.cpu.0, allocatable.pods));
    assert_eq!(left(&node), None);
    node.make(|change| change.assign("a").snapshot());
    assert_eq!(left(&node), Some((2500, 9)));
    // So it is for the next agent, and until the pod is over.
    node.facts = None;
    node.crash();
    assert_eq!(left(&node), Some((2500, 9)));
    node.exit("b", ExitCause::Code(0));
    node.settle_for(5000);
    assert_eq!(left(&node), Some((4000, 10)));
}

#[test]
fn a_restored_cluster_hears_everything_anew() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign("b"));
    node.settle_for(5000);
    let sequences = |node: &Node| ["a", "b"].map(|pod| node.report(pod).unwrap().sequence);
    let before = sequences(&node);
    node.make(|change| change.assign("a").snapshot());
    node.settle_for(5000);
    let within = sequences(&node);
    assert_eq!(within[0], before[0]);
    node.make(|change| change.assign("a").restored());
    let after = sequences(&node);
    assert!(after[0] > within[0] && after[1] > within[1], "{within:?} {after:?}");
    node.settle_for(5000);
    assert_eq!(sequences(&node), after);
}

#[test]
fn a_restore_raises_what_it_declares() {
    let check = |before: &dyn Fn(&mut Node), restarts: u32| {
        let mut node = Node::new();
        node.make(|change| change.assign("a").assign("b"));
        before(&mut node);
        node.settle_for(2000);
        assert_eq!(node.running(), ["b"]);
        let restored = node.change(|change| change.assign("a").assign("b").restored());
        node.offer(restored);
        node.write_all();
        node.settle_for(20_000);
        assert_eq!(node.running(), ["a", "b"]);
        let report = node.report("a").unwrap();
        assert_eq!((report.phase, report.stopped), (PodPhase::Running, false));
        assert_eq!(report.containers[0].restart_count, restarts);
        assert!(node.core.tombstones().is_empty() && node.disk.tombstones.is_empty());
        node.crash();
        node.settle_for(20_000);
        assert_eq!(node.running(), ["a", "b"]);
    };
    check(&|node| node.make(|change| change.bury("a")), 1);
    // Its end is known to the disk before the restore.
    let long_ago = |node: &mut Node| {
        node.make(|change| change.bury("a"));
        node.settle_for(10_000);
        node.crash();
    };
    check(&long_ago, 1);
    // What was forgotten is new.
    let forgotten = |node: &mut Node| {
        node.make(|change| change.bury("a"));
        node.make(|change| change.forget("a"));
    };
    check(&forgotten, 0);
    // A tombstone of a pod that is not here.
    let absent = |node: &mut Node| {
        forgotten(node);
        node.make(|change| change.bury("a"));
    };
    check(&absent, 0);
}

#[test]
fn a_void_deletion_stays_void_over_a_crash() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    node.make(|change| change.bury("a"));
    node.settle_for(5000);
    let restored = node.change(|change| change.assign("a").restored());
    node.offer(restored);
    // The change is durable, and nothing after it.
    node.write_one();
    node.sandbox.clear();
    node.crash();
    node.settle_for(20_000);
    assert_eq!(node.running(), ["a"]);
}

#[test]
fn a_tombstone_survives_crashes_until_it_is_forgotten() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    let bury = node.change(|change| change.bury("a"));
    node.offer(bury);
    node.write_one();
    node.crash();
    node.settle_for(1000);
    assert!(node.running().is_empty() && node.report("a").unwrap().stopped);
    node.crash();
    assert!(node.report("a").unwrap().stopped);
    assert!(node.running().is_empty());
    // A snapshot that assigns it again does not raise it.
    node.make(|change| change.assign("a").bury("a").snapshot());
    assert!(node.running().is_empty());
    node.make(|change| change.forget("a"));
    assert!(node.core.pod(&uid("a")).is_none() && node.disk.tombstones.is_empty());
}

#[test]
fn a_write_that_fails_is_as_if_the_change_had_not_come_but_for_pods_to_stop() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    let before = node.core.applied();
    let change = node.change(|change| change.assign("b").bury("a"));
    node.offer(change.clone());
    node.fail_one("disk full");
    assert_eq!(node.committed(), Some(Err(ChangeError::NotWritten("disk full".to_owned()))));
    assert_eq!((node.core.applied(), node.running()), (before, Vec::new()));
    node.offer(change);
    node.write_all();
    node.settle_for(1000);
    assert_eq!(node.running(), ["b"]);
}

#[test]
fn a_pod_stops_though_its_tombstone_cannot_be_written_and_nobody_hears_before_it_is() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign("b"));
    node.settle_for(2000);
    let change = node.change(|change| change.bury("a"));
    node.offer(change.clone());
    node.fail_one("full");
    assert!(matches!(node.committed(), Some(Err(ChangeError::NotWritten(_)))));
    node.settle_for(2000);
    assert_eq!(node.running(), ["b"]);
    assert!(node.disk.tombstones.is_empty());
    assert!(!node.report("a").unwrap().stopped, "a crash would bring it back");
    // It does, and the coordinator orders it again.
    node.crash();
    node.settle_for(60_000);
    assert_eq!(node.running(), ["a", "b"]);
    node.offer(change.clone());
    node.fail_one("full");
    node.settle_for(2000);
    node.offer(change);
    node.write_all();
    node.settle_for(2000);
    assert_eq!(node.running(), ["b"]);
    assert!(node.report("a").unwrap().stopped);
    assert!(node.disk.tombstones.contains_key(&uid("a")));
}

#[test]
fn a_pod_that_stopped_for_a_tombstone_which_was_never_written_lives_when_a_restore_declares_it() {
    let mut node = Node::new();
    node.make(|change| change.assign("a"));
    node.settle_for(2000);
    let change = node.change(|change| change.bury("a"));
    node.offer(change);
    node.fail_one("full");
    node.settle_for(2000);
    assert_eq!(node.running(), [""; 0]);
    node.make(|change| change.assign("a").restored());
    node.settle_for(60_000);
    assert_eq!(node.running(), ["a"]);
    assert!(!node.report("a").unwrap().stopped);
}

#[test]
fn an_end_is_reported_only_when_it_is_durable() {
    let mut node = Node::new();
    node.make(|change| change.assign_once("job"));
    node.exit("job", ExitCause::Code(3));
    node.carry();
    assert_ne!(node.report("job").unwrap().phase, PodPhase::Failed);
    node.write_all();
    assert_eq!(node.report("job").unwrap().phase, PodPhase::Failed);
}

#[test]
fn a_start_that_nobody_remembered_is_counted_by_its_log() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign_once("job"));
    // Neither memory was written when power failed for everything but the disk.
    assert!(node.disk.memories.is_empty());
    node.sandbox.clear();
    node.crash();
    node.settle_for(2000);
    assert_eq!(node.running(), ["a"]);
    assert_eq!(node.report("a").unwrap().containers[0].restart_count, 1);
    assert_eq!(node.report("job").unwrap().phase, PodPhase::Failed);
    assert_eq!(node.starts_of("job"), 1);
}

#[test]
fn a_power_cut_is_one_notice_however_many_pods_it_ended() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign("b").assign("c"));
    assert!(node.disk.memories.is_empty());
    node.sandbox.clear();
    node.trace.clear();
    node.crash();
    node.settle_for(2000);
    let notices: Vec<_> = node.trace.iter().filter(|line| line.starts_with("Notice")).collect();
    assert_eq!(notices, ["Notice(RunsRecovered { runs: 3 })"]);
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut node = Node::new();
    node.make(|change| change.assign("a").assign("b"));
    node.settle_for(10_000);
    let writes = node.writes;
    node.settle_for(10_000_000);
    assert_eq!(node.writes, writes);
}

#[test]
fn an_answer_that_comes_too_late_starts_nothing() {
    let mut node = Node::new();
    let change = node.change(|change| change.assign("a"));
    node.hold_preparations = true;
    node.offer(change.clone());
    node.wanted.apply(&change);
    node.write_all();
    let bury = node.change(|change| change.bury("a"));
    node.offer(bury);
    node.write_all();
    let held = std::mem::take(&mut node.held_preparations);
    assert_eq!(held.len(), 1);
    for preparation in held {
        let ready = Prepared::Ready { log: "l".to_owned(), material: guest() };
        node.core.handle_prepared(preparation.run, ready, node.now);
    }
    node.carry();
    assert!(node.running().is_empty() && node.report("a").unwrap().stopped);
}

#[test]
fn static_pods_run_survive_and_follow_their_manifests() {
    let mut node = Node::new();
    node.manifests(&[("web", "1"), ("probe", "1")]);
    assert_eq!(node.running(), ["probe-n1", "web-n1"]);
    let fixed: Vec<_> = node.disk.statics.keys().cloned().collect();
    node.crash();
    assert_eq!(node.running(), ["probe-n1", "web-n1"]);
    let writes = node.writes;
    node.manifests(&[("web", "1"), ("probe", "1")]);
    node.settle_for(5000);
    assert_eq!(node.writes, writes + 1, "only what is remembered of their starts");

    // A snapshot of the coordinator is none of their business, and they are no part of its set.
    node.make(|change| change.assign("a").snapshot());
    assert_eq!(node.running(), ["a", "probe-n1", "web-n1"]);
    node.exit("web-n1", ExitCause::Trap);
    node.settle_for(20_000);
    assert_eq!(node.running(), ["a", "probe-n1", "web-n1"]);

    // A changed manifest is another pod; the old one makes room first.
    node.manifests(&[("web", "2")]);
    node.settle_for(1000);
    assert_eq!(node.running(), ["a", "web-n1"]);
    assert!(node.disk.statics.keys().all(|uid| !fixed.contains(uid)));
    node.sandbox.clear();
    node.crash();
    assert_eq!(node.running(), ["a", "web-n1"]);
    node.manifests(&[]);
    node.settle_for(1000);
    assert_eq!(node.running(), ["a"]);
    assert!(node.disk.statics.is_empty() && node.disk.memories.len() <= 1);
    assert!(fixed.iter().all(|uid| node.report_of(uid).is_none()));
}

#[test]
fn static_pods_are_stated_and_reported_until_they_have_stopped() {
    let mut node = Node::new();
    let stated = |node: &Node| {
        let mut names: Vec<_> = node.stated.iter().map(|pod| pod.name.clone()).collect();
        names.sort();
        names
    };
    node.manifests(&[("web", "1"), ("probe", "1")]);
    assert_eq!(stated(&node), ["probe-n1", "web-n1"]);
    let pod = |node: &Node, name: &str| {
        let found = node.stated.iter().find(|pod| pod.name == name).unwrap();
        node.report_of(&found.uid).cloned().unwrap()
    };
    let first = pod(&node, "web-n1");
    assert_eq!((first.phase, first.namespace.as_str(), first.stopped), (PodPhase::Running, "ns", false));

    // Whoever shows it now hears of it again, and nobody else does.
    node.core.handle_mirrored(&first.uid, node.now);
    node.make(|change| change.assign("a"));
    let (second, assigned) = (pod(&node, "web-n1"), node.report("a").unwrap().sequence);
    assert!(second.sequence > first.sequence && second.phase == PodPhase::Running);
    node.core.handle_mirrored(&node.report("a").unwrap().uid.clone(), node.now);
    node.settle_for(1000);
    assert_eq!(node.report("a").unwrap().sequence, assigned);

    // What goes is there until it has stopped, and its end is no answer to anybody's order.
    node.crash();
    assert_eq!(stated(&node), ["probe-n1", "web-n1"]);
    node.manifests(&[("web", "2")]);
    node.settle_for(1000);
    assert_eq!(stated(&node), ["web-n1"]);
    assert_ne!(pod(&node, "web-n1").uid, first.uid);
    assert!(!node.trace.iter().any(|output| output.contains("stopped: true")));
    node.manifests(&[]);
    node.settle_for(1000);
    assert_eq!(stated(&node), [""; 0]);
}

#[test]
fn a_static_pod_that_the_api_could_not_name_runs_untold() {
    let mut node = Node::new();
    let long = "x".repeat(252);
    node.manifests(&[(&long, "1"), ("web", "1")]);
    assert_eq!(node.running().len(), 2);
    assert_eq!(node.stated.len(), 1);
    assert_eq!(node.reported(), ["web-n1"]);
}

#[test]
fn a_manifest_that_went_while_the_node_was_off_starts_nothing() {
    let mut node = Node::new();
    node.manifests(&[("web", "1")]);
    node.sandbox.clear();
    let starts = node.all_starts();
    node.crash_then(|core, now| core.handle_statics(Vec::new(), now));
    node.write_all();
    assert!(node.running().is_empty() && node.disk.statics.is_empty());
    assert_eq!(node.all_starts(), starts);
}

#[test]
fn the_same_story_gives_the_same_outputs() {
    let tell = || {
        let mut node = Node::new();
        node.make(|change| change.assign("b").assign("a").assign_once("job"));
        node.exit("job", ExitCause::Trap);
        node.settle_for(400_000);
        node.trace
    };
    let (first, second) = (tell(), tell());
    assert!(first.iter().any(|output| output.contains("Start")));
    assert_eq!(first, second);
}

fn is_write(output: &Output) -> bool {
    matches!(output, Output::Write { .. })
}
