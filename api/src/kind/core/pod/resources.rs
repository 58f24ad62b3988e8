//! What a pod's resource requests and limits say about it.

use serde_json::Value;

use super::containers;
use crate::{
    quantity::Quantity,
    value::{has, list},
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

/// A request or limit, if it is more than nothing.
fn amount(holder: &Value, list: &str, resource: &str) -> Option<Quantity> {
    let quantity: Quantity = holder["resources"][list][resource].as_str()?.parse().ok()?;
    (!quantity.is_zero() && !quantity.is_negative()).then_some(quantity)
}
