//! Claims of a StatefulSet's pods: that they are there, and with whom they go.
//!
//! Each pod has one claim per template, named after template, set and number, so that the next pod of the number finds it again. A
//! claim that is to go with the set is controlled by it, one that is to go with its pod by the pod.

use std::sync::Arc;

use super::{
    super::{Action, WorkloadAction, create::ClaimOf, tell::Severity},
    BY, Blueprint, Look, Pod,
};
use crate::{
    ObjectKey,
    view::{
        Claim, ObjectId, Resource,
        workload::{Retention, STATEFUL_SETS},
    },
};

/// A claim is in the way of its pod.
pub(super) struct Blocked;

/// Templates whose claim the pod of a number lacks.
///
/// # Errors
/// When the pod cannot be created because a claim of it is about to go.
pub(super) fn missing(look: &mut Look<'_>, ordinal: i64) -> Result<Vec<String>, Blocked> {
    let mut missing = Vec::new();
    for template in &look.set.claims {
        let key = key(look, template, ordinal);
        match look.view.claim(&key) {
            None => missing.push(template.clone()),
            // It goes with a pod that is gone.
            Some(claim) if is_stale(look, claim, ordinal) => return Err(Blocked),
            Some(claim) if claim.deleting => {
                let (pod, set) = (look.pod_key(ordinal), &look.id.key.name);
                let why = format!("pvc {} is being deleted", key.name);
                let message = format!("create Pod {} in StatefulSet {set} failed error: {why}", pod.name);
                look.plan.actions.push(tell(look, message));
                return Err(Blocked);
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// Creates claims that a pod which waits for a node lacks.
pub(super) fn create_missing(look: &mut Look<'_>, ordinal: i64) {
    let lacks = |template: &&String| look.view.claim(&key(look, template, ordinal)).is_none();
    let claims = look.set.claims.iter().filter(lacks);
    let claims: Vec<_> = claims.map(|template| ClaimOf { ordinal, template: template.clone() }).collect();
    if !claims.is_empty() {
        look.create(Blueprint::Claims { claims });
    }
}

/// Lets the claims of a pod that stays go with the set, or with nobody.
pub(super) fn keep(look: &mut Look<'_>, ordinal: i64) {
    let goes_with_set = look.set.when_deleted == Retention::Delete;
    let owner = goes_with_set.then(|| (look.id.clone(), Arc::clone(&look.set.meta.uid)));
    settle(look, ordinal, owner);
}

/// Lets the claims of a pod that is to go do so with it, when they are not to outlast it.
pub(super) fn hand_over(look: &mut Look<'_>, ordinal: i64, (pod_key, pod): &Pod) {
    let owner = match look.set.when_scaled {
        Retention::Delete => {
            let id = ObjectId { resource: PODS, key: pod_key.clone() };
            Some((id, Arc::from(pod.uid.as_str())))
        }
        Retention::Retain if look.set.when_deleted == Retention::Delete => {
            Some((look.id.clone(), Arc::clone(&look.set.meta.uid)))
        }
        Retention::Retain => None,
    };
    settle(look, ordinal, owner);
}

/// Sees to it that of set and pod just `owner` controls the claims of a number.
fn settle(look: &mut Look<'_>, ordinal: i64, owner: Option<(ObjectId, Arc<str>)>) {
    let pod_uid = look.view.pod(&look.pod_key(ordinal)).map(|pod| pod.uid.as_str().to_owned());
    for template in &look.set.claims {
        let key = key(look, template, ordinal);
        let Some(claim) = look.view.claim(&key) else { continue };
        let is_ours = |uid: &str| *uid == *look.set.meta.uid || pod_uid.as_deref() == Some(uid);
        let Some(wanted) = change(look, claim, ordinal, owner.as_ref(), &is_ours) else { continue };
        let gone =
            claim.owners.iter().filter(|known| is_ours(&known.uid)).map(|known| known.uid.as_str().into());
        let action = WorkloadAction::Reown {
            id: ObjectId { resource: CLAIMS, key },
            uid: claim.uid.as_str().into(),
            gone: gone.collect(),
            owner: wanted.cloned(),
        };
        look.plan.actions.push(Action::Workload(BY, action));
    }
}

/// The owner that a claim has to get, if its owners among set and pod are not what they should be.
fn change<'a>(
    look: &Look<'_>,
    claim: &Claim,
    ordinal: i64,
    owner: Option<&'a (ObjectId, Arc<str>)>,
    is_ours: &dyn Fn(&str) -> bool,
) -> Option<Option<&'a (ObjectId, Arc<str>)>> {
    // What belongs to an earlier set or pod of the name is about to go, and no business of this one.
    if is_stale(look, claim, ordinal) || is_of_earlier_set(look, claim) {
        return None;
    }
    let ours = || claim.owners.iter().filter(|known| is_ours(&known.uid));
    if claim.owners.iter().any(|known| known.controls && !is_ours(&known.uid)) {
        // Somebody else controls it. Set and pod may not do so, too.
        return ours().next().map(|_| None);
    }
    let wanted = owner.map(|(_, uid)| &**uid);
    let is_right = ours().all(|known| known.controls && Some(&*known.uid) == wanted)
        && wanted.is_none_or(|wanted| ours().any(|known| known.uid == wanted));
    (!is_right).then_some(owner)
}

/// Whether a claim belongs to an earlier pod of the number.
fn is_stale(look: &Look<'_>, claim: &Claim, ordinal: i64) -> bool {
    let key = look.pod_key(ordinal);
    let uid = look.view.pod(&key).map(|pod| pod.uid.as_str());
    let names_pod =
        |owner: &&crate::view::ClaimOwner| owner.resource == Some(PODS) && *owner.name == *key.name;
    claim.owners.iter().filter(names_pod).any(|owner| Some(&*owner.uid) != uid)
}

fn is_of_earlier_set(look: &Look<'_>, claim: &Claim) -> bool {
    claim.owners.iter().any(|owner| {
        owner.resource == Some(STATEFUL_SETS)
            && *owner.name == *look.id.key.name
            && *owner.uid != *look.set.meta.uid
    })
}

fn key(look: &Look<'_>, template: &str, ordinal: i64) -> ObjectKey {
    let ObjectKey { namespace, name } = &look.id.key;
    ObjectKey { namespace: Arc::clone(namespace), name: format!("{template}-{name}-{ordinal}").into() }
}

fn tell(look: &Look<'_>, message: String) -> Action {
    let told = WorkloadAction::Tell {
        about: look.id.clone(),
        uid: Arc::clone(&look.set.meta.uid),
        severity: Severity::Warning,
        reason: "FailedCreate",
        message,
    };
    Action::Workload(BY, told)
}

const PODS: Resource = Resource::core("pods");
const CLAIMS: Resource = Resource::core("persistentvolumeclaims");
