//! The steps of an automatic rollback, the same for every kind. Each call decides on the one that is due; what was done is found in what
//! is stored.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{
    super::{
        Action, WorkloadAction, conditions,
        tell::{Component, Severity},
    },
    CONDITION, Mark, NO_STABLE_REVISION, NOT_TRIED_AGAIN, Policy, ROLLED_BACK, STABLE, STABLE_REVISION_FAILS,
    TIMED_OUT, Verdict,
};
use crate::view::{
    ObjectId,
    workload::{Condition, Meta},
};

/// What keeps a revision.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Kept<'a> {
    pub(in super::super) id: &'a ObjectId,
    pub(in super::super) meta: &'a Meta,
    /// The revision's number.
    pub(in super::super) number: i64,
}

/// A look at a workload.
#[derive(Debug)]
pub(in super::super) struct Situation<'a> {
    pub(in super::super) by: Component,
    /// Whoever may change its template.
    pub(in super::super) restores: Component,
    pub(in super::super) id: &'a ObjectId,
    pub(in super::super) meta: &'a Meta,
    /// What keeps the revision of the template as it is.
    pub(in super::super) newest: Option<Kept<'a>>,
    /// What keeps the others.
    pub(in super::super) old: Vec<Kept<'a>>,
    /// The one that is known to have been rolled out in full, with pods that serve.
    pub(in super::super) through: Option<Kept<'a>>,
    /// Why the newest has failed, if it has.
    pub(in super::super) failure: Option<String>,
    pub(in super::super) conditions: &'a [Condition],
    pub(in super::super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(in super::super) struct Decision {
    pub(in super::super) actions: Vec<Action>,
    /// What the conditions become, if they change.
    pub(in super::super) conditions: Option<Vec<Condition>>,
    pub(in super::super) next: Next,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Next {
    /// The rollout goes on.
    #[default]
    Rollout,
    /// What was done has to be seen before anything else is.
    Wait,
    /// The rollout goes on as if the template were that of another revision.
    Hold(ObjectId, Verdict),
}

impl Kept<'_> {
    /// As messages name it.
    fn named(&self) -> String {
        let kind = self.id.resource.kind().map_or("", |kind| kind.kind);
        format!("revision {} ({kind} \"{}\")", self.number, self.id.key.name)
    }

    /// Whether a message is about it.
    pub(in super::super) fn is_named(&self, message: &str) -> bool {
        message.contains(&format!("\"{}\"", self.id.key.name))
    }
}

/// Decides.
pub(in super::super) fn decide(situation: &Situation<'_>) -> Decision {
    let mut decision = Decision::default();
    if forget(situation, &mut decision) == Next::Wait
        || Policy::of(situation.meta) == Policy::Never
        || note_stable(situation, &mut decision) == Next::Wait
    {
        return decision;
    }
    finish(situation, &mut decision);
    let Some(newest) = &situation.newest else { return decision };
    match (Mark::of(newest.meta), last_stable(&situation.old)) {
        (Some(Mark::Done), Some(stable)) => decision.next = hold(newest, stable),
        (Some(Mark::Pending), Some(stable)) => restore(situation, stable, &mut decision),
        // Nothing is there to run instead.
        (Some(_), None) => {}
        (None, stable) => {
            if let Some(why) = &situation.failure {
                give_up(situation, (newest, why), stable, &mut decision);
            }
        }
    }
    decision
}

/// Revisions that have to be kept whatever the history's limit: the one to go back to, and the last that was rolled back from.
pub(in super::super) fn needed<'a>(meta: &Meta, old: &[Kept<'a>]) -> Vec<&'a ObjectId> {
    if Policy::of(meta) == Policy::Never {
        return Vec::new();
    }
    let left = old.iter().filter(|kept| Mark::of(kept.meta).is_some()).max_by_key(|kept| kept.number);
    [last_stable(old), left].into_iter().flatten().map(|kept| kept.id).collect()
}

/// Takes the condition away that is about an earlier template: another was tried since, or nobody asks any more.
fn forget(situation: &Situation<'_>, decision: &mut Decision) -> Next {
    let Some(told) = conditions::get(situation.conditions, CONDITION) else { return Next::Rollout };
    let is_asked = Policy::of(situation.meta) != Policy::Never;
    let is_about_others = |newest: &Kept<'_>| {
        let is_new = Mark::of(newest.meta).is_none() && newest.meta.annotation(STABLE).is_none();
        is_new && !newest.is_named(&told.message)
    };
    if is_asked && !situation.newest.as_ref().is_some_and(is_about_others) {
        return Next::Rollout;
    }
    let mut all = situation.conditions.to_vec();
    conditions::remove(&mut all, CONDITION);
    decision.conditions = Some(all);
    decision.next = Next::Wait;
    Next::Wait
}

