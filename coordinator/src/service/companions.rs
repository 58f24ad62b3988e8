//! What is written together with an object, so that neither is ever there without the other.

use dunlin_api::{
    Status, kind,
    kind::service::{Claim, claims},
};
use serde_json::{Value, json};

use super::{
    ApiService, ObjectRef,
    numbers::{claim_key, ip_address_kind, is_service},
    path::{ResourceRequest, Verb},
    store_failed, stored,
};
use crate::store::{Compare, Write};

/// What happens to one object: no old state is there before it is created, and no new one after it is removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transition<'a> {
    pub(super) object: ObjectRef<'a>,
    pub(super) old: Option<&'a Value>,
    pub(super) new: Option<&'a Value>,
    pub(super) cause: Cause,
}

/// What a transition was asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A write, or a delete.
    Plain,
    /// An eviction, which takes something of a budget.
    Eviction,
}

/// Writes that belong to it, and what has to hold for them.
#[derive(Debug, Default)]
pub(super) struct Companions {
    guards: Vec<Guard>,
    pub(super) writes: Vec<Write>,
}

#[derive(Debug)]
struct Guard {
    compare: Compare,
    unmet: Unmet,
}

/// What it means that a companion cannot be written.
#[derive(Clone, Debug)]
pub(super) enum Unmet {
    /// What it was decided on has changed; it is to be decided again.
    Changed,
    /// A number is another object's. The object may do with another one; when it asks for this one, it is refused so.
    Taken(Claim, Status),
}

impl Companions {
    /// What has to hold, in the order of [`Self::unmet`].
    pub(super) fn compares(&self) -> impl Iterator<Item = Compare> {
        self.guards.iter().map(|guard| guard.compare.clone())
    }

    /// What it means that the guard at this position does not hold.
    pub(super) fn unmet(&self, position: usize) -> Unmet {
        self.guards.get(position).map_or(Unmet::Changed, |guard| guard.unmet.clone())
    }

    pub(super) fn guard(&mut self, compare: Compare, unmet: Unmet) {
        self.guards.push(Guard { compare, unmet });
    }
}

impl ApiService {
    /// What goes with a transition.
    pub(super) async fn companions(&self, transition: Transition<'_>) -> Result<Companions, Status> {
        let mut companions = Companions::default();
        let kind = transition.object.kind;
        if transition.cause == Cause::Eviction {
            self.charge_budget(transition, &mut companions).await?;
        } else if is_service(kind) {
            self.numbers_of_service(transition, &mut companions).await?;
        } else if kind.group.is_empty() && kind.kind == "Namespace" && transition.old.is_none() {
            companions.writes.push(self.default_account(transition.object.name)?);
        } else if transition.new.is_none()
            && let Some((compare, write)) = self.removal_of_identity(transition.object).await?
        {
            companions.guard(compare, Unmet::Changed);
            companions.writes.extend(write);
        }
        Ok(companions)
    }

    /// A namespace has its `default` ServiceAccount from its first moment, so that no pod has to wait for one.
    fn default_account(&self, namespace: &str) -> Result<Write, Status> {
        let accounts = kind::by_kind("v1", "ServiceAccount").expect("the registry has service accounts");
        let request = ResourceRequest::of_collection(Verb::Create, accounts, namespace);
        let account = self.prepare_plain(&request, json!({"metadata": {"name": "default"}}))?;
        Ok(Write::Put(stored::key(accounts, namespace, "default"), stored::encode(&account)))
    }

    /// Records what a Service takes, and removes the records of what it gives back.
    async fn numbers_of_service(
        &self,
        transition: Transition<'_>,
        companions: &mut Companions,
    ) -> Result<(), Status> {
        let ObjectRef { namespace, name, .. } = transition.object;
        let before = transition.old.map(claims).unwrap_or_default();
        let after = transition.new.map(claims).unwrap_or_default();
        for claim in after.difference(&before).copied() {
            let key = claim_key(claim);
            let taken =
                transition.new.map_or_else(|| Status::internal("a removed Service"), |new| claim.taken(new));
            companions.guard(Compare::Absent(key.clone()), Unmet::Taken(claim, taken));
            companions.writes.push(Write::Put(key, self.record(claim, namespace, name)?));
        }
        for claim in before.difference(&after).copied() {
            let key = claim_key(claim);
            // A record that somebody removed, or that is another's by now, is not ours to remove.
            if let Some(found) = self.store().get(&key).await.map_err(store_failed)?
                && is_record_of(claim, &found.value, namespace, name)
            {
                companions.guard(Compare::ModRevision(key.clone(), found.mod_revision), Unmet::Changed);
                companions.writes.push(Write::Delete(key));
            }
        }
        Ok(())
    }

    fn record(&self, claim: Claim, namespace: &str, name: &str) -> Result<bytes::Bytes, Status> {
        let Some(address) = claim.ip_address(namespace, name) else {
            return Ok(format!("{namespace}/{name}").into());
        };
        let request = ResourceRequest::of_collection(Verb::Create, ip_address_kind(), "");
        Ok(stored::encode(&self.prepare_plain(&request, address)?))
    }
}

fn is_record_of(claim: Claim, value: &[u8], namespace: &str, name: &str) -> bool {
    if matches!(claim, Claim::NodePort(_)) {
        return value == format!("{namespace}/{name}").as_bytes();
    }
    let object: Option<Value> = stored::json(value).ok().and_then(|json| serde_json::from_slice(json).ok());
    object.is_some_and(|object| {
        let parent = &object["spec"]["parentRef"];
        parent["resource"] == "services" && parent["namespace"] == namespace && parent["name"] == name
    })
}
