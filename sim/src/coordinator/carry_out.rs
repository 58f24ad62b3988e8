//! Carrying out what clients, controllers and the scheduler want, as the service and the driver do.

use dunlin_coordinator_core::{
    ObjectKey,
    controllers::{Action, WorkloadAction},
    deletion::{self, Manner, Propagation, Stop, Wish},
    node_status, pod_status,
    reconciler::Key,
    view::ObjectId,
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use rand::seq::SliceRandom as _;
use serde_json::Value;

use super::{
    Coordinator, Plan,
    ops::{Op, Then, Verdict},
    workloads::{self, Heed},
};
use crate::{
    context::Context,
    keys::{self, Place},
    oracle::RequestId,
    plant::Plant,
};

/// What a client asks.
#[derive(Debug)]
pub(crate) enum Request {
    /// Create an object.
    Create(String, Value),
    /// Put an object, whether it is there or not.
    Put(String, Value),
    /// Delete a pod.
    DeletePod(ObjectKey, Option<i64>),
    /// Delete a workload or a budget, and what belongs to it.
    Delete(ObjectId),
    /// Create a workload or a budget, or change it into this.
    Apply(ObjectId, Value),
    /// Evict a pod, as far as its budget allows.
    Evict(ObjectKey),
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
                Op::new(keys::pod(&key), Then::Client(id), move |current| {
                    delete(Manner::Pod, current, &wish, now)
                })
            }
            Request::Delete(object) => {
                workloads::delete_object(&object, None, Propagation::Background, Then::Client(id), now)
            }
            Request::Apply(object, manifest) => self.apply(&object, manifest, Then::Client(id), now),
            Request::Evict(pod) => {
                let ignored = context.plant == Some(Plant::IgnoredBudget);
                let heed = if ignored { Heed::Nothing } else { Heed::Budgets };
                workloads::evict(&pod, Then::Client(id), heed, now)
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

    /// Carries out a controller's plan, its actions in any order.
    pub(super) fn carry_out(&mut self, key: Key, mut actions: Vec<Action>, context: &mut Context) {
        let Some(process) = &mut self.process else { return };
        process.tickets += 1;
        let ticket = process.tickets;
        let now = context.wall();
        let refuses = context.now < self.refusing_until;
        let then = || Then::Plan(ticket);
        actions.shuffle(&mut context.rng);
        let (mut ops, mut failure) = (Vec::new(), None);
        for action in actions {
            match action {
                Action::Workload(_, WorkloadAction::Create(_) | WorkloadAction::CreateObject { .. })
                    if refuses =>
                {
                    failure = Some("admission denied the request".to_owned());
                }
                Action::Workload(_, WorkloadAction::Create(creation)) => {
                    ops.extend(self.creations(&creation, &then, now));
                }
                Action::Measure { key, api_version, kind, name } => {
                    self.measure(&key, (&api_version, &kind, &name), context);
                }
                Action::Rescale(rescale) => ops.extend(self.rescale(&rescale, &then, now)),
                Action::Workload(_, WorkloadAction::CreateObject { resource, namespace, object }) => {
                    ops.push(self.creation(resource, &namespace, object, then(), now));
                }
                action => {
                    note_deletion(&action, context);
                    ops.push(act(action, then(), context.plant, now));
                }
            }
        }
        let Some(process) = &mut self.process else { return };
        process.plans.insert(ticket, Plan { key, left: ops.len() + 1, failure });
        for op in ops {
            self.attempt(op, context);
        }
        self.acted(ticket, context);
    }
}

/// The oracle has to know which pods controllers of workloads delete.
fn note_deletion(action: &Action, context: &mut Context) {
    if let Action::Workload(_, WorkloadAction::DeleteOwned { id, uid, .. }) = action
        && id.resource == keys::PODS_RESOURCE
    {
        context.oracle.workloads.deletes(uid);
    }
}

fn act(action: Action, then: Then, plant: Option<Plant>, now: Timestamp) -> Op {
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
            Op::new(keys::pod(&key), then, move |current| delete(Manner::Pod, current, &wish, now))
        }
        Action::Remove(key, uid, _) => {
            let wish = wish(Some(0), Some(uid), Stop::Ordered);
            Op::new(keys::pod(&key), then, move |current| delete(Manner::Pod, current, &wish, now))
        }
        Action::UpdateBudget(update) => workloads::update_budget(*update, then, now),
        // A planted bug: what an owner leaves behind stays.
        Action::DeleteDependent { .. } if plant == Some(Plant::LeftDependents) => nothing(then),
        Action::DeleteDependent { id, uid, propagation } => {
            workloads::delete_dependent(&id, &uid, propagation, then, now)
        }
        Action::Disown { id, uid, owners } => workloads::disown(&id, &uid, owners, then, now),
        Action::RemoveFinalizer { id, uid, finalizer } => {
            workloads::remove_finalizer(&id, &uid, finalizer, then, now)
        }
        // A planted bug: what was once said of a Service's pods stays.
        Action::Workload(_, WorkloadAction::Patch { ref id, .. })
            if id.resource == keys::ENDPOINT_SLICES && plant == Some(Plant::StaleEndpoints) =>
        {
            nothing(then)
        }
        Action::Workload(_, action) => act_for_workload(action, then, now),
        // Nobody reads events here, and there are no namespaces, certificates and roles.
        _ => nothing(then),
    }
}

