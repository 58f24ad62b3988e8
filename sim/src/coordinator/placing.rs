//! Placing pods that wait, as the driver does: each is bound, or told why it waits, and less important ones go for its sake.

use dunlin_coordinator_core::{
    ObjectKey,
    deletion::{Manner, Propagation},
    pod_status,
    reconciler::{PLACEMENTS_PER_TURN, Placement},
    scheduler::{self, Victim},
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Coordinator,
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

impl Coordinator {
    /// Decides about the pods that wait, and has the oracle look at each decision.
    pub(super) fn decide_places(&mut self, context: &mut Context) -> Vec<Decision> {
        let now = context.wall();
        let mut decided = Vec::new();
        let Some(process) = &mut self.process else { return decided };
        for _ in 0..PLACEMENTS_PER_TURN {
            let Some((key, pod)) = process.reconciler.next_waiting(now) else { break };
            let found = scheduler::place(&mut process.reconciler.view, &key, &pod);
            let seen = Seen { store: &self.store, unseen: &process.unseen };
            let fleet = seen.fleet(&process.reconciler.view, &key);
            context.oracle.judge_place(&fleet, &key, found.as_ref().map_err(|why| &**why));
            let place = process.reconciler.placed(&key, &pod, found, now);
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
            Placement::Nowhere { why, nomination } => {
                let (message, preemption) = (why.to_string(), why.preemption);
                let mark = move |pod: &mut Value| {
                    let said = ("False", scheduler::REASON_UNSCHEDULABLE, &*message);
                    let told = pod_status::set_condition(pod, "PodScheduled", said, now);
                    nomination.write(pod) || told
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
