//! Endpoints of a Service that selects pods: all its addresses in one object, which holds no more than a thousand.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};
use serde_json::json;

use super::{
    super::{Action, Plan, WorkloadAction, tell::Component},
    desired::{host_name, pods, port_number, reference},
    metadata::{self, HEADLESS},
};
use crate::view::{
    Labels, ObjectId, ObjectKey, PodInfo, View,
    services::{CONTROLLER, ENDPOINTS, ENDPOINTS_MANAGED_BY, Family, Service, subsets_digest},
};

/// Writes the Endpoints of a Service.
pub(super) fn reconcile(
    view: &View,
    key: &ObjectKey,
    service: &Service,
    trigger: Option<Timestamp>,
    plan: &mut Plan,
) {
    let mut subsets = subsets(view, key, service);
    let capacity = truncate(&mut subsets);
    let labels = labels(service);
    let Some(known) = view.services().endpoints(key) else {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": &*key.name,
                "namespace": &*key.namespace,
                "labels": labels,
                "annotations": annotations(Labels::new(), trigger, capacity),
            },
            "subsets": subsets,
        });
        let namespace = Arc::clone(&key.namespace);
        return plan.actions.push(Action::Workload(
            BY,
            WorkloadAction::CreateObject { resource: ENDPOINTS, namespace, object },
        ));
    };
    let is_marked = known.meta.annotations.contains_key(OVER_CAPACITY);
    if known.digest == subsets_digest(&subsets)
        && known.meta.labels == labels
        && is_marked == (capacity == Capacity::Over)
    {
        return;
    }
    let annotations = annotations(known.meta.annotations.clone(), trigger, capacity);
    let patch = json!({
        "metadata": metadata::patch(&known.meta, &labels, &annotations),
        "subsets": subsets,
    });
    let id = ObjectId { resource: ENDPOINTS, key: key.clone() };
    plan.actions.push(Action::Workload(
        BY,
        WorkloadAction::Patch { id, uid: Arc::clone(&known.meta.uid), subresource: "", patch },
    ));
}

/// Deletes Endpoints whose Service is gone.
pub(super) fn clean_up(view: &View, key: &ObjectKey, plan: &mut Plan) {
    let Some(known) = view.services().endpoints(key) else { return };
    if known.is_own() || view.services().is_left_over(key) {
        let id = ObjectId { resource: ENDPOINTS, key: key.clone() };
        plan.actions
            .push(Action::Workload(BY, WorkloadAction::Discard { id, uid: Arc::clone(&known.meta.uid) }));
    }
}

fn labels(service: &Service) -> Labels {
    let mut labels = service.meta.labels.clone();
    labels.insert(ENDPOINTS_MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels.remove(HEADLESS);
    if !service.has_address {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

/// Whether all addresses have room in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capacity {
    Enough,
    Over,
}

fn annotations(known: Labels, trigger: Option<Timestamp>, capacity: Capacity) -> Labels {
    let mut annotations = metadata::triggered(known, trigger);
    annotations.remove(OVER_CAPACITY);
    if capacity == Capacity::Over {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    annotations
}

/// An address and whether it is ready.
type Known = (EndpointAddress, bool);

/// Ports that lead to the same addresses are told of together.
fn subsets(view: &View, key: &ObjectKey, service: &Service) -> Vec<EndpointSubset> {
    let mut by_port: BTreeMap<Port, Vec<Known>> = BTreeMap::new();
    for (pod_key, pod) in pods(view, key, service) {
        if pod.deletion.is_some() && !service.publishes_unready {
            continue;
        }
        let Some(address) = address(pod_key, pod, key, service) else { continue };
        let known = (address, service.publishes_unready || pod.is_ready());
        if service.ports.is_empty() && service.is_headless {
            by_port.entry(Port::default()).or_default().push(known);
            continue;
        }
        for port in &service.ports {
            let Some(number) = port_number(port, pod) else { continue };
            let port = Port {
                name: port.name.clone(),
                number,
                protocol: port.protocol.clone(),
                app_protocol: port.app_protocol.clone(),
            };
            by_port.entry(port).or_default().push(known.clone());
        }
    }
    let mut subsets: Vec<(Vec<Known>, Vec<Port>)> = Vec::new();
    for (port, mut known) in by_port {
        known.sort_by(|(one, _), (other, _)| order(one).cmp(&order(other)));
        match subsets.iter_mut().find(|(addresses, _)| *addresses == known) {
            Some((_, ports)) => ports.push(port),
            None => subsets.push((known, vec![port])),
        }
    }
    subsets.into_iter().map(|(known, ports)| subset(known, &ports)).collect()
}

/// A port, in the order in which they are told of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    /// 0 stands for none at all.
    number: i32,
    protocol: String,
    app_protocol: Option<String>,
}

fn order(address: &EndpointAddress) -> (&str, Option<&str>) {
    (&address.ip, address.target_ref.as_ref().and_then(|target| target.uid.as_deref()))
}

fn subset(known: Vec<Known>, ports: &[Port]) -> EndpointSubset {
    let (ready, unready): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, is_ready)| *is_ready);
    let listed = |known: Vec<Known>| {
        (!known.is_empty()).then(|| known.into_iter().map(|(address, _)| address).collect())
    };
    let ports = ports.iter().filter(|port| port.number != 0).map(|port| EndpointPort {
        name: (!port.name.is_empty()).then(|| port.name.clone()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    });
    let ports: Vec<_> = ports.collect();
    EndpointSubset {
        addresses: listed(ready),
        not_ready_addresses: listed(unready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// The pod's address of the family that the Service has first.
fn address(
    pod_key: &ObjectKey,
    pod: &PodInfo,
    key: &ObjectKey,
    service: &Service,
) -> Option<EndpointAddress> {
    let family = service.families.first()?;
    let address = pod.addresses.iter().find(|address| Family::of(**address) == *family)?;
    Some(EndpointAddress {
        ip: address.to_string(),
        node_name: pod.node.as_ref().map(|node| node.as_str().to_owned()),
        hostname: host_name(pod, key),
        target_ref: Some(reference(pod_key, pod)),
    })
}

/// Leaves so many addresses as there may be, those that are ready before others, and of each subset its share.
fn truncate(subsets: &mut [EndpointSubset]) -> Capacity {
    let count = |addresses: &Option<Vec<EndpointAddress>>| addresses.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let unready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + unready <= ADDRESSES_MAX {
        return Capacity::Enough;
    }
    let cuts_ready = ready > ADDRESSES_MAX;
    let (room, total) = if cuts_ready { (ADDRESSES_MAX, ready) } else { (ADDRESSES_MAX - ready, unready) };
    let mut left = room;
    for subset in subsets {
        if cuts_ready {
            subset.not_ready_addresses = None;
        }
        let cut = if cuts_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (count(cut) * room).div_ceil(total).min(left);
        if let Some(addresses) = cut {
            addresses.truncate(share);
            left -= addresses.len();
            if addresses.is_empty() {
                *cut = None;
            }
        }
    }
    Capacity::Over
}

/// Addresses in one object.
pub(super) const ADDRESSES_MAX: usize = 1000;

/// Annotation of Endpoints that do not hold all addresses.
pub(super) const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

const BY: Component = Component::Endpoints;
