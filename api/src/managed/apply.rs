//! Server-side apply: merging what somebody wants into an object, and removing what they wanted before and nobody else does.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use super::{
    Force, Scope,
    conflict::Conflicts,
    ignored::{ignored, strip},
    last_applied,
    managers::{Entry, MalformedManagers, Manager, Managers, Operation},
    members::{members, with_named_fields},
    merge::merge,
    node_type::NodeType,
    remove::remove,
    set::FieldSet,
    update::before_first_apply,
    versions::{Versions, converted, version_of},
};
use crate::{
    kind::Kind,
    value::{object_mut, put},
};

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApplyError {
    /// It would change what others own.
    Conflicts(Conflicts),
    /// What is stored about managers cannot be read.
    Managers(MalformedManagers),
}

/// The object that applying `config`, which fits the schema, makes of `live`, or a new one, with its managers. It is not checked against the kind's rules, and
/// null stands where nothing is left.
pub(super) fn applied(
    scope: &Scope<'_>,
    live: Option<&Value>,
    config: &Value,
    force: Force,
) -> Result<Value, ApplyError> {
    let stored = match live {
        Some(live) if live["metadata"]["managedFields"].is_null() => {
            Cow::Owned(before_first_apply(scope, live))
        }
        Some(live) => Cow::Borrowed(&live["metadata"]["managedFields"]),
        None => Cow::Owned(Value::Null),
    };
    let mut base = live.cloned().unwrap_or_else(|| Map::new().into());
    if live.is_some() {
        put(object_mut(&mut base, "metadata"), "managedFields", Value::Null);
    }
    let applying = Applying::new(scope, &base, config, &stored).map_err(ApplyError::Managers)?;
    let outcome = match applying.attempt(force) {
        Err(conflicts) if scope.manager == last_applied::MANAGER => {
            match last_applied::allowed(scope.kind, &base) {
                // kubectl owned them before it applied on the server.
                Some(allowed) if conflicts.clone().without(&allowed).is_empty() => {
                    applying.attempt(Force::Yes)
                }
                Some(allowed) => Err(conflicts.without(&allowed)),
                None => Err(conflicts),
            }
        }
        outcome => outcome,
    };
    let mut object = outcome.map_err(ApplyError::Conflicts)?;
    if scope.manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, config);
    }
    Ok(object)
}

/// One apply, with what it starts from.
struct Applying<'v> {
    scope: &'v Scope<'v>,
    ty: NodeType,
    live: &'v Value,
    config: &'v Value,
    /// The manager's own entry of last time.
    last: Option<Entry<'v>>,
    others: Managers<'v>,
}

impl<'v> Applying<'v> {
    fn new(
        scope: &'v Scope<'v>,
        live: &'v Value,
        config: &'v Value,
        stored: &'v Value,
    ) -> Result<Self, MalformedManagers> {
        let mut others = Managers::read(stored)?;
        // Of a version that is not there any more nothing can be said.
        others.0.retain(|entry| version_of(scope.kind, &entry.api_version).is_some());
        for entry in &mut others.0 {
            let version = version_of(scope.kind, &entry.api_version).unwrap_or(scope.kind);
            entry.decode(NodeType::of_definition(version.definition()))?;
        }
        let last = others.take(&Manager::new(scope.manager_name(), Operation::Apply, "", scope.subresource));
        let ty = NodeType::of_definition(scope.kind.definition());
        Ok(Self { scope, ty, live, config, last, others })
    }

    fn attempt(&self, force: Force) -> Result<Value, Conflicts> {
        let kind = self.scope.kind;
        let set = members(self.ty, self.config).without(&ignored(kind, self.scope.subresource));
        let merged = self.prune(merge(self.ty, self.live, self.config), &set);
        let mut managers = self.take_fields(&merged, force)?;
        let set = strip(&set);
        if !set.is_empty() {
            // Who applies what is there already did not change anything, also not when.
            let time = match &self.last {
                _ if merged != *self.live => self.scope.time(),
                Some(last) => last.time.clone(),
                None => String::new(),
            };
            let name = self.scope.manager_name();
            let manager = Manager::new(name, Operation::Apply, "", self.scope.subresource);
            managers.0.push(Entry::new(manager, kind.api_version(), time, set));
        }
        let mut object = merged;
        put(object_mut(&mut object, "metadata"), "managedFields", managers.into_value());
        Ok(object)
    }

