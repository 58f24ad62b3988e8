//! Carrying out what clients, controllers and the scheduler want, as the service and the driver do.

use dunlin_coordinator_core::{
    ObjectKey,
    controllers::Action,
    deletion::{self, Manner, Propagation, Stop, Wish},
    node_status, pod_status,
    reconciler::Key,
    scheduler,
    view::PodInfo,
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Coordinator,
    ops::{Op, Then, Verdict},
};
use crate::{context::Context, keys, oracle::RequestId};

/// What a client asks.
#[derive(Debug)]
pub(crate) enum Request {
    /// Create an object.
    Create(String, Value),
    /// Put an object, whether it is there or not.
    Put(String, Value),
    /// Delete a pod.
    DeletePod(ObjectKey, Option<i64>),
    /// Set whether a node takes new pods.
    Cordon(NodeName, bool),
}

impl Coordinator {
    /// Takes a client's request; the oracle hears the answer, if there is ever one.
    pub(crate) fn request(&mut self, id: RequestId, request: Request, context: &mut Context) {
        let now = context.wall();
        let op = match request {
            Request::Create(key, object) => Op::new(key, Then::Client(id), move |current| match current {
                Some(_) => Verdict::Refuse,
                None => Verdict::Put(object.clone()),
            }),
            Request::Put(key, object) => {
                Op::new(key, Then::Client(id), move |_| Verdict::Put(object.clone()))
            }
            Request::DeletePod(key, grace_seconds) => {
                let wish = wish(grace_seconds, None, Stop::Ordered);
                Op::new(keys::pod(&key), Then::Client(id), move |current| delete(current, &wish, now))
            }
            Request::Cordon(node, unschedulable) => {
                let cordon = move |node: &mut Value| {
                    node["spec"]["unschedulable"] = unschedulable.into();
                    true
                };
                change(keys::node(&node), Then::Client(id), None, now, cordon)
            }
        };
        self.attempt(op, context);
    }

    /// Carries out a controller's plan.
    pub(super) fn carry_out(&mut self, key: Key, actions: Vec<Action>, context: &mut Context) {
        let Some(process) = &mut self.process else { return };
        process.tickets += 1;
        let plan = process.tickets;
        process.plans.insert(plan, (key, actions.len()));
        let now = context.wall();
        for action in actions {
            let op = act(action, Then::Plan(plan), now);
            self.attempt(op, context);
        }
    }

    /// Binds a pod, or says why it has no node.
    pub(super) fn place(
        &mut self,
        key: ObjectKey,
        pod: &PodInfo,
        place: Result<NodeName, String>,
        context: &mut Context,
    ) {
        let now = context.wall();
        let stored = keys::pod(&key);
        let uid = pod.uid.clone();
        let op = match place {
            Ok(node) => Op::new(stored, Then::Bound(key), move |current| bind(current, &uid, &node, now)),
            Err(why) => {
                let mark = move |pod: &mut Value| {
                    let said = ("False", scheduler::REASON_UNSCHEDULABLE, &*why);
                    pod_status::set_condition(pod, "PodScheduled", said, now)
                };
                change(stored, Then::Nothing, Some(uid), now, mark)
            }
        };
        self.attempt(op, context);
    }
}

fn act(action: Action, then: Then, now: Timestamp) -> Op {
    match action {
        Action::MarkNodeUnknown { node, .. } => {
            change(keys::node(&node), then, None, now, move |node| node_status::mark_unknown(node, now))
        }
        Action::MarkNodeKnown { node, .. } => {
            change(keys::node(&node), then, None, now, move |node| node_status::mark_known(node, now))
        }
        Action::Taint { node, add, remove, .. } => change(keys::node(&node), then, None, now, move |node| {
            node_status::change_taints(node, &add, &remove, now)
        }),
        Action::MarkPodLost(key, uid) => {
            change(keys::pod(&key), then, Some(uid), now, move |pod| pod_status::mark_node_lost(pod, now))
        }
        Action::MarkPodFound(key, uid) => {
            change(keys::pod(&key), then, Some(uid), now, move |pod| pod_status::mark_node_found(pod, now))
        }
        Action::Evict(key, uid) => {
            let wish = wish(None, Some(uid), Stop::Ordered);
            Op::new(keys::pod(&key), then, move |current| delete(current, &wish, now))
        }
        Action::Remove(key, uid) => {
            let wish = wish(Some(0), Some(uid), Stop::Ordered);
            Op::new(keys::pod(&key), then, move |current| delete(current, &wish, now))
        }
        // The simulator makes no namespaces and no owners.
        _ => Op::new(keys::TERM.to_owned(), then, |_| Verdict::Keep),
    }
}

/// A change of an object, which may also end it.
pub(super) fn change(
    key: String,
    then: Then,
    uid: Option<PodUid>,
    now: Timestamp,
    change: impl Fn(&mut Value) -> bool + 'static,
) -> Op {
    let manner = manner_of(&key);
    Op::new(key, then, move |current| {
        let Some(current) = current else { return Verdict::Gone };
        if uid.as_ref().is_some_and(|uid| current["metadata"]["uid"] != uid.as_str()) {
            return Verdict::Gone;
        }
        let mut new = current.clone();
        if !change(&mut new) {
            return Verdict::Keep;
        }
        deletion::settle(manner, new, now).into()
    })
}

pub(super) fn delete(current: Option<&Value>, wish: &Wish, now: Timestamp) -> Verdict {
    let Some(current) = current else { return Verdict::Gone };
    deletion::decide(Manner::Pod, current, wish, now).map_or(Verdict::Gone, Verdict::from)
}

pub(super) fn wish(grace_seconds: Option<i64>, uid: Option<PodUid>, stop: Stop) -> Wish {
    let uid = uid.map(|uid| uid.as_str().to_owned());
    Wish { grace_seconds, uid, resource_version: None, propagation: Propagation::Background, stop }
}

fn manner_of(key: &str) -> Manner {
    if key.starts_with(keys::PODS) { Manner::Pod } else { Manner::Plain }
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
