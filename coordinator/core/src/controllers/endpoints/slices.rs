//! The EndpointSlices of a Service that selects pods.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointPort;
use serde_json::{Value, json};

use super::{
    super::{Action, Plan, WorkloadAction, tell::Component},
    desired::{self, Group, Ports, Wanted, ports_key},
    metadata,
    packing::{Existing, pack},
};
use crate::{
    blueprint::controller_reference,
    view::{
        Labels, ObjectId, ObjectKey, View,
        services::{ENDPOINT_SLICES, Family, Manager, SERVICES, Service, Slice},
    },
};

type Named = (ObjectKey, Arc<Slice>);

/// Writes the slices of a Service; answers the time of the change that led to it.
pub(super) fn reconcile(
    view: &View,
    key: &ObjectKey,
    service: &Service,
    plan: &mut Plan,
) -> Option<Timestamp> {
    let slices = view.services().slices_of(key, Manager::Slices);
    let families: BTreeSet<Family> = service.families.iter().copied().collect();
    let (served, unserved): (Vec<_>, Vec<_>) = slices
        .into_iter()
        .partition(|(_, slice)| families.iter().any(|family| family.as_str() == slice.address_type));
    let groups: Vec<_> =
        families.iter().map(|family| (*family, desired::groups(view, key, service, *family))).collect();
    let trigger = trigger_time(service, &served, &groups);
    for (family, groups) in groups {
        let existing: Vec<_> =
            served.iter().filter(|(_, slice)| slice.address_type == family.as_str()).cloned().collect();
        let one =
            OfFamily { key, service, family, labels: metadata::slice_labels(&key.name, service), trigger };
        one.reconcile(existing, groups, plan);
    }
    plan.actions.extend(unserved.iter().map(delete));
    trigger
}

/// The earliest of the changes that no slice tells of so far.
fn trigger_time(
    service: &Service,
    slices: &[Named],
    groups: &[(Family, BTreeMap<Ports, Group>)],
) -> Option<Timestamp> {
    let told: HashSet<u64> =
        slices.iter().flat_map(|(_, slice)| &slice.endpoints).map(|endpoint| endpoint.whole).collect();
    let wanted = groups.iter().flat_map(|(_, groups)| groups.values()).flat_map(|group| &group.wanted);
    let news = wanted.filter(|wanted| !told.contains(&wanted.digest.whole));
    let is_new = slices.is_empty().then_some(service.meta.created);
    news.filter_map(|wanted| wanted.changed_at).chain(is_new).min()
}

/// The slices of one family of addresses.
struct OfFamily<'a> {
    key: &'a ObjectKey,
    service: &'a Service,
    family: Family,
    labels: Labels,
    trigger: Option<Timestamp>,
}

/// A slice to write.
struct Written {
    ports: Vec<EndpointPort>,
    endpoints: Vec<Wanted>,
}

