//! Dependents of objects that go: deleted with their owner, before it, or set free, as the owner's deletion asked.
//!
//! As Kubernetes' garbage collector: a dependent goes when its last owner is gone; one that has another owner only loses its
//! reference. The finalizer `foregroundDeletion` holds an owner until the dependents that block it are gone, `orphan` until none
//! names it any more.

use super::{Action, Plan};
use crate::{
    deletion::Propagation,
    view::{Member, ObjectId, Owner, Ownership, View, WaitsFor},
};

/// What to do about an object that has owners, or that waits for its dependents.
pub fn reconcile(view: &View, id: &ObjectId) -> Plan {
    let ownership = view.ownership();
    let Some(member) = ownership.member(id) else { return Plan::nothing() };
    let actions = match member.waits_for {
        Some(WaitsFor::Deletion) => delete_dependents(ownership, id, member),
        Some(WaitsFor::Orphaning) => orphan_dependents(ownership, id, member),
        None if member.deleting => Vec::new(),
        None => delete_without_owner(ownership, id, member).into_iter().collect(),
    };
    Plan { actions, again_at: None }
}

fn delete_dependents(ownership: &Ownership, id: &ObjectId, owner: &Member) -> Vec<Action> {
    let blocking: Vec<_> = members_of(ownership, owner).filter(|(_, member)| blocks(member, owner)).collect();
    if blocking.is_empty() {
        return vec![release(id, owner, WaitsFor::Deletion)];
    }
    let alive = blocking.into_iter().filter(|(_, member)| !member.deleting);
    alive.filter_map(|(id, member)| delete_without_owner(ownership, id, member)).collect()
}

fn orphan_dependents(ownership: &Ownership, id: &ObjectId, owner: &Member) -> Vec<Action> {
    let dependents = members_of(ownership, owner);
    let actions: Vec<_> =
        dependents.map(|(id, member)| disown(id, member, vec![owner.uid.to_string()])).collect();
    if actions.is_empty() { vec![release(id, owner, WaitsFor::Orphaning)] } else { actions }
}

/// Deletes an object none of whose owners stays, or takes those from it that do not.
fn delete_without_owner(ownership: &Ownership, id: &ObjectId, member: &Member) -> Option<Action> {
    let is_gone = |owner: &&Owner| owner.watched && !ownership.exists(&owner.uid);
    let is_going = |owner: &&Owner| ownership.waits_for(&owner.uid) == Some(WaitsFor::Deletion);
    let gone = member.owners.iter().filter(is_gone).count();
    let going = member.owners.iter().filter(is_going).count();
    if gone + going == 0 {
        return None;
    }
    if gone + going < member.owners.len() {
        let lost = member.owners.iter().filter(|owner| is_gone(owner) || is_going(owner));
        return Some(disown(id, member, lost.map(|owner| owner.uid.to_string()).collect()));
    }
    if gone == 0 && !member.owners.iter().any(|owner| owner.blocks) {
        // Nobody waits for it: it goes once its owner is gone.
        return None;
    }
    let has_dependents = ownership.dependents(&member.uid).next().is_some();
    let propagation =
        if going > 0 && has_dependents { Propagation::Foreground } else { Propagation::Background };
    Some(Action::DeleteDependent { id: id.clone(), uid: member.uid.to_string(), propagation })
}

fn members_of<'a>(
    ownership: &'a Ownership,
    owner: &'a Member,
) -> impl Iterator<Item = (&'a ObjectId, &'a Member)> {
    ownership.dependents(&owner.uid).filter_map(|id| Some((id, ownership.member(id)?)))
}

fn blocks(member: &Member, owner: &Member) -> bool {
    member.owners.iter().any(|named| named.uid == owner.uid && named.blocks)
}

fn disown(id: &ObjectId, member: &Member, owners: Vec<String>) -> Action {
    Action::Disown { id: id.clone(), uid: member.uid.to_string(), owners }
}

fn release(id: &ObjectId, member: &Member, waited_for: WaitsFor) -> Action {
    Action::RemoveFinalizer { id: id.clone(), uid: member.uid.to_string(), finalizer: waited_for.finalizer() }
}

#[cfg(test)]
mod tests;
