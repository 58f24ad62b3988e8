//! Seats and copies: who sits when connections come in any order, and what is a clone and what only a restart.

use std::time::Duration;

use super::{Arrival, CLONE_QUIET, Caller, CloneNews, Registry, SameBoot, StaleAttempt};
use crate::{
    BootId, NodeName,
    message::{Attempt, Epoch},
    moment::Moment,
};

struct Fixture {
    registry: Registry,
    node: NodeName,
    now: Moment,
}

impl Fixture {
    fn new() -> Self {
        Self { registry: Registry::new(7), node: NodeName::new("n"), now: Moment::default() }
    }

    fn arrive(&mut self, caller: Caller) -> Result<Arrival, StaleAttempt> {
        self.now = self.now + Duration::from_secs(1);
        self.registry.arrive(&self.node, caller, self.now)
    }

    fn seated(&mut self, caller: Caller) -> Epoch {
        match self.arrive(caller) {
            Ok(Arrival::Seated(epoch)) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// The other copy's session is alive.
    fn refused(&mut self, caller: Caller) {
        assert!(matches!(self.arrive(caller), Ok(Arrival::Occupied { .. })));
        self.registry.refuse(&self.node, caller, self.now);
    }

    fn news(&mut self) -> Option<CloneNews> {
        self.registry.take_news(&self.node, self.now)
    }

    fn close(&mut self, epoch: Epoch) -> bool {
        self.registry.close(&self.node, epoch)
    }
}

/// The connection `counter` of an agent that runs on a boot of a machine.
fn caller(boot: u8, agent: u64, counter: u64) -> Caller {
    Caller { boot_id: BootId([boot; 16]), attempt: Attempt { agent, counter } }
}

#[test]
fn later_connections_replace_and_earlier_ones_do_not() {
    let mut fixture = Fixture::new();
    let first = fixture.seated(caller(1, 1, 5));
    let second = fixture.seated(caller(1, 1, 6));
    assert!(second > first && !fixture.registry.is_current(&fixture.node, first));
    assert_eq!(fixture.arrive(caller(1, 1, 5)), Err(StaleAttempt));
    assert!(!fixture.close(first), "an old close handler changes nothing");
    assert!(fixture.registry.is_current(&fixture.node, second));
    assert!(fixture.close(second) && !fixture.close(second));
    assert_eq!(fixture.arrive(caller(1, 1, 6)), Err(StaleAttempt));
    assert!(fixture.seated(caller(1, 2, 1)) > second, "a restarted agent counts anew");
    assert_eq!(fixture.news(), None);
}

#[test]
fn a_session_that_is_alive_keeps_its_seat() {
    let mut fixture = Fixture::new();
    let first = fixture.seated(caller(1, 1, 1));
    let boot = SameBoot::Different;
    assert_eq!(fixture.arrive(caller(2, 2, 1)), Ok(Arrival::Occupied { by: first, boot }));
    fixture.registry.refuse(&fixture.node, caller(2, 2, 1), fixture.now);
    assert!(fixture.registry.is_current(&fixture.node, first));
    assert_eq!(fixture.arrive(caller(2, 2, 1)), Err(StaleAttempt), "it was seen");
    assert!(fixture.seated(caller(1, 1, 2)) > first, "the seated copy connects anew");
}

#[test]
fn a_session_that_is_dead_makes_room() {
    let mut fixture = Fixture::new();
    let dead = fixture.seated(caller(1, 1, 1));
    let boot = SameBoot::Same;
    assert_eq!(fixture.arrive(caller(1, 2, 1)), Ok(Arrival::Occupied { by: dead, boot }));
    let replaced = fixture.registry.replace(&fixture.node, caller(1, 2, 1), dead, fixture.now);
    let Ok(Arrival::Seated(second)) = replaced else { panic!("{replaced:?}") };
    assert!(!fixture.close(dead));
    // Another was as fast with the same finding: who sits now is another session, to be asked again.
    let late = fixture.registry.replace(&fixture.node, caller(1, 3, 1), dead, fixture.now);
    assert_eq!(late, Ok(Arrival::Occupied { by: second, boot }));
}

#[test]
fn restarts_and_reboots_are_no_clones() {
    let mut fixture = Fixture::new();
    for start in 0_u8..50 {
        // Every third time the machine boots anew; half of the sessions end without a word.
        let caller = caller(start / 3, u64::from(start), 1);
        let epoch = match fixture.arrive(caller).unwrap() {
            Arrival::Seated(epoch) => epoch,
            Arrival::Occupied { by, .. } => {
                match fixture.registry.replace(&fixture.node, caller, by, fixture.now) {
                    Ok(Arrival::Seated(epoch)) => epoch,
                    other => panic!("{other:?}"),
                }
            }
        };
        if start % 2 == 0 {
            fixture.close(epoch);
        }
        assert_eq!(fixture.news(), None);
    }
}

#[test]
fn two_copies_that_live_at_once_are_a_clone_until_one_is_gone() {
    let mut fixture = Fixture::new();
    fixture.seated(caller(1, 1, 1));
    fixture.refused(caller(2, 2, 1));
    assert_eq!(fixture.news(), None, "one greeting may be the last of an agent that is gone");
    fixture.refused(caller(2, 2, 2));
    assert_eq!(fixture.news(), Some(CloneNews::Cloned));
    assert_eq!(fixture.news(), None, "told once");
    fixture.refused(caller(2, 2, 3));
    assert_eq!(fixture.news(), None);
    assert_eq!(fixture.registry.clone_ends(&fixture.node), Some(fixture.now + CLONE_QUIET));
    fixture.now = fixture.now + CLONE_QUIET;
    assert_eq!(fixture.news(), Some(CloneNews::Single));
    assert_eq!((fixture.news(), fixture.registry.clone_ends(&fixture.node)), (None, None));
    fixture.refused(caller(2, 2, 4));
    assert_eq!(fixture.news(), None, "it begins anew");
}

#[test]
fn copies_that_take_turns_are_a_clone() {
    let mut fixture = Fixture::new();
    let mut seated = fixture.seated(caller(1, 1, 1));
    for (turn, expected) in [(1, None), (2, None), (3, Some(CloneNews::Cloned)), (4, None)] {
        fixture.close(seated);
        let copy = turn % 2 + 1;
        seated = fixture.seated(caller(u8::try_from(copy).unwrap(), copy, turn + 1));
        assert_eq!(fixture.news(), expected, "turn {turn}");
    }
}

#[test]
fn a_clone_of_the_last_term_is_over_when_nothing_is_seen_of_it() {
    let mut fixture = Fixture::new();
    assert!(fixture.registry.is_new(&fixture.node));
    fixture.seated(caller(1, 1, 1));
    fixture.registry.expect_clone(&fixture.node, fixture.now);
    assert_eq!(fixture.news(), None);
    fixture.now = fixture.now + CLONE_QUIET;
    assert_eq!(fixture.news(), Some(CloneNews::Single));
}

#[test]
fn only_so_many_agents_are_remembered_and_the_seated_one_always() {
    let mut fixture = Fixture::new();
    fixture.seated(caller(1, 1, 1));
    for agent in 2..100 {
        fixture.refused(caller(2, agent, 1));
    }
    assert!(fixture.registry.nodes[&fixture.node].copies.len() <= super::COPIES_MAX);
    assert_eq!(fixture.arrive(caller(1, 1, 1)), Err(StaleAttempt));
}
