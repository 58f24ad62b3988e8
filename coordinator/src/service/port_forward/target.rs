//! Where a forward leads: which pod, on which node.

use dunlin_api::Status;
use dunlin_coordinator_core::mirror;
use dunlin_link::{NodeName, PodUid};
use serde_json::Value;

/// A pod on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node: NodeName,
    pub(super) uid: PodUid,
    pub(super) name: String,
}

impl Target {
    /// # Errors
    /// When the pod has no node, or is over.
    pub(super) fn find(pod: &Value) -> Result<Self, Status> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Status::bad_request(format!(
                "cannot forward ports of a completed pod; current phase is {phase}"
            )));
        }
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
        };
        Ok(Self {
            node: NodeName::new(node),
            uid: PodUid::new(mirror::uid_on_node(pod)),
            name: name.to_owned(),
        })
    }
}
