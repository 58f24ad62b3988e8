//! Bugs of controllers that are planted in what they see.

use bytes::Bytes;
use dunlin_coordinator_core::view::workload::DEPLOYMENTS;
use serde_json::{Value, json};

use crate::{
    keys::{Place, STATEFUL_SETS},
    plant::Plant,
};

/// An object as the controllers see it.
pub(super) fn seen(key: &str, stored: &Bytes, plant: Option<Plant>) -> Bytes {
    let Place::Object(id) = Place::of(key) else { return stored.clone() };
    let change: fn(&mut Value) = match plant {
        Some(Plant::GreedyRollout) if id.resource == DEPLOYMENTS => |object| {
            if object["spec"]["strategy"]["type"] == "RollingUpdate" {
                object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("100%");
            }
        },
        Some(Plant::DisorderedSet) if id.resource == STATEFUL_SETS => {
            |object| object["spec"]["podManagementPolicy"] = json!("Parallel")
        }
        _ => return stored.clone(),
    };
    let mut object = serde_json::from_slice(stored).expect("what is stored is JSON");
    change(&mut object);
    object.to_string().into()
}