/// Notes on what keeps a revision that it was rolled out in full.
fn note_stable(situation: &Situation<'_>, decision: &mut Decision) -> Next {
    let Some(through) = &situation.through else { return Next::Rollout };
    let known = through.meta.number(STABLE);
    if known == Some(through.number) || Mark::of(through.meta).is_some() {
        return Next::Rollout;
    }
    if known.is_none() && conditions::get(situation.conditions, CONDITION).is_some() {
        let mut all = situation.conditions.to_vec();
        conditions::remove(&mut all, CONDITION);
        decision.conditions = Some(all);
    } else {
        annotate(situation, through, (STABLE, &through.number.to_string()), decision);
    }
    decision.next = Next::Wait;
    Next::Wait
}

/// Notes on revisions that were left that they were.
fn finish(situation: &Situation<'_>, decision: &mut Decision) {
    let left = situation.old.iter().filter(|kept| Mark::of(kept.meta) == Some(Mark::Pending));
    for kept in left {
        annotate(situation, kept, (ROLLED_BACK, Mark::Done.text()), decision);
        tell(
            situation,
            Severity::Normal,
            "RolledBack",
            format!("Rolled back from {}", kept.named()),
            decision,
        );
    }
}

/// Lets the stable revision go on although the template is that of one that was rolled back from.
fn hold(newest: &Kept<'_>, stable: &Kept<'_>) -> Next {
    let message = format!(
        "The template is that of {}, which was rolled back from: {} is kept. Another template is rolled out; \
         `kubectl rollout undo --to-revision={}` gives it that of the one that is kept.",
        newest.named(),
        stable.named(),
        stable.number
    );
    Next::Hold(stable.id.clone(), Verdict { status: "True", reason: NOT_TRIED_AGAIN, message })
}

fn restore(situation: &Situation<'_>, stable: &Kept<'_>, decision: &mut Decision) {
    let action = WorkloadAction::RestoreTemplate {
        id: situation.id.clone(),
        uid: Arc::clone(&situation.meta.uid),
        generation: situation.meta.generation,
        from: stable.id.clone(),
        from_uid: Arc::clone(&stable.meta.uid),
    };
    decision.actions.push(Action::Workload(situation.restores, action));
    decision.next = Next::Wait;
}

/// The newest revision has failed: says so, then marks it as the one to be left; or says why nothing is done about it.
fn give_up(
    situation: &Situation<'_>,
    (newest, why): (&Kept<'_>, &str),
    stable: Option<&Kept<'_>>,
    decision: &mut Decision,
) {
    let was_stable = newest.meta.annotation(STABLE).is_some();
    let verdict = match stable {
        Some(stable) if !was_stable => Verdict {
            status: "True",
            reason: TIMED_OUT,
            message: format!("{} is rolled back to {}: {why}", newest.named(), stable.named()),
        },
        _ => {
            let (reason, what) = if was_stable {
                (STABLE_REVISION_FAILS, "was stable before, so none is gone back to")
            } else {
                (NO_STABLE_REVISION, "has failed, and no revision is known that was stable")
            };
            Verdict { status: "False", reason, message: format!("{} {what}: {why}", newest.named()) }
        }
    };
    // What exactly is wrong may change from look to look; it is said once.
    let told = conditions::get(situation.conditions, CONDITION);
    let is_told = told.is_some_and(|told| {
        told.status == verdict.status && told.reason == verdict.reason && newest.is_named(&told.message)
    });
    match (is_told, verdict.status) {
        (true, "True") => annotate(situation, newest, (ROLLED_BACK, Mark::Pending.text()), decision),
        (true, _) => return,
        (false, status) => {
            let mut all = situation.conditions.to_vec();
            verdict.put(&mut all, situation.now);
            decision.conditions = Some(all);
            let event = if status == "True" { "RollingBack" } else { "NotRolledBack" };
            tell(situation, Severity::Warning, event, verdict.message, decision);
        }
    }
    decision.next = Next::Wait;
}

fn last_stable<'a, 'b>(old: &'b [Kept<'a>]) -> Option<&'b Kept<'a>> {
    let known = old.iter().filter(|kept| !kept.meta.deleting && Mark::of(kept.meta).is_none());
    known.filter(|kept| kept.meta.number(STABLE).is_some()).max_by_key(|kept| kept.meta.number(STABLE))
}

fn annotate(situation: &Situation<'_>, kept: &Kept<'_>, (key, value): (&str, &str), decision: &mut Decision) {
    let patch = WorkloadAction::Patch {
        id: kept.id.clone(),
        uid: Arc::clone(&kept.meta.uid),
        subresource: "",
        patch: json!({ "metadata": { "annotations": { key: value } } }),
    };
    decision.actions.push(Action::Workload(situation.by, patch));
}

fn tell(
    situation: &Situation<'_>,
    severity: Severity,
    reason: &'static str,
    message: String,
    decision: &mut Decision,
) {
    let (about, uid) = (situation.id.clone(), Arc::clone(&situation.meta.uid));
    let told = WorkloadAction::Tell { about, uid, severity, reason, message };
    decision.actions.push(Action::Workload(situation.by, told));
}
