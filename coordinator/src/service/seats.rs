//! Who may have how many requests under way: seats for each kind of work, shared so that no user can keep the others out.
//!
//! A user takes a seat at once while there are free ones and it has not had its share. Else it waits in a queue of its own, and seats
//! that become free go round the queues, so that one who asks for a thousand things delays himself. What nodes and the cluster's own
//! parts need is never all in the hands of others. Kubernetes' API priority and fairness is more than this and configured by objects;
//! the rule here has no configuration.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_api::Status;
use tokio::{sync::oneshot, time::timeout};

use super::User;

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Reads, and ends by itself.
    Reading,
    /// Writes.
    Mutating,
    /// Lasts as long as its client likes.
    Long,
}

/// All seats.
#[derive(Debug)]
pub(crate) struct Seats {
    reading: Arc<Room>,
    mutating: Arc<Room>,
    long: Arc<Room>,
}

/// One seat; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<Room>,
    user: Arc<str>,
    party: Party,
}

/// The seats of one kind of work.
#[derive(Debug)]
struct Room {
    bounds: Bounds,
    state: Mutex<State>,
}

/// How many seats there are, and for whom.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    all: usize,
    /// For all who are not the system.
    others: usize,
    /// For one user.
    each: usize,
    /// For one node, of which there are many and which is trusted less.
    node: usize,
    /// Requests of one user that may wait.
    waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    taken_by_others: usize,
    waiting: usize,
    /// Those that have seats or wait.
    users: HashMap<Arc<str>, Account>,
    /// Those that wait, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    refused: u64,
}

#[derive(Debug)]
struct Account {
    party: Party,
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Seat>>,
}

/// Whose part of the seats a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    /// Nodes.
    Node,
    /// Administrators, and the parts of the cluster that run elsewhere.
    System,
    /// Everyone else.
    Other,
}

/// How the seats of one kind of work are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// Requests that are served.
    pub(crate) taken: usize,
    /// Requests that wait.
    pub(crate) waiting: usize,
    /// Requests that were asked to come back, so far.
    pub(crate) refused: u64,
}

impl Seats {
    pub(crate) fn new() -> Self {
        Self { reading: Room::new(READING), mutating: Room::new(MUTATING), long: Room::new(LONG) }
    }

    /// A seat for a request of `user`; waits a while for one.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(crate) async fn take(&self, work: Work, user: &User) -> Result<Seat, Status> {
        let room = self.room(work);
        room.seat(&user.name, Party::of(user)).await.ok_or_else(|| {
            Status::too_many_requests("Too many requests, please try again later.", RETRY_SECONDS)
        })
    }

    /// How seats are used.
    pub(crate) fn usage(&self, work: Work) -> Use {
        let state = self.room(work).lock();
        Use { taken: state.taken, waiting: state.waiting, refused: state.refused }
    }

    const fn room(&self, work: Work) -> &Arc<Room> {
        match work {
            Work::Reading => &self.reading,
            Work::Mutating => &self.mutating,
            Work::Long => &self.long,
        }
    }
}

impl Party {
    fn of(user: &User) -> Self {
        if user.node_name().is_some() {
            Self::Node
        } else if user.is_system() {
            Self::System
        } else {
            Self::Other
        }
    }
}

