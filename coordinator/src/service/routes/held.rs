//! Pods that a node holds, and their burial.

use dunlin_api::Status;
use dunlin_link::NodeName;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::service::{ApiService, body, held::HeldPod, response::Response};

impl ApiService {
    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    pub(super) async fn list_held(&self, call: Call<'_>) -> Result<Response, Status> {
        let held = self.held_pods().of(&node_of(&call));
        Ok(Response::json(200, &json!({"items": held.iter().map(described).collect::<Vec<_>>()})))
    }

    pub(super) async fn bury(&self, call: Call<'_>) -> Result<Response, Status> {
        let node = node_of(&call);
        let asked: Burial = serde_json::from_slice(&body::read(call.body).await?)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let held = self.held_pods().of(&node);
        let Some(pod) = held.iter().find(|pod| pod.uid.as_str() == asked.uid) else {
            let message = format!("node \"{node}\" holds no pod of uid \"{}\"", asked.uid);
            return Err(Status::failure(404, "NotFound", message));
        };
        self.bury_held(&node, pod, asked.grace_seconds.unwrap_or(GRACE_SECONDS)).await?;
        Ok(Response::json(200, &described(pod)))
    }
}

/// Body of `POST held`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Burial {
    uid: String,
    grace_seconds: Option<u32>,
}

fn node_of(call: &Call<'_>) -> NodeName {
    NodeName::new(call.captures.first().copied().unwrap_or_default())
}

fn described(pod: &HeldPod) -> Value {
    json!({
        "uid": pod.uid.as_str(),
        "namespace": pod.namespace,
        "name": pod.name,
        "phase": format!("{:?}", pod.phase),
    })
}

/// Kubernetes' own default.
const GRACE_SECONDS: u32 = 30;
