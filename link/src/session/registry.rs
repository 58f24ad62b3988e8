//! Which session of each node is the current one, and whether two machines share one identity. Everything that a session brings in
//! is checked against this first.
//!
//! The *copies* of a node are the agents that come with its key. One copy follows another when an agent restarts or its machine
//! reboots; two that live at the same time are a cloned node: somebody copied a state folder or a disk. A copy whose session is alive
//! keeps its seat, so that neither ousts the other for ever; the caller finds out whether it is alive when another one comes. It is a
//! clone when that happens twice, or when a copy comes back after another had the seat: an agent that is gone can leave one greeting
//! behind that is read late, and not more.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    BootId, NodeName,
    message::{Attempt, Epoch},
    moment::Moment,
};

/// The sessions of all nodes in one term.
#[derive(Debug)]
pub struct Registry {
    newest: Epoch,
    nodes: BTreeMap<NodeName, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    seat: Option<Seat>,
    /// The last at the end; the seated one is among them.
    copies: Vec<Copy>,
    signs: Signs,
}

#[derive(Clone, Copy, Debug)]
struct Seat {
    epoch: Epoch,
    agent: u64,
    is_open: bool,
}

/// One agent.
#[derive(Clone, Copy, Debug)]
struct Copy {
    agent: u64,
    boot_id: BootId,
    /// Its latest connection that was seen.
    counter: u64,
}

/// What speaks for two copies living at the same time.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    count: u32,
    last: Moment,
    /// Whether the caller was told that the node is cloned, and not that it is single again.
    is_told: bool,
}

/// Who comes: from a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The boot of its machine.
    pub boot_id: BootId,
    /// Which connection of which agent.
    pub attempt: Attempt,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the node's current session now, in place of any other.
    Seated(Epoch),
    /// Another copy has the seat. Find out whether its session is alive, then call [`Registry::refuse`] or [`Registry::replace`].
    Occupied {
        /// The session to ask.
        by: Epoch,
        /// Whether the two copies run on the same boot of a machine, as when an agent was killed and started again.
        boot: SameBoot,
    },
}

/// Whether two copies run on the same boot of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameBoot {
    /// On the same.
    Same,
    /// On different ones.
    Different,
}

/// What there is to tell about a node's copies, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloneNews {
    /// Two machines or agents use its key at the same time.
    Cloned,
    /// Only one was seen for [`CLONE_QUIET`].
    Single,
}

/// A connection that the node opened before the one that is, or was, its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has opened a newer connection since")]
pub struct StaleAttempt;

impl Registry {
    /// No session yet. `term` is above that of every earlier registry of the cluster.
    pub const fn new(term: u64) -> Self {
        Self { newest: Epoch { term, counter: 0 }, nodes: BTreeMap::new() }
    }

    /// A connection of a node comes. It takes the seat when that is free or its own, and asks for a decision otherwise.
    ///
    /// # Errors
    /// When the same agent has opened a later connection that was seen before.
    pub fn arrive(&mut self, node: &NodeName, caller: Caller, now: Moment) -> Result<Arrival, StaleAttempt> {
        let entry = self.nodes.entry(node.clone()).or_default();
        if entry.is_stale(caller.attempt) {
            return Err(StaleAttempt);
        }
        match entry.seat {
            Some(seat) if seat.is_open && seat.agent != caller.attempt.agent => {
                let boot = entry.boot_of(seat.agent);
                let boot = if boot == Some(caller.boot_id) { SameBoot::Same } else { SameBoot::Different };
                Ok(Arrival::Occupied { by: seat.epoch, boot })
            }
            _ => Ok(Arrival::Seated(self.seat(node, caller, now))),
        }
    }

    /// The session `silent` gave no sign of life: the caller takes its seat, unless somebody else did meanwhile.
    ///
    /// # Errors
    /// As [`Registry::arrive`].
    pub fn replace(
        &mut self,
        node: &NodeName,
        caller: Caller,
        silent: Epoch,
        now: Moment,
    ) -> Result<Arrival, StaleAttempt> {
        self.close(node, silent);
        self.arrive(node, caller, now)
    }

    /// The seated session is alive: the caller gets no seat, and there are two copies.
    pub fn refuse(&mut self, node: &NodeName, caller: Caller, now: Moment) {
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.note(caller);
        entry.signs.add(now);
    }

