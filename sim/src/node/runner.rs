//! A modelled runner: it speaks the sandbox's messages, outlives the agent, and its guests begin and end in their own time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use dunlin_edge_node_core::{
    check::Outcome,
    node::Told,
    sandbox::{Exit, ExitCause, Owner, Request, State},
};
use dunlin_link::{ContainerId, UnixMillis, moment::Moment};
use rand::{Rng, rngs::SmallRng};

/// Its guests, and what it has not told the agent yet.
#[derive(Debug, Default)]
pub(super) struct Runner {
    guests: BTreeMap<ContainerId, Guest>,
    told: VecDeque<Told>,
    temper: Temper,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Temper {
    /// Some guests end by themselves.
    #[default]
    Lively,
    Calm,
}

#[derive(Debug)]
struct Guest {
    owner: Owner,
    state: State,
    /// It ends when its work is done, in calm times too.
    is_task: bool,
    /// When it begins to run.
    runs_at: Option<Moment>,
    /// When it ends, and how.
    ends_at: Option<(Moment, ExitCause)>,
}

/// What a request or the time did to guests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Started(ContainerId, Owner),
    Ended(ContainerId, Owner, &'static str),
}

impl Runner {
    /// A new agent connects and is told everything.
    pub(super) fn attach(&mut self) {
        self.told.clear();
        if self.guests.is_empty() {
            self.told.push_back(Told::Gone);
            return;
        }
        self.told.extend(self.guests.iter().map(|(id, guest)| told(id, guest)));
        self.told.push_back(Told::Synced { runtime: RUNTIME.to_owned() });
    }

    /// The process ends; the next one has no guests.
    pub(super) fn crash(&mut self) {
        self.guests.clear();
        self.told.clear();
        self.told.extend([Told::Unsure, Told::Gone]);
    }

    pub(super) fn calm(&mut self) {
        self.temper = Temper::Calm;
        for guest in self.guests.values_mut() {
            if !guest.is_task && matches!(guest.ends_at, Some((_, ExitCause::Code(_)))) {
                guest.ends_at = None;
            }
        }
    }

    /// What the agent hears next.
    pub(super) fn next_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// Whether the process ended and the agent does not know: what it asks meanwhile reaches nobody.
    pub(super) fn is_lost(&self) -> bool {
        self.told.contains(&Told::Gone)
    }

    pub(super) fn has_news(&self) -> bool {
        !self.told.is_empty()
    }

    /// Ids and owners of the guests that live.
    pub(super) fn alive(&self) -> impl Iterator<Item = (&ContainerId, &Owner)> {
        let lives = |guest: &&Guest| !matches!(guest.state, State::Exited(_));
        self.guests.iter().filter(move |(_, guest)| lives(guest)).map(|(id, guest)| (id, &guest.owner))
    }

    pub(super) fn handle(&mut self, request: Request, now: Moment, rng: &mut SmallRng) -> Option<Effect> {
        match request {
            Request::Start(spec) => {
                if let Some(guest) = self.guests.get(&spec.id) {
                    self.told.push_back(told(&spec.id, guest));
                    return None;
                }
                let starts = rng.random_range(Duration::from_millis(1)..Duration::from_millis(400));
                let is_task = spec.args.iter().any(|arg| arg == TASK);
                let is_broken = self.temper == Temper::Lively && spec.args.iter().any(|arg| arg == BROKEN);
                let ends = if is_task {
                    Some(draw_task(now + starts, rng))
                } else if is_broken {
                    Some((now + starts + BROKEN_LIFE, ExitCause::Code(1)))
                } else {
                    self.draw_end(now + starts, rng)
                };
                let guest = Guest {
                    owner: spec.owner.clone(),
                    state: State::Starting,
                    is_task,
                    runs_at: Some(now + starts),
                    ends_at: ends,
                };
                self.told.push_back(told(&spec.id, &guest));
                self.guests.insert(spec.id.clone(), guest);
                Some(Effect::Started(spec.id, spec.owner))
            }
            Request::Stop { id, grace_ms } => {
                let guest = self.guests.get_mut(&id)?;
                if matches!(guest.state, State::Exited(_)) {
                    return None;
                }
                let grace = Duration::from_millis(grace_ms);
                // Some guests stop when they are asked, others have to be interrupted.
                let end = if rng.random_bool(0.7) {
                    (
                        now + rng.random_range(Duration::ZERO..=grace.min(Duration::from_secs(2))),
                        ExitCause::Stopped,
                    )
                } else {
                    (now + grace, ExitCause::Killed)
                };
                let at = guest.ends_at.map_or(end.0, |(known, _)| known.min(end.0));
                guest.ends_at = Some((at, end.1));
                None
            }
            Request::Remove { id } => {
                if self.guests.get(&id).is_some_and(|guest| matches!(guest.state, State::Exited(_))) {
                    self.guests.remove(&id);
                }
                None
            }
            Request::Hello { .. }
            | Request::Shutdown
            | Request::StartLinux(_)
            | Request::OpenPod(_)
            | Request::OpenRunner { .. } => None,
        }
    }

