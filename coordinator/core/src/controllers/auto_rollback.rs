//! Automatic rollback, as far as it is the same for every kind: when it is asked for, what is kept of it, and the words that say so.
//! `docs/design/workloads.md` says what the steps are.

pub(super) mod steps;

use std::time::Duration;

use jiff::Timestamp;

use super::conditions;
use crate::view::{
    PodInfo,
    workload::{Condition, Meta},
};

/// What counts as the failure of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nothing: whoever looks decides.
    Never,
    /// A missed progress deadline.
    Deadline,
    /// Also pods that keep crashing.
    Failures,
}

/// How far the rollback from a revision has come, by an annotation of what keeps the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is to be left.
    Pending,
    /// It was left, and is not to be tried again.
    Done,
}

/// What the condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Policy {
    /// What an object's annotation says. The API lets nothing else through than what is known here.
    pub(super) fn of(meta: &Meta) -> Self {
        match meta.annotation(POLICY) {
            Some("true") => Self::Failures,
            Some("deadline") => Self::Deadline,
            _ => Self::Never,
        }
    }
}

impl Mark {
    /// That of a revision.
    pub(super) fn of(meta: &Meta) -> Option<Self> {
        match meta.annotation(ROLLED_BACK)? {
            "done" => Some(Self::Done),
            _ => Some(Self::Pending),
        }
    }

    /// The annotation's value.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
        }
    }
}

impl Verdict {
    /// Puts it into the conditions.
    pub(super) fn put(&self, all: &mut Vec<Condition>, now: Timestamp) {
        conditions::say(all, CONDITION, (self.status, self.reason, &self.message), now);
    }
}

/// Whether a pod's containers were restarted so often that its revision counts as broken.
pub(crate) fn keeps_crashing(pod: &PodInfo) -> bool {
    pod.is_active() && !pod.is_ready() && pod.restarts >= RESTARTS_MAX
}

/// How long a rollout may get on no further, for kinds whose spec has no field for it.
pub(super) fn deadline(meta: &Meta) -> Duration {
    let seconds = meta.number(DEADLINE).and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(DEADLINE_DEFAULT))
}

/// Type of the condition that says whether a rollout gets on. Kubernetes has it at Deployments only.
pub(super) const PROGRESSING: &str = "Progressing";

/// Its reason at other kinds when the rollout is through.
pub(super) const THROUGH: &str = "NewRevisionAvailable";

/// Its reason at other kinds while pods come and go.
pub(super) const UPDATED: &str = "RevisionUpdated";

/// Says the deadline in seconds.
const DEADLINE: &str = "dunlin.dev/progress-deadline-seconds";

/// The deadline where nothing is said, as for Deployments.
const DEADLINE_DEFAULT: u64 = 600;

/// Says whether and for what an object is rolled back.
const POLICY: &str = "dunlin.dev/auto-rollback";

/// On what keeps a revision: the number under which it was last stable.
pub(crate) const STABLE: &str = "dunlin.dev/stable-revision";

/// On what keeps a revision: that it was rolled back from.
pub(super) const ROLLED_BACK: &str = "dunlin.dev/rolled-back";

/// Type of the condition.
pub(crate) const CONDITION: &str = "RolledBack";

/// Its reason when a template is applied again that was rolled back from.
pub(super) const NOT_TRIED_AGAIN: &str = "NotTriedAgain";

/// Its reason when there is nothing to go back to.
pub(super) const NO_STABLE_REVISION: &str = "NoStableRevision";

/// Its reason when it is the stable revision that fails.
pub(super) const STABLE_REVISION_FAILS: &str = "StableRevisionFails";

/// Reason of the condition `Progressing`, and of this one, when a revision has failed.
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Restarts after which a pod that is still not available counts as broken. With the delays between restarts that is after two and a
/// half minutes: whoever waits for another pod to come up is through by then.
pub(crate) const RESTARTS_MAX: u32 = 5;