    /// The node is known to have been cloned before this term began: told already, and over when nothing more is seen of it.
    pub fn expect_clone(&mut self, node: &NodeName, now: Moment) {
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.signs = Signs { count: CLONE_SIGNS, last: now, is_told: true };
    }

    /// What is new about the node's copies, and has to be told.
    pub fn take_news(&mut self, node: &NodeName, now: Moment) -> Option<CloneNews> {
        let signs = &mut self.nodes.get_mut(node)?.signs;
        match (signs.is_clone(now), signs.is_told) {
            (true, false) => {
                signs.is_told = true;
                Some(CloneNews::Cloned)
            }
            (false, true) => {
                *signs = Signs::default();
                Some(CloneNews::Single)
            }
            _ => None,
        }
    }

    /// When a cloned node becomes single unless another sign comes; `None` for one that is single.
    pub fn clone_ends(&self, node: &NodeName) -> Option<Moment> {
        let signs = &self.nodes.get(node)?.signs;
        signs.is_told.then(|| signs.last + CLONE_QUIET)
    }

    /// Ends a session. True when it was the current one, so that the node is without a session now.
    pub fn close(&mut self, node: &NodeName, epoch: Epoch) -> bool {
        match self.nodes.get_mut(node).and_then(|entry| entry.seat.as_mut()) {
            Some(seat) if seat.epoch == epoch => std::mem::take(&mut seat.is_open),
            _ => false,
        }
    }

    /// Forgets a node that left the cluster, or whose key changed.
    pub fn remove(&mut self, node: &NodeName) {
        self.nodes.remove(node);
    }

    /// Whether nothing is known of the node in this term.
    pub fn is_new(&self, node: &NodeName) -> bool {
        !self.nodes.contains_key(node)
    }

    /// Whether `epoch` is the node's open session.
    pub fn is_current(&self, node: &NodeName, epoch: Epoch) -> bool {
        let seat = self.nodes.get(node).and_then(|entry| entry.seat);
        seat.is_some_and(|seat| seat.is_open && seat.epoch == epoch)
    }

    fn seat(&mut self, node: &NodeName, caller: Caller, now: Moment) -> Epoch {
        self.newest.counter += 1;
        let epoch = self.newest;
        let entry = self.nodes.entry(node.clone()).or_default();
        let agent = caller.attempt.agent;
        let before = entry.seat.replace(Seat { epoch, agent, is_open: true });
        // Its number is drawn at its start: an agent that comes back was not replaced by the one in between.
        if before.is_some_and(|before| before.agent != agent) && entry.knows(agent) {
            entry.signs.add(now);
        }
        entry.note(caller);
        epoch
    }
}

impl Entry {
    fn is_stale(&self, attempt: Attempt) -> bool {
        self.copies.iter().any(|copy| copy.agent == attempt.agent && copy.counter >= attempt.counter)
    }

    fn knows(&self, agent: u64) -> bool {
        self.copies.iter().any(|copy| copy.agent == agent)
    }

    fn boot_of(&self, agent: u64) -> Option<BootId> {
        self.copies.iter().find(|copy| copy.agent == agent).map(|copy| copy.boot_id)
    }

    /// Remembers who came, and forgets who has not come for longest.
    fn note(&mut self, caller: Caller) {
        let Caller { boot_id, attempt: Attempt { agent, counter } } = caller;
        self.copies.retain(|copy| copy.agent != agent);
        self.copies.push(Copy { agent, boot_id, counter });
        if self.copies.len() > COPIES_MAX {
            let seated = self.seat.map(|seat| seat.agent);
            if let Some(oldest) = self.copies.iter().position(|copy| Some(copy.agent) != seated) {
                self.copies.remove(oldest);
            }
        }
    }
}

impl Signs {
    fn add(&mut self, now: Moment) {
        if now.since(self.last) >= CLONE_QUIET && !self.is_told {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    fn is_clone(&self, now: Moment) -> bool {
        self.count >= CLONE_SIGNS && now.since(self.last) < CLONE_QUIET
    }
}

/// Signs that make a clone.
const CLONE_SIGNS: u32 = 2;

/// How long only one copy must be seen until the node is single again: three times the longest pause between attempts to connect.
pub const CLONE_QUIET: Duration = Duration::from_secs(180);

/// Agents remembered of a node: clones, and a restart or two of each.
const COPIES_MAX: usize = 8;

#[cfg(test)]
mod tests;