fn act_for_workload(action: WorkloadAction, then: Then, now: Timestamp) -> Op {
    match action {
        WorkloadAction::Patch { id, uid, subresource, patch } => {
            workloads::patch_object(&id, &uid, subresource, patch, then, now)
        }
        WorkloadAction::WriteStatus { id, uid, change } => {
            workloads::write_status(&id, &uid, change, then, now)
        }
        WorkloadAction::DeleteOwned { id, uid, .. } => {
            workloads::delete_object(&id, Some(&uid), Propagation::Background, then, now)
        }
        WorkloadAction::DeleteExpired { id, uid } => {
            workloads::delete_object(&id, Some(&uid), Propagation::Foreground, then, now)
        }
        WorkloadAction::Adopt { id, uid, owner, owner_uid } => {
            workloads::adopt(&id, &uid, &owner, &owner_uid, then, now)
        }
        WorkloadAction::Release { id, uid, owner } => {
            workloads::disown(&id, &uid, vec![owner.to_string()], then, now)
        }
        WorkloadAction::Discard { id, uid } => {
            workloads::delete_object(&id, Some(&uid), Propagation::Default, then, now)
        }
        WorkloadAction::Reown { id, uid, gone, owner } => workloads::reown(&id, &uid, gone, owner, then, now),
        WorkloadAction::RestoreTemplate { id, uid, generation, from, from_uid } => {
            workloads::restore_template(&id, &uid, generation, (from, from_uid), then, now)
        }
        // Creations are expanded by the caller, nobody reads events here, and there are no volumes.
        WorkloadAction::Create(_)
        | WorkloadAction::CreateObject { .. }
        | WorkloadAction::Guard { .. }
        | WorkloadAction::Unguard { .. }
        | WorkloadAction::ClaimVolume { .. }
        | WorkloadAction::UnclaimVolume { .. }
        | WorkloadAction::Tell { .. } => nothing(then),
    }
}

fn nothing(then: Then) -> Op {
    Op::new(keys::TERM.to_owned(), then, |_| Verdict::Keep)
}

/// A change of an object, which may also end it.
pub(super) fn change(
    key: String,
    then: Then,
    uid: Option<PodUid>,
    now: Timestamp,
    change: impl Fn(&mut Value) -> bool + 'static,
) -> Op {
    let manner = Place::of(&key).manner();
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

pub(super) fn delete(manner: Manner, current: Option<&Value>, wish: &Wish, now: Timestamp) -> Verdict {
    let Some(current) = current else { return Verdict::Gone };
    deletion::decide(manner, current, wish, now).map_or(Verdict::Gone, Verdict::from)
}

pub(super) fn wish(grace_seconds: Option<i64>, uid: Option<PodUid>, stop: Stop) -> Wish {
    let uid = uid.map(|uid| uid.as_str().to_owned());
    Wish { grace_seconds, uid, resource_version: None, propagation: Propagation::Background, stop }
}

/// One that leaves the grace to the object.
pub(super) fn wish_of(uid: Option<&str>, propagation: Propagation) -> Wish {
    let uid = uid.map(str::to_owned);
    Wish { grace_seconds: None, uid, resource_version: None, propagation, stop: Stop::Ordered }
}
