//! What a pod's resource requests and limits say about it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{containers, is_sidecar};
use crate::{
    quantity::Quantity,
    value::{default, entries, has, list, object_mut},
};

/// `status.qosClass`: who goes first when a node runs out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QosClass {
    /// Limits equal requests, for everything.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl QosClass {
    /// As in the status.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod; its own resources count before its containers'.
pub(super) fn qos_class(pod: &Value) -> QosClass {
    let spec = &pod["spec"];
    let holders: Vec<&Value> = if has(&spec["resources"], "limits") || has(&spec["resources"], "requests") {
        vec![spec]
    } else {
        let ephemeral = list(spec, "ephemeralContainers").len();
        let all: Vec<&Value> = containers(spec).collect();
        all[..all.len() - ephemeral].to_vec()
    };
    let (mut anything, mut guaranteed) = (false, true);
    for holder in holders {
        for resource in ["cpu", "memory"] {
            let request = amount(holder, "requests", resource);
            let limit = amount(holder, "limits", resource);
            anything |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (anything, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// What the containers of a pod ask for together, of `requests` or `limits`: all that stay, or an init container beside the sidecars before
/// it, whichever is more.
pub(super) fn of_containers(spec: &Value, which: &str) -> BTreeMap<String, Quantity> {
    let mut staying = BTreeMap::<String, Quantity>::new();
    let mut most = BTreeMap::<String, Quantity>::new();
    let mut raise = |name: &String, to: Quantity| {
        let most = most.entry(name.clone()).or_insert(to);
        if *most < to {
            *most = to;
        }
    };
    let init = list(spec, "initContainers").iter().map(|container| (container, is_sidecar(container)));
    let all = init.chain(list(spec, "containers").iter().map(|container| (container, true)));
    for (container, stays) in all {
        for (name, amount) in entries(&container["resources"], which) {
            let Some(amount) = amount.as_str().and_then(|amount| amount.parse().ok()) else { continue };
            let beside = staying.get(name).copied();
            let together = beside.map_or(amount, |beside| beside.plus(amount));
            raise(name, together);
            if stays {
                staying.insert(name.clone(), together);
            }
        }
    }
    most
}

/// Fills in what a pod does not say of itself that follows from what it does and from its containers. Their own defaults come before.
pub(super) fn pod_defaults(spec: &mut Value) {
    let says = |list: &str| spec["resources"][list].as_object().is_some_and(|list| !list.is_empty());
    if !says("limits") && !says("requests") {
        return;
    }
    let (limits, requests) = (of_containers(spec, "limits"), of_containers(spec, "requests"));
    let own = &mut spec["resources"];
    for (name, all) in limits.into_iter().filter(|(name, _)| name.starts_with(HUGE_PAGES)) {
        if !has(&own["requests"], &name) {
            default(object_mut(own, "limits"), &name, all.to_string());
        }
    }
    let limits: Vec<(String, Value)> =
        entries(own, "limits").map(|(name, limit)| (name.clone(), limit.clone())).collect();
    if limits.is_empty() {
        return;
    }
    let own = object_mut(own, "requests");
    for (name, all) in requests.into_iter().filter(|(name, _)| ["cpu", "memory"].contains(&name.as_str())) {
        default(own, &name, all.to_string());
    }
    for (name, limit) in limits.into_iter().filter(|(name, _)| is_of_pods(name)) {
        default(own, &name, limit);
    }
}

/// Whether a pod can say of a resource how much all of it may use.
pub(super) fn is_of_pods(name: &str) -> bool {
    ["cpu", "memory"].contains(&name) || name.starts_with(HUGE_PAGES)
}

/// How the names of resources begin that are large pages.
pub(super) const HUGE_PAGES: &str = "hugepages-";

/// A request or limit, if it is more than nothing.
fn amount(holder: &Value, list: &str, resource: &str) -> Option<Quantity> {
    let quantity: Quantity = holder["resources"][list][resource].as_str()?.parse().ok()?;
    (!quantity.is_zero() && !quantity.is_negative()).then_some(quantity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_does_not_say_of_itself_follows_from_its_containers() {
        let container = |cpu: &str, pages: &str| json!({"resources": {"requests": {"cpu": cpu, "ephemeral-storage": "1Gi"}, "limits": {"hugepages-2Mi": pages}}});
        let spec = |resources: Value| {
            let mut sidecar = container("100m", "2Mi");
            sidecar["restartPolicy"] = json!("Always");
            json!({
                "initContainers": [sidecar, container("1", "2Mi")],
                "containers": [container("200m", "4Mi"), container("300m", "4Mi")], "resources": resources,
            })
        };
        let check = |resources: Value, expected: Value| {
            let mut spec = spec(resources);
            pod_defaults(&mut spec);
            assert_eq!(spec["resources"], expected);
        };
        check(Value::Null, Value::Null);
        check(json!({"limits": {}}), json!({"limits": {}}));
        check(
            json!({"limits": {"cpu": "2", "memory": "1Gi"}}),
            json!({
                "limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "10Mi"},
                "requests": {"cpu": "1100m", "memory": "1Gi", "hugepages-2Mi": "10Mi"},
            }),
        );
        check(
            json!({"requests": {"cpu": "2", "hugepages-2Mi": "20Mi"}}),
            json!({"requests": {"cpu": "2", "hugepages-2Mi": "20Mi"}}),
        );
    }
}
