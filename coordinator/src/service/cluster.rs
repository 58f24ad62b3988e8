//! Facts of the cluster that clients ask for.

use serde::Serialize;

/// What `GET /dunlin/v1/cluster` answers.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterInfo {
    /// Chosen once, when the cluster is made.
    pub id: String,
    /// Version of the coordinator.
    pub version: String,
    /// Where the coordinator can be reached.
    pub addresses: Vec<String>,
}
