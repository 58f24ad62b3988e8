//! What is known of one run by asking it: the state of its probes and of its hook after the start. Decides nothing about the pod.

use dunlin_link::care::ContainerProbe;

use crate::{check::CheckTicket, clock::Mono};

/// The questions about one run. A new run begins with the default.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Since when it runs, by the clock that never jumps; `None` until it does.
    pub(super) since: Option<Mono>,
    pub(super) startup: Watch,
    pub(super) liveness: Watch,
    pub(super) readiness: Watch,
    pub(super) post_start: PostStart,
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// What a look was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Probe(ProbeKind),
    PostStart,
}

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Success,
    Failure,
}

/// One probe over one run.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Once enough looks in a row agreed.
    pub(super) verdict: Option<Verdict>,
    /// Of the last look, and how many in a row were like it.
    last: Option<Verdict>,
    streak: u32,
    turn: Turn,
    /// Whether an earlier agent has watched this run: then one success is enough to go on from.
    inherited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// Its time has not come.
    #[default]
    Idle,
    /// The next look.
    Due(Mono),
    /// A look is under way, begun then.
    Asked(CheckTicket, Mono),
    /// It has said what it had to say about this run.
    Over,
}

/// The hook after the start of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PostStart {
    #[default]
    NotBegun,
    /// Being asked.
    Asked(CheckTicket),
    /// A sleep, until then.
    Sleeps(Mono),
    /// Done, or there is none.
    Done,
    /// It failed: the run never counts as started, and is being stopped.
    Failed,
}

impl Asking {
    /// The questions about a run that an earlier agent has watched.
    pub(super) fn inherited(since: Mono) -> Self {
        let watch = || Watch { inherited: true, ..Watch::default() };
        Self {
            since: Some(since),
            startup: watch(),
            liveness: watch(),
            readiness: watch(),
            post_start: PostStart::Done,
        }
    }

    pub(super) fn watch(&self, kind: ProbeKind) -> &Watch {
        match kind {
            ProbeKind::Startup => &self.startup,
            ProbeKind::Liveness => &self.liveness,
            ProbeKind::Readiness => &self.readiness,
        }
    }

    pub(super) fn watch_mut(&mut self, kind: ProbeKind) -> &mut Watch {
        match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Liveness => &mut self.liveness,
            ProbeKind::Readiness => &mut self.readiness,
        }
    }

    /// What a look was for that is still waited for.
    pub(super) fn purpose(&self, ticket: CheckTicket) -> Option<Purpose> {
        if self.post_start == PostStart::Asked(ticket) {
            return Some(Purpose::PostStart);
        }
        let all = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
        let asked =
            |kind: &ProbeKind| matches!(self.watch(*kind).turn, Turn::Asked(asked, _) if asked == ticket);
        all.into_iter().find(asked).map(Purpose::Probe)
    }
}

impl Watch {
    /// When the next look is due; `None` while one is under way, or when none follows. The first is due at `first`.
    pub(super) fn due(&self, first: Mono) -> Option<Mono> {
        match self.turn {
            Turn::Idle => Some(first),
            Turn::Due(at) => Some(at),
            Turn::Asked(..) | Turn::Over => None,
        }
    }

    /// A look begins.
    pub(super) fn ask(&mut self, ticket: CheckTicket, now: Mono) {
        self.turn = Turn::Asked(ticket, now);
    }

    /// A look could not be made, or says nothing.
    pub(super) fn skip(&mut self, probe: &ContainerProbe, now: Mono) {
        self.rest(probe, now);
    }

    /// A look ended; answers the verdict if this look completed it.
    pub(super) fn hear(&mut self, said: Verdict, probe: &ContainerProbe, now: Mono) -> Option<Verdict> {
        self.rest(probe, now);
        self.streak = if self.last == Some(said) { self.streak.saturating_add(1) } else { 1 };
        self.last = Some(said);
        let enough = match said {
            Verdict::Success if std::mem::take(&mut self.inherited) => 1,
            Verdict::Success => probe.success_threshold,
            Verdict::Failure => probe.failure_threshold,
        };
        self.inherited = false;
        if self.streak < enough {
            return None;
        }
        self.verdict = Some(said);
        Some(said)
    }

    /// No look follows in this run.
    pub(super) fn close(&mut self) {
        self.turn = Turn::Over;
    }

    /// Whether an earlier agent knew more of this run than this one has heard yet.
    pub(super) fn is_unheard(&self) -> bool {
        self.inherited
    }

    /// The next look is due a period after the last one began, and never before that has ended.
    fn rest(&mut self, probe: &ContainerProbe, now: Mono) {
        let begun = match self.turn {
            Turn::Asked(_, begun) => begun,
            _ => now,
        };
        let period_ms = u64::from(probe.period_seconds.max(1)) * 1000;
        self.turn = Turn::Due(begun.plus_millis(period_ms).max(now));
    }
}
