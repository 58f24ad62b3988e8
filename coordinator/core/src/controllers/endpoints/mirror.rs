//! EndpointSlices of Endpoints that somebody wrote for a Service without selector.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{EndpointAddress, EndpointSubset},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
};
use serde_json::{Value, json};

use super::{
    super::{
        Action, Plan, WorkloadAction,
        tell::{Component, Severity},
    },
    desired::{Ports, ports_key},
    metadata,
};
use crate::{
    blueprint::controller_reference,
    view::{
        Labels, ObjectId, ObjectKey, View,
        services::{ENDPOINT_SLICES, ENDPOINTS, EndpointDigest, Endpoints, Family, Manager, Service, Slice},
        workload::Meta,
    },
};

/// Writes the slices of Endpoints, or deletes those that have no more reason.
pub(super) fn reconcile(view: &View, key: &ObjectKey, service: Option<&Arc<Service>>, plan: &mut Plan) {
    let slices = view.services().slices_of(key, Manager::Mirroring);
    let is_mirrored = |endpoints: &&Arc<Endpoints>| {
        let is_skipped = endpoints.meta.labels.get(SKIP_MIRROR).is_some_and(|skip| skip == "true");
        !is_skipped && !endpoints.meta.annotations.contains_key(LEADER)
    };
    let endpoints = view.services().endpoints(key).filter(is_mirrored);
    match (endpoints, service) {
        (Some(endpoints), Some(service)) if service.selector.is_none() => {
            Mirror { key, endpoints }.reconcile(slices, plan);
        }
        _ => plan.actions.extend(slices.iter().map(|(key, slice)| delete(key, slice))),
    }
}

type Named = (ObjectKey, Arc<Slice>);

/// One of Endpoints.
struct Mirror<'a> {
    key: &'a ObjectKey,
    endpoints: &'a Endpoints,
}

/// What a slice should say.
#[derive(Default)]
struct Content {
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

impl Mirror<'_> {
    fn reconcile(&self, slices: Vec<Named>, plan: &mut Plan) {
        let mut known: BTreeMap<(String, Ports), Vec<Named>> = BTreeMap::new();
        for named in slices {
            let key = (named.1.address_type.clone(), ports_key(&named.1.ports));
            known.entry(key).or_default().push(named);
        }
        let (labels, annotations) = (self.labels(), self.annotations());
        let (mut creates, mut useless) = (Vec::new(), Vec::new());
        for ((family, ports), content) in self.contents(plan) {
            let mut slices =
                known.remove(&(family.as_str().to_owned(), ports)).unwrap_or_default().into_iter();
            let first = slices.next();
            useless.extend(slices);
            match first {
                None => creates.push((family, content)),
                Some((key, slice)) if !says(&slice, &content, &labels, &annotations) => {
                    plan.actions.push(self.update(&key, &slice, &content, &labels, &annotations));
                }
                Some(_) => {}
            }
        }
        useless.extend(known.into_values().flatten());
        for (family, content) in creates {
            let recycled = useless.iter().position(|(_, slice)| slice.address_type == family.as_str());
            match recycled.map(|position| useless.remove(position)) {
                Some((key, slice)) => {
                    plan.actions.push(self.update(&key, &slice, &content, &labels, &annotations));
                }
                None if self.endpoints.meta.deleting => {}
                None => plan.actions.push(self.create(family, &content, &labels, &annotations)),
            }
        }
        plan.actions.extend(useless.iter().map(|(key, slice)| delete(key, slice)));
    }

    /// One slice for the addresses of a family in a subset.
    fn contents(&self, plan: &mut Plan) -> BTreeMap<(Family, Ports), Content> {
        let mut contents: BTreeMap<(Family, Ports), Content> = BTreeMap::new();
        let (mut invalid, mut skipped) = (0, 0);
        for subset in &self.endpoints.subsets {
            let ports = ports(subset);
            let mut added = 0;
            for (address, conditions) in addresses(subset) {
                if added == ADDRESSES_MAX {
                    skipped += 1;
                    continue;
                }
                let Ok(ip) = address.ip.parse::<IpAddr>() else {
                    invalid += 1;
                    continue;
                };
                let content = contents.entry((Family::of(ip), ports_key(&ports))).or_default();
                content.ports.clone_from(&ports);
                content.endpoints.push(endpoint(ip, address, conditions));
                added += 1;
            }
        }
        if invalid > 0 {
            let message = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
            plan.actions.push(self.tell("InvalidIPAddress", message));
        }
        if skipped > 0 {
            let message = format!(
                "A max of {ADDRESSES_MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                skipped + invalid
            );
            plan.actions.push(self.tell("TooManyAddressesToMirror", message));
        }
        contents
    }