    /// The other managers, without the fields that change from the live object to `merged`.
    fn take_fields(&self, merged: &Value, force: Force) -> Result<Managers<'v>, Conflicts> {
        let mut versions = Versions::new(self.scope.kind, self.scope.subresource, self.live, merged);
        let mut conflicts = Conflicts::default();
        let mut left = Vec::with_capacity(self.others.0.len() + 1);
        for entry in &self.others.0 {
            let Some(compared) = versions.at(&entry.api_version) else { continue };
            conflicts.add(&entry.manager, entry.set().intersection(&compared.changed));
            let set = entry.set().difference(&compared.changed).difference(&compared.removed);
            if !set.is_empty() {
                let mut entry = entry.clone();
                entry.put(set);
                left.push(entry);
            }
        }
        if force == Force::No && !conflicts.is_empty() { Err(conflicts) } else { Ok(Managers(left)) }
    }

    /// Removes what the manager applied last time and does not apply now, unless another manager owns it, too.
    fn prune(&self, merged: Value, set: &FieldSet) -> Value {
        let kind = self.scope.kind;
        let Some(last) = self.last.as_ref().filter(|last| !last.set().is_empty()) else { return merged };
        let Some(version) = version_of(kind, &last.api_version) else { return merged };
        let merged = converted(&merged, kind, version).into_owned();
        let ty = NodeType::of_definition(version.definition());
        let last_set = with_named_fields(last.set(), ty);
        let mut pruned = remove(ty, &merged, &last_set);
        for (owner_version, owned) in self.owned_by_version(set, version) {
            pruned = add_back(version, &merged, pruned, owner_version, &owned);
        }
        // What others put beside the manager's own fields is not the manager's to remove.
        let gone = named_members(ty, &merged).difference(&named_members(ty, &pruned)).intersection(&last_set);
        converted(&remove(ty, &merged, &gone), version, kind).into_owned()
    }

    /// What all managers own, this time's `set` included, by version: `first` first, so that fields that other versions need are
    /// back before they are converted to.
    fn owned_by_version(&self, set: &FieldSet, first: &'static Kind) -> Vec<(&'static Kind, FieldSet)> {
        let kind = self.scope.kind;
        let mut owned = BTreeMap::from([(kind.api_version(), (kind, set.clone()))]);
        for entry in &self.others.0 {
            if let Some(version) = version_of(kind, &entry.api_version) {
                let slot = owned.entry(entry.api_version.clone());
                slot.or_insert_with(|| (version, FieldSet::default())).1.add(entry.set().clone());
            }
        }
        let mut owned: Vec<_> = owned.into_values().collect();
        owned.sort_by_key(|(version, _)| !std::ptr::eq(*version, first));
        owned
    }
}

/// `pruned` with what of `merged` is in `owned`, which names fields as `owner_version` has them. Both objects are of `version`.
fn add_back(
    version: &'static Kind,
    merged: &Value,
    pruned: Value,
    owner_version: &'static Kind,
    owned: &FieldSet,
) -> Value {
    let ty = NodeType::of_definition(owner_version.definition());
    let merged = converted(merged, version, owner_version);
    let pruned = converted(&pruned, version, owner_version).into_owned();
    let kept = named_members(ty, &pruned).union(&with_named_fields(owned, ty));
    let unowned = named_members(ty, &merged).difference(&kept);
    converted(&remove(ty, &merged, &unowned), owner_version, version).into_owned()
}

fn named_members(ty: NodeType, value: &Value) -> FieldSet {
    with_named_fields(&members(ty, value), ty)
}
