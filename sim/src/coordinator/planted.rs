//! Bugs of controllers that are planted in what they see.

use bytes::Bytes;
use dunlin_coordinator_core::{
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    view::{
        Resource,
        workload::{CRON_JOBS, DEPLOYMENTS},
    },
};
use serde_json::{Value, json};

use crate::{
    keys::{Place, STATEFUL_SETS},
    plant::Plant,
};

/// An object as the controllers see it.
pub(super) fn seen(key: &str, stored: &Bytes, plant: Option<Plant>) -> Bytes {
    let place = Place::of(key);
    let of = |resource: Resource| matches!(&place, Place::Object(id) if id.resource == resource);
    let change: fn(&mut Value) = match plant {
        Some(Plant::UnseenCordon) if matches!(place, Place::Node(_)) => {
            |node| node["spec"]["unschedulable"] = json!(false)
        }
        Some(Plant::UnseenPriority) if matches!(place, Place::Pod(_)) => |pod| {
            if !pod["spec"]["nodeName"].is_null() {
                pod["spec"]["priority"] = json!(-1);
            }
        },
        Some(Plant::UnseenMaximum) if of(HORIZONTAL_POD_AUTOSCALERS) => {
            |object| object["spec"]["maxReplicas"] = json!(100)
        }
        Some(Plant::OverlappingJobs) if of(CRON_JOBS) => {
            |object| object["spec"]["concurrencyPolicy"] = json!("Allow")
        }
        Some(Plant::GreedyRollout) if of(DEPLOYMENTS) => |object| {
            if object["spec"]["strategy"]["type"] == "RollingUpdate" {
                object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = json!("100%");
            }
        },
        Some(Plant::DisorderedSet) if of(STATEFUL_SETS) => {
            |object| object["spec"]["podManagementPolicy"] = json!("Parallel")
        }
        _ => return stored.clone(),
    };
    let mut object = serde_json::from_slice(stored).expect("what is stored is JSON");
    change(&mut object);
    object.to_string().into()
}
