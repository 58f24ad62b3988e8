//! Which pod is tried when.

use jiff::{SignedDuration, Timestamp};

use super::{super::Reason, Hint, Queue};
use crate::view::ObjectKey;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1000 + seconds)
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn popped(queue: &mut Queue, now: i64) -> Vec<String> {
    std::iter::from_fn(|| queue.pop(at(now))).map(|key| key.name.to_string()).collect()
}

#[test]
fn priority_goes_first_then_age() {
    let mut queue = Queue::default();
    queue.add(&key("young"), 0, at(2));
    queue.add(&key("old"), 0, at(1));
    queue.add(&key("urgent"), 10, at(3));
    assert_eq!(popped(&mut queue, 5), ["urgent", "old", "young"]);
    assert_eq!(popped(&mut queue, 5), [""; 0], "each is handed out once");
}

#[test]
fn a_parked_pod_waits_for_a_change_that_helps_and_for_its_backoff() {
    let mut queue = Queue::default();
    queue.add(&key("p"), 0, at(0));
    assert_eq!(popped(&mut queue, 0), ["p"]);
    queue.park(&key("p"), [Reason::NodeAffinity].iter(), at(0));
    queue.changed(Hint::PodGone, |_, _| true);
    assert_eq!(popped(&mut queue, 20), [""; 0], "a pod that went away brings no labels");
    queue.changed(Hint::NodeChanged, |_, _| false);
    assert_eq!(popped(&mut queue, 20), [""; 0], "this node brings none either");
    queue.changed(Hint::NodeChanged, |_, reasons| reasons == [Reason::NodeAffinity]);
    assert_eq!(popped(&mut queue, 20), ["p"]);

    queue.park(&key("p"), [Reason::InsufficientCpu].iter(), at(20));
    queue.changed(Hint::PodGone, |_, _| true);
    assert_eq!(queue.next_wake(), Some(at(22)), "the second failure backs off for two seconds");
    assert_eq!(popped(&mut queue, 21), [""; 0]);
    assert_eq!(popped(&mut queue, 22), ["p"]);

    queue.park(&key("p"), [Reason::InsufficientCpu].iter(), at(22));
    assert_eq!(queue.next_wake(), Some(at(322)), "nothing seemed to help: tried again all the same");
    queue.renew(&key("p"));
    assert_eq!(popped(&mut queue, 22), ["p"]);
    queue.remove(&key("p"));
    assert!(queue.is_empty());
    assert_eq!(queue.next_wake(), None);
}

#[test]
fn a_failed_binding_backs_off_up_to_the_longest() {
    let mut queue = Queue::default();
    queue.add(&key("p"), 0, at(0));
    let mut now = 0;
    for expected in [1, 2, 4, 8, 10, 10] {
        assert_eq!(popped(&mut queue, now), ["p"]);
        queue.retry(&key("p"), at(now));
        now += expected;
        assert_eq!(queue.next_wake(), Some(at(now)));
    }
}

#[test]
fn without_nodes_a_pod_waits_for_one() {
    let mut queue = Queue::default();
    queue.add(&key("p"), 0, at(0));
    assert_eq!(popped(&mut queue, 0), ["p"]);
    queue.park(&key("p"), [].iter(), at(0));
    queue.changed(Hint::PodGone, |_, _| true);
    assert_eq!(queue.next_wake(), Some(at(300)));
    queue.changed(Hint::NodeCame, |_, _| true);
    assert_eq!(queue.next_wake(), Some(at(1)));
}

#[test]
fn nobody_waits_until_a_clock_that_was_put_back_comes_to_the_time_again() {
    let mut queue = Queue::default();
    let day = 86_400;
    for name in ["p", "q"] {
        queue.add(&key(name), 0, at(0));
    }
    assert_eq!(popped(&mut queue, day), ["p", "q"]);
    queue.retry(&key("p"), at(day));
    queue.park(&key("q"), [].iter(), at(day));
    assert_eq!(popped(&mut queue, 10), ["p", "q"]);
    queue.retry(&key("p"), at(10));
    assert_eq!(queue.next_wake(), Some(at(12)));
}