impl OfFamily<'_> {
    fn reconcile(&self, existing: Vec<Named>, groups: BTreeMap<Ports, Group>, plan: &mut Plan) {
        let count = existing.len();
        let is_own = |(_, slice): &Named| slice.meta.is_controlled_by(&self.service.meta.uid);
        // Those of a Service of the same name that is gone.
        let (own, mut useless): (Vec<_>, Vec<_>) = existing.into_iter().partition(is_own);
        let mut by_ports: BTreeMap<Ports, Vec<Named>> = BTreeMap::new();
        for named in own {
            by_ports.entry(ports_key(&named.1.ports)).or_default().push(named);
        }
        let (mut updates, mut creates) = (Vec::new(), Vec::new());
        for (ports, group) in groups {
            let slices = by_ports.remove(&ports).unwrap_or_default();
            let known: Vec<_> = slices
                .iter()
                .map(|(_, slice)| Existing {
                    endpoints: &slice.endpoints,
                    is_outdated: slice.meta.labels != self.labels,
                })
                .collect();
            let packing = pack(&known, group.wanted);
            let written = |endpoints| Written { ports: group.ports.clone(), endpoints };
            for (position, endpoints) in packing.update {
                updates.push((slices[position].clone(), written(endpoints)));
            }
            creates.extend(packing.create.into_iter().map(written));
            useless.extend(packing.delete.into_iter().map(|position| slices[position].clone()));
        }
        useless.extend(by_ports.into_values().flatten());
        self.hold_place(count, &mut useless, &mut creates);
        self.recycle(&mut useless, &mut creates, &mut updates);
        let created = creates.into_iter().filter(|_| !self.service.meta.deleting);
        plan.actions.extend(created.map(|slice| self.create(&slice)));
        plan.actions.extend(updates.iter().map(|(named, written)| self.update(named, written)));
        plan.actions.extend(useless.iter().map(delete));
    }

    /// A Service without endpoints has one empty slice, which tells that it was looked at.
    fn hold_place(&self, count: usize, useless: &mut Vec<Named>, creates: &mut Vec<Written>) {
        if count != useless.len() || !creates.is_empty() {
            return;
        }
        let holds_place = |(_, slice): &Named| {
            slice.ports.is_empty() && slice.endpoints.is_empty() && slice.meta.labels == self.labels
        };
        if useless.len() == 1 && useless.first().is_some_and(holds_place) {
            useless.clear();
        } else {
            creates.push(Written { ports: Vec::new(), endpoints: Vec::new() });
        }
    }

    /// What would be deleted is written anew in place of what would be created.
    fn recycle(
        &self,
        useless: &mut Vec<Named>,
        creates: &mut Vec<Written>,
        updates: &mut Vec<(Named, Written)>,
    ) {
        let mut left = Vec::new();
        for named in useless.drain(..) {
            let is_own = named.1.meta.is_controlled_by(&self.service.meta.uid);
            match if is_own { creates.pop() } else { None } {
                Some(written) => updates.push((named, written)),
                None => left.push(named),
            }
        }
        *useless = left;
    }

    fn create(&self, slice: &Written) -> Action {
        let kind = SERVICES.kind();
        let owner = kind.map(|kind| controller_reference(kind, &self.key.name, &self.service.meta.uid));
        let mut object = self.content(slice);
        object["apiVersion"] = "discovery.k8s.io/v1".into();
        object["kind"] = "EndpointSlice".into();
        object["addressType"] = self.family.as_str().into();
        object["metadata"] = json!({
            "generateName": format!("{}-", self.key.name),
            "namespace": &*self.key.namespace,
            "labels": self.labels,
            "annotations": metadata::triggered(Labels::new(), self.trigger),
            "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
        });
        Action::Workload(
            BY,
            WorkloadAction::CreateObject {
                resource: ENDPOINT_SLICES,
                namespace: Arc::clone(&self.key.namespace),
                object,
            },
        )
    }

    fn update(&self, (key, slice): &Named, written: &Written) -> Action {
        let annotations = metadata::triggered(slice.meta.annotations.clone(), self.trigger);
        let mut patch = self.content(written);
        patch["metadata"] = metadata::patch(&slice.meta, &self.labels, &annotations);
        let id = ObjectId { resource: ENDPOINT_SLICES, key: key.clone() };
        Action::Workload(
            BY,
            WorkloadAction::Patch { id, uid: Arc::clone(&slice.meta.uid), subresource: "", patch },
        )
    }

    fn content(&self, slice: &Written) -> Value {
        let endpoints: Vec<_> = slice.endpoints.iter().map(|wanted| &wanted.endpoint).collect();
        json!({ "ports": slice.ports, "endpoints": endpoints })
    }
}

fn delete((key, slice): &Named) -> Action {
    let id = ObjectId { resource: ENDPOINT_SLICES, key: key.clone() };
    Action::Workload(BY, WorkloadAction::Discard { id, uid: Arc::clone(&slice.meta.uid) })
}

const BY: Component = Component::EndpointSlice;