    /// Takes note of the time.
    pub(super) fn handle_time(&mut self, now: Moment, wall: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (id, guest) in &mut self.guests {
            if let Some((at, cause)) = guest.ends_at
                && at <= now
            {
                let started_at = match guest.state {
                    State::Running { started_at } => Some(started_at),
                    _ => None,
                };
                (guest.runs_at, guest.ends_at) = (None, None);
                guest.state =
                    State::Exited(Exit { cause, message: String::new(), started_at, finished_at: wall });
                self.told.push_back(told(id, guest));
                let why = if matches!(cause, ExitCause::Code(_)) { "by itself" } else { "as told" };
                effects.push(Effect::Ended(id.clone(), guest.owner.clone(), why));
            } else if guest.runs_at.is_some_and(|at| at <= now) {
                guest.runs_at = None;
                guest.state = State::Running { started_at: wall };
                self.told.push_back(told(id, guest));
            }
        }
        effects
    }

    /// How a guest is found.
    pub(super) fn look(&self, id: &ContainerId, rng: &mut SmallRng) -> Outcome {
        let runs = self.guests.get(id).is_some_and(|guest| matches!(guest.state, State::Running { .. }));
        let is_sick = self.temper == Temper::Lively && rng.random_bool(FAILED_LOOKS);
        if runs && !is_sick { Outcome::Success } else { Outcome::Failure("connection refused".to_owned()) }
    }

    /// When a guest has something to do.
    pub(super) fn next_time(&self) -> Option<Moment> {
        let times = |guest: &Guest| [guest.runs_at, guest.ends_at.map(|(at, _)| at)];
        self.guests.values().flat_map(times).flatten().min()
    }

    fn draw_end(&self, from: Moment, rng: &mut SmallRng) -> Option<(Moment, ExitCause)> {
        let lively = self.temper == Temper::Lively && rng.random_bool(CRASH_SHARE);
        lively.then(|| {
            let life = rng.random_range(Duration::from_secs(1)..Duration::from_secs(120));
            (from + life, ExitCause::Code(1))
        })
    }
}

/// When a task is done, and whether well.
fn draw_task(from: Moment, rng: &mut SmallRng) -> (Moment, ExitCause) {
    let code = i32::from(rng.random_bool(FAILED_TASKS));
    (from + rng.random_range(Duration::from_millis(500)..Duration::from_secs(20)), ExitCause::Code(code))
}

fn told(id: &ContainerId, guest: &Guest) -> Told {
    Told::Container { id: id.clone(), owner: guest.owner.clone(), state: guest.state.clone() }
}

/// What the runner says it is.
pub(super) const RUNTIME: &str = "sim://1";

/// Argument of a guest that ends by itself.
pub(crate) const TASK: &str = "task";

/// Argument of a guest that cannot stay up; in calm times it can, for some may run on where no store knows of them.
pub(crate) const BROKEN: &str = "broken";

/// How long such a guest is up.
const BROKEN_LIFE: Duration = Duration::from_millis(700);

/// Where readiness probes ask.
pub(crate) const READINESS_PORT: u16 = 80;

/// Where liveness probes ask.
pub(crate) const LIVENESS_PORT: u16 = 81;

/// After how many failures in a row a guest is given up.
pub(crate) const LIVENESS_FAILURES: u32 = 2;

/// How many looks fail.
const FAILED_LOOKS: f64 = 0.08;

/// How many tasks fail.
const FAILED_TASKS: f64 = 0.2;

/// How many runs end by themselves.
const CRASH_SHARE: f64 = 0.1;
