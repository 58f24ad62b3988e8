//! What slices should say of the pods behind a Service.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::ObjectReference,
    discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone},
};

use crate::view::{
    ObjectKey, PodInfo, View,
    services::{Distribution, EndpointDigest, Family, Service, ServicePort, TargetPort},
};

/// An endpoint that should be in a slice.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) endpoint: Endpoint,
    pub(super) digest: EndpointDigest,
    /// When its pod became ready, or ceased to be.
    pub(super) changed_at: Option<Timestamp>,
}

/// Endpoints whose ports are the same numbers: they share slices.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) ports: Vec<EndpointPort>,
    pub(super) wanted: Vec<Wanted>,
}

/// Ports, in whichever order they were written.
pub(super) type Ports = Vec<(Option<String>, Option<String>, Option<i32>, Option<String>)>;

/// Names the ports of a slice.
pub(super) fn ports_key(ports: &[EndpointPort]) -> Ports {
    let key = |port: &EndpointPort| {
        (port.name.clone(), port.protocol.clone(), port.port, port.app_protocol.clone())
    };
    let mut keys: Ports = ports.iter().map(key).collect();
    keys.sort_unstable();
    keys
}

/// The endpoints of a Service by their ports; those in one group have the order of their pods' names.
pub(super) fn groups(
    view: &View,
    key: &ObjectKey,
    service: &Service,
    family: Family,
) -> BTreeMap<Ports, Group> {
    let mut groups: BTreeMap<Ports, Group> = BTreeMap::new();
    for (pod_key, pod) in pods(view, key, service) {
        let ports = ports(service, pod);
        let group = groups.entry(ports_key(&ports)).or_insert_with(|| Group { ports, wanted: Vec::new() });
        let node = pod.node.as_ref().and_then(|node| view.node(node)).and_then(|node| node.info.as_deref());
        // The garbage of a node that is gone is nobody's endpoint, but for whoever wants to know of every pod.
        if node.is_none() && !service.publishes_unready {
            continue;
        }
        let zone = node.and_then(|node| node.zone());
        let endpoint = endpoint(pod_key, pod, zone, (key, service), family);
        if !endpoint.addresses.is_empty() {
            let digest = EndpointDigest::of(&endpoint);
            group.wanted.push(Wanted { endpoint, digest, changed_at: pod.ready_changed_at });
        }
    }
    for group in groups.values_mut() {
        let mut known = HashSet::new();
        group.wanted.retain(|wanted| known.insert(wanted.digest.identity));
    }
    groups
}

/// Pods that a Service selects and that have an address, by name. Those that are being deleted are among them.
pub(super) fn pods<'a>(
    view: &'a View,
    key: &'a ObjectKey,
    service: &'a Service,
) -> impl Iterator<Item = (&'a ObjectKey, &'a PodInfo)> {
    let all = view.pods_of(&key.namespace).map(|(key, pod)| (key, &**pod));
    all.filter(|(_, pod)| {
        service.selects(&pod.affiliation.labels) && !pod.phase.finished() && !pod.addresses.is_empty()
    })
}

/// The number of a pod's port that a Service's port leads to.
pub(super) fn port_number(port: &ServicePort, pod: &PodInfo) -> Option<i32> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let mut named = pod.template.named_ports.iter();
            let found = named.find(|known| known.name == *name && known.protocol == port.protocol);
            found.map(|known| i32::from(known.port))
        }
    }
}

/// What a pod is called in what is written of it.
pub(super) fn reference(key: &ObjectKey, pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(key.namespace.to_string()),
        name: Some(key.name.to_string()),
        uid: Some(pod.uid.as_str().to_owned()),
        ..ObjectReference::default()
    }
}

/// The pod's own name within the Service, if it has one there.
pub(super) fn host_name(pod: &PodInfo, service: &ObjectKey) -> Option<String> {
    let host_name = pod.host_name.as_ref().filter(|host_name| *host_name.service == *service.name)?;
    Some(host_name.name.clone())
}

fn ports(service: &Service, pod: &PodInfo) -> Vec<EndpointPort> {
    let port = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone()),
            port: Some(port_number(port, pod)?),
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service.ports.iter().filter_map(port).collect()
}

fn endpoint(
    pod_key: &ObjectKey,
    pod: &PodInfo,
    zone: Option<&str>,
    (key, service): (&ObjectKey, &Service),
    family: Family,
) -> Endpoint {
    let (serving, terminating) = (pod.is_ready(), pod.deletion.is_some());
    // Whoever looks at `ready` alone is to leave a pod alone as soon as it is about to go.
    let ready = service.publishes_unready || (serving && !terminating);
    let addresses = pod.addresses.iter().filter(|address| Family::of(**address) == family);
    Endpoint {
        addresses: addresses.map(ToString::to_string).collect(),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: service.distribution.filter(|_| ready).and_then(|wanted| hints(wanted, pod, zone)),
        hostname: host_name(pod, key),
        node_name: pod.node.as_ref().map(|node| node.as_str().to_owned()),
        target_ref: Some(reference(pod_key, pod)),
        zone: zone.map(str::to_owned),
        ..Endpoint::default()
    }
}

/// Who should prefer the pod.
fn hints(distribution: Distribution, pod: &PodInfo, zone: Option<&str>) -> Option<EndpointHints> {
    let node = pod.node.as_ref().filter(|_| distribution == Distribution::SameNode);
    let hints = EndpointHints {
        for_nodes: node.map(|node| vec![ForNode { name: node.as_str().to_owned() }]),
        for_zones: zone.map(|zone| vec![ForZone { name: zone.to_owned() }]),
    };
    (hints != EndpointHints::default()).then_some(hints)
}