impl Room {
    fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, state: Mutex::default() })
    }

    async fn seat(self: &Arc<Self>, user: &str, party: Party) -> Option<Seat> {
        let turn = match self.ask(user, party) {
            Asked::Seat(seat) => return Some(seat),
            Asked::Wait(turn) => turn,
            Asked::Refused => return None,
        };
        // A seat that comes after the wait goes back by itself.
        let seat = timeout(WAIT_MAX, turn).await.ok().and_then(Result::ok);
        if seat.is_none() {
            self.lock().refused += 1;
        }
        seat
    }

    fn ask(self: &Arc<Self>, user: &str, party: Party) -> Asked {
        let mut state = self.lock();
        let (free, waits) = match state.users.get(user) {
            Some(account) => (self.is_free(&state, account), !account.waiting.is_empty()),
            None => (self.is_free(&state, &Account::new(party)), false),
        };
        if free && !waits {
            return Asked::Seat(self.give(&mut state, &Arc::from(user), party));
        }
        if self.bounds.waiting == 0 || state.waiting >= WAITING_MAX {
            state.refused += 1;
            return Asked::Refused;
        }
        let user: Arc<str> = Arc::from(user);
        let account = state.users.entry(Arc::clone(&user)).or_insert_with(|| Account::new(party));
        let before = account.waiting.len();
        account.waiting.retain(|turn| !turn.is_closed());
        let gone = before - account.waiting.len();
        let is_full = account.waiting.len() >= self.bounds.waiting;
        let (turn, seat) = oneshot::channel();
        if !is_full {
            account.waiting.push_back(turn);
        }
        state.waiting -= gone;
        if is_full {
            state.refused += 1;
            return Asked::Refused;
        }
        state.waiting += 1;
        if before == 0 {
            state.turns.push_back(user);
        }
        Asked::Wait(seat)
    }

    /// Whether a user may have one more seat.
    fn is_free(&self, state: &State, account: &Account) -> bool {
        let each = match account.party {
            Party::Node => self.bounds.node,
            Party::System | Party::Other => self.bounds.each,
        };
        state.taken < self.bounds.all
            && account.taken < each
            && (account.party != Party::Other || state.taken_by_others < self.bounds.others)
    }

    fn give(self: &Arc<Self>, state: &mut State, user: &Arc<str>, party: Party) -> Seat {
        state.taken += 1;
        state.taken_by_others += usize::from(party == Party::Other);
        state.users.entry(Arc::clone(user)).or_insert_with(|| Account::new(party)).taken += 1;
        Seat { room: Arc::clone(self), user: Arc::clone(user), party }
    }

    fn give_back(self: &Arc<Self>, user: &Arc<str>, party: Party) {
        let mut state = self.lock();
        state.taken -= 1;
        state.taken_by_others -= usize::from(party == Party::Other);
        if let Some(account) = state.users.get_mut(user) {
            account.taken -= 1;
            if account.is_done() {
                state.users.remove(user);
            }
        }
        let passed_on = self.pass_on(&mut state);
        drop(state);
        if let Some((turn, seat)) = passed_on {
            // To whoever left at this moment it goes in vain, and comes back here when it is dropped.
            drop(turn.send(seat));
        }
    }

    /// A seat for the first in turn who may have one. Who got one is last from now on, if more of him wait.
    fn pass_on(self: &Arc<Self>, state: &mut State) -> Option<(oneshot::Sender<Seat>, Seat)> {
        let mut place = 0;
        while state.taken < self.bounds.all
            && let Some(user) = state.turns.get(place).cloned()
        {
            let turn = self.next_turn(state, &user);
            let account = state.users.get(&user);
            let (party, waits) =
                account.map_or((Party::Other, false), |account| (account.party, !account.waiting.is_empty()));
            if turn.is_none() && waits {
                place += 1;
                continue;
            }
            state.turns.remove(place);
            if waits {
                state.turns.push_back(Arc::clone(&user));
            }
            if let Some(turn) = turn {
                return Some((turn, self.give(state, &user, party)));
            }
            if state.users.get(&user).is_some_and(Account::is_done) {
                state.users.remove(&user);
            }
        }
        None
    }

    /// The first of a user's requests that still waits, when the user may have one more seat.
    fn next_turn(&self, state: &mut State, user: &Arc<str>) -> Option<oneshot::Sender<Seat>> {
        if !state.users.get(user).is_some_and(|account| self.is_free(state, account)) {
            return None;
        }
        let account = state.users.get_mut(user)?;
        let mut gone = 0;
        let turn = loop {
            match account.waiting.pop_front() {
                Some(turn) if turn.is_closed() => gone += 1,
                turn => break turn,
            }
        };
        state.waiting -= gone + usize::from(turn.is_some());
        turn
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Asked {
    Seat(Seat),
    Wait(oneshot::Receiver<Seat>),
    Refused,
}

impl Account {
    const fn new(party: Party) -> Self {
        Self { party, taken: 0, waiting: VecDeque::new() }
    }

    fn is_done(&self) -> bool {
        self.taken == 0 && self.waiting.is_empty()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.give_back(&self.user, self.party);
    }
}

/// Kubernetes' own sum for requests that read.
const READING: Bounds = Bounds { all: 400, others: 300, each: 200, node: 32, waiting: 64 };

/// The same for those that write.
const MUTATING: Bounds = Bounds { all: 200, others: 150, each: 100, node: 16, waiting: 64 };

/// Watches and followed logs hold little but a place in the store's history. None of them ends soon, so that nobody waits for one.
const LONG: Bounds = Bounds { all: 10_000, others: 7_500, each: 5_000, node: 64, waiting: 0 };

/// Requests of all users that may wait for one kind of work.
const WAITING_MAX: usize = 1024;

/// How long a request may wait: Kubernetes' quarter of what it may take.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// When to come back.
const RETRY_SECONDS: u32 = 1;

#[cfg(test)]
mod tests;