    fn labels(&self) -> Labels {
        let mut labels = self.endpoints.meta.labels.clone();
        metadata::claim(&mut labels, &self.key.name, Manager::Mirroring);
        labels
    }

    fn annotations(&self) -> Labels {
        metadata::triggered(self.endpoints.meta.annotations.clone(), None)
    }

    fn create(&self, family: Family, content: &Content, labels: &Labels, annotations: &Labels) -> Action {
        let kind = ENDPOINTS.kind();
        let owner = kind.map(|kind| controller_reference(kind, &self.key.name, &self.endpoints.meta.uid));
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", self.key.name),
                "namespace": &*self.key.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
            },
            "addressType": family.as_str(),
            "ports": content.ports,
            "endpoints": content.endpoints,
        });
        let namespace = Arc::clone(&self.key.namespace);
        Action::Workload(BY, WorkloadAction::CreateObject { resource: ENDPOINT_SLICES, namespace, object })
    }

    fn update(
        &self,
        key: &ObjectKey,
        slice: &Slice,
        content: &Content,
        labels: &Labels,
        annotations: &Labels,
    ) -> Action {
        let kind = ENDPOINTS.kind();
        let owner = kind.map(|kind| controller_reference(kind, &self.key.name, &self.endpoints.meta.uid));
        let mut metadata = metadata::patch(&slice.meta, labels, annotations);
        metadata["ownerReferences"] = owner.into_iter().collect::<Vec<Value>>().into();
        let patch = json!({ "metadata": metadata, "ports": content.ports, "endpoints": content.endpoints });
        let id = ObjectId { resource: ENDPOINT_SLICES, key: key.clone() };
        Action::Workload(
            BY,
            WorkloadAction::Patch { id, uid: Arc::clone(&slice.meta.uid), subresource: "", patch },
        )
    }

    fn tell(&self, reason: &'static str, message: String) -> Action {
        let told = WorkloadAction::Tell {
            about: ObjectId { resource: ENDPOINTS, key: self.key.clone() },
            uid: Arc::clone(&self.endpoints.meta.uid),
            severity: Severity::Warning,
            reason,
            message,
        };
        Action::Workload(BY, told)
    }
}

/// Whether a slice says this already, in whatever order.
fn says(slice: &Slice, content: &Content, labels: &Labels, annotations: &Labels) -> bool {
    let Meta { labels: known_labels, annotations: known_annotations, .. } = &slice.meta;
    let known: HashMap<u64, u64> =
        slice.endpoints.iter().map(|endpoint| (endpoint.identity, endpoint.whole)).collect();
    let is_known = |endpoint: &Endpoint| {
        let digest = EndpointDigest::of(endpoint);
        known.get(&digest.identity) == Some(&digest.whole)
    };
    known_labels == labels
        && known_annotations == annotations
        && slice.endpoints.len() == content.endpoints.len()
        && content.endpoints.iter().all(is_known)
}

fn delete(key: &ObjectKey, slice: &Slice) -> Action {
    let id = ObjectId { resource: ENDPOINT_SLICES, key: key.clone() };
    Action::Workload(BY, WorkloadAction::Discard { id, uid: Arc::clone(&slice.meta.uid) })
}

/// The addresses of a subset, and whether they are ready.
fn addresses(subset: &EndpointSubset) -> impl Iterator<Item = (&EndpointAddress, EndpointConditions)> {
    let all = [(&subset.addresses, true), (&subset.not_ready_addresses, false)];
    all.into_iter().flat_map(|(addresses, ready)| {
        let conditions = EndpointConditions { ready: Some(ready), ..EndpointConditions::default() };
        addresses.iter().flatten().map(move |address| (address, conditions.clone()))
    })
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    };
    subset.ports.iter().flatten().map(port).collect()
}

fn endpoint(ip: IpAddr, address: &EndpointAddress, conditions: EndpointConditions) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(conditions),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// Addresses of one subset that are mirrored.
const ADDRESSES_MAX: usize = 1000;

/// Label of Endpoints that have slices of their own.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Annotation of Endpoints that are a lock and lead nowhere.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

const BY: Component = Component::EndpointSliceMirroring;
