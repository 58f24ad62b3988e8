//! Claims and volumes: which claim gets which volume, and what is kept until nobody uses it.
//!
//! `pkg/controller/volume` of Kubernetes is the reference (`persistentvolume`, `pvcprotection`, `pvprotection`). Nothing is provisioned
//! here: volumes are there already, or somebody else makes them. A plan makes one step of a binding, each of which is found again in what
//! is stored: the volume names the claim, the claim names the volume and says that binding it is over, and then both say that they are bound.

mod binding;
mod matching;
mod phase;

use std::sync::Arc;

pub(crate) use self::matching::may_have;
use super::{Action, Plan, WorkloadAction, tell::Component};
use crate::{
    ObjectKey,
    view::{
        Claim, ObjectId, PodClaim, PodInfo, Resource, View, claim::PROTECTION, volumes::VOLUME_PROTECTION,
    },
};

/// What to do about a claim.
pub fn reconcile_claim(view: &View, key: &ObjectKey) -> Plan {
    let Some(claim) = view.claim(key) else { return Plan::nothing() };
    let mut plan = Plan::nothing();
    let id = claim_id(key);
    if claim.deleting && claim.protected && !is_used(view, key, claim) {
        plan.actions.push(unguard(id, claim.uid.as_str().into(), PROTECTION, Component::PvcProtection));
        return plan;
    }
    if !claim.deleting && !claim.protected {
        plan.actions.push(guard(id, claim.uid.as_str().into(), PROTECTION, Component::PvcProtection));
    }
    plan.actions.extend(binding::advance(view, key, claim));
    plan
}

/// What to do about a volume.
pub fn reconcile_volume(view: &View, name: &Arc<str>) -> Plan {
    let Some(volume) = view.volume(name) else { return Plan::nothing() };
    let (id, uid) = (volume_id(name), Arc::clone(&volume.uid));
    let mut plan = Plan::nothing();
    if volume.deleting && volume.protected && volume.phase != phase::BOUND {
        plan.actions.push(unguard(id, uid, VOLUME_PROTECTION, Component::PvProtection));
        return plan;
    }
    if !volume.deleting && !volume.protected {
        plan.actions.push(guard(id, uid, VOLUME_PROTECTION, Component::PvProtection));
    }
    plan.actions.extend(phase::advance(view, name, volume));
    plan
}

/// Claims that a pod names, by their keys.
pub(crate) fn claims_of(key: &ObjectKey, pod: &PodInfo) -> impl Iterator<Item = ObjectKey> {
    pod.template.claims.iter().map(|claim| ObjectKey::new(&key.namespace, &claim.name(&key.name)))
}

/// Whether a pod that has a node names a claim: its end alone does not tell that the node let go of it. What was made for one pod is let
/// go with it, so that neither waits for the other.
fn is_used(view: &View, key: &ObjectKey, claim: &Claim) -> bool {
    let uses = |pod_key: &ObjectKey, pod: &PodInfo| {
        let names = |wanted: &PodClaim| match wanted {
            PodClaim::Named(name) => **name == *key.name,
            PodClaim::Ephemeral(_) => {
                let is_over = pod.deletion.as_ref().is_some_and(|deletion| deletion.grace_seconds == 0);
                !is_over
                    && *wanted.name(&pod_key.name) == *key.name
                    && claim.is_controlled_by(pod.uid.as_str())
            }
        };
        pod.node.is_some() && !pod.assumed && pod.template.claims.iter().any(names)
    };
    view.pods_of(&key.namespace).any(|(pod_key, pod)| uses(pod_key, pod))
}

fn guard(id: ObjectId, uid: Arc<str>, finalizer: &'static str, by: Component) -> Action {
    Action::Workload(by, WorkloadAction::Guard { id, uid, finalizer })
}

fn unguard(id: ObjectId, uid: Arc<str>, finalizer: &'static str, by: Component) -> Action {
    Action::Workload(by, WorkloadAction::Unguard { id, uid, finalizer })
}

fn claim_id(key: &ObjectKey) -> ObjectId {
    ObjectId { resource: CLAIMS, key: key.clone() }
}

fn volume_id(name: &Arc<str>) -> ObjectId {
    let key = ObjectKey { namespace: "".into(), name: Arc::clone(name) };
    ObjectId { resource: VOLUMES, key }
}

const CLAIMS: Resource = Resource::core("persistentvolumeclaims");
const VOLUMES: Resource = Resource::core("persistentvolumes");

const BY: Component = Component::VolumeBinder;

#[cfg(test)]
mod tests;
