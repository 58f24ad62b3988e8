//! Placing pods that wait, as the driver does: each is bound, or told why it waits, and less important ones go for its sake.

use dunlin_coordinator_core::{
    ObjectKey,
    deletion::{Manner, Propagation},
    pod_status,
    scheduler::{self, Preemption, Unschedulable, Victim},
    view::PodInfo,
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Coordinator, Process,
    carry_out::{change, delete, wish_of},
    ops::{Op, Then, Verdict},
    seen::Seen,
};
use crate::{context::Context, keys};

/// What was decided about a pod.
pub(super) struct Decision {
    key: ObjectKey,
    uid: PodUid,
    place: Placement,
}

enum Placement {
    On(NodeName),
    Nowhere { why: String, nomination: Nomination, preemption: Option<Preemption> },
}

/// What becomes of the node that is kept for a pod.
enum Nomination {
    Kept,
    Set(NodeName),
    Cleared,
}

impl Coordinator {
    /// Decides about the pods that wait, and has the oracle look at each decision.
    pub(super) fn decide_places(&mut self, context: &mut Context) -> Vec<Decision> {
        let now = context.wall();
        let mut decided = Vec::new();
        let Some(process) = &mut self.process else { return decided };
        for _ in 0..PLACEMENTS_PER_TURN {
            let Some(key) = process.reconciler.queue.pop(now) else { break };
            let Some(pod) = process.reconciler.view.pod(&key).cloned() else {
                process.reconciler.queue.remove(&key);
                continue;
            };
            let found = scheduler::place(&mut process.reconciler.view, &key, &pod);
            let seen = Seen { store: &self.store, unseen: &process.unseen };
            let fleet = seen.fleet(&process.reconciler.view, &key);
            context.oracle.judge_place(&fleet, &key, found.as_ref().map_err(|why| &**why));
            let place = match found {
                Ok(node) => {
                    process.reconciler.view.assume(&key, &node, now);
                    Placement::On(node)
                }
                Err(why) => {
                    process.reconciler.queue.park(&key, why.reasons.keys(), now);
                    let nomination = process.nominate(&key, &pod, &why, now);
                    Placement::Nowhere { why: why.to_string(), nomination, preemption: why.preemption }
                }
            };
            decided.push(Decision { key, uid: pod.uid.clone(), place });
        }
        decided
    }

    /// Binds a pod; or says why it has no node, and ends those that have to go for its sake.
    pub(super) fn place(&mut self, decision: Decision, context: &mut Context) {
        let Decision { key, uid, place } = decision;
        let now = context.wall();
        let stored = keys::pod(&key);
        match place {
            Placement::On(node) => {
                let bind = move |current: Option<&Value>| bind(current, &uid, &node, now);
                self.attempt(Op::new(stored, Then::Bound(key), bind), context);
            }
            Placement::Nowhere { why, nomination, preemption } => {
                let mark = move |pod: &mut Value| {
                    let said = ("False", scheduler::REASON_UNSCHEDULABLE, &*why);
                    let told = pod_status::set_condition(pod, "PodScheduled", said, now);
                    let nominated = match &nomination {
                        Nomination::Kept => false,
                        Nomination::Set(node) => pod_status::set_nominated(pod, Some(node.as_str())),
                        Nomination::Cleared => pod_status::set_nominated(pod, None),
                    };
                    told || nominated
                };
                self.attempt(change(stored, Then::Nothing, Some(uid), now, mark), context);
                let Some(preemption) = preemption else { return };
                for victim in preemption.victims.iter().filter(|victim| !victim.deleting) {
                    self.attempt(end(victim, now), context);
                }
                for displaced in &preemption.displaced {
                    let clear = |pod: &mut Value| pod_status::set_nominated(pod, None);
                    self.attempt(change(keys::pod(displaced), Then::Nothing, None, now, clear), context);
                }
            }
        }
    }
}

impl Process {
    /// Takes note of the node that is to be kept for a pod, before the store knows.
    fn nominate(
        &mut self,
        key: &ObjectKey,
        pod: &PodInfo,
        why: &Unschedulable,
        now: Timestamp,
    ) -> Nomination {
        let view = &mut self.reconciler.view;
        if let Some(preemption) = &why.preemption {
            view.nominate(key, &preemption.node, now);
            for displaced in &preemption.displaced {
                view.withdraw(displaced, now);
                self.reconciler.queue.renew(displaced);
            }
            return Nomination::Set(preemption.node.clone());
        }
        if pod.nominated.is_some() && !why.keeps_nomination() {
            view.withdraw(key, now);
            return Nomination::Cleared;
        }
        Nomination::Kept
    }
}

/// As `pods/binding` does.
fn bind(current: Option<&Value>, uid: &PodUid, node: &NodeName, now: Timestamp) -> Verdict {
    let Some(current) = current else { return Verdict::Gone };
    let (metadata, spec) = (&current["metadata"], &current["spec"]);
    let is_free = metadata["uid"] == uid.as_str()
        && metadata["deletionTimestamp"].is_null()
        && spec["nodeName"].is_null();
    if !is_free {
        return Verdict::Refuse;
    }
    let mut pod = current.clone();
    pod["spec"]["nodeName"] = json!(node.as_str());
    pod_status::set_condition(&mut pod, "PodScheduled", ("True", "", ""), now);
    Verdict::Put(pod)
}

/// A pod goes for another's sake.
fn end(victim: &Victim, now: Timestamp) -> Op {
    let uid = victim.uid.as_str().to_owned();
    Op::new(keys::pod(&victim.key), Then::Nothing, move |current| {
        let Some(current) = current.filter(|pod| pod["metadata"]["uid"] == uid.as_str()) else {
            return Verdict::Gone;
        };
        let mut pod = current.clone();
        let condition =
            ("True", scheduler::REASON_PREEMPTED, "preempting to accommodate a higher priority pod");
        pod_status::set_condition(&mut pod, "DisruptionTarget", condition, now);
        delete(Manner::Pod, Some(&pod), &wish_of(Some(&uid), Propagation::Background), now)
    })
}

/// As the driver has it.
const PLACEMENTS_PER_TURN: usize = 128;
