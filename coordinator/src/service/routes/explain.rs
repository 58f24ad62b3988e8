//! How the scheduler would place a pod: each node with the filter that refuses it, or with what each plugin scores.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey,
    scheduler::{Decision, NodeDecision, Outcome},
};
use serde_json::{Map, Value, json};

use super::{Call, may_list_nodes, not_served};
use crate::service::{ApiService, ObjectRef, get::pod_kind, response::Response};

impl ApiService {
    /// Whoever may read the pod and list nodes may know.
    pub(super) async fn explain_schedule(&self, call: Call<'_>) -> Result<Response, Status> {
        let [namespace, name] = call.captures.as_slice() else { return Ok(Response::no_such_path()) };
        may_list_nodes(self, call.user).await?;
        let pod = self.get(call.user, ObjectRef { kind: pod_kind(), namespace, name }).await?;
        let explainer = self.inner.attached.explainer.get().ok_or_else(not_served)?;
        let decision = explainer.explain(ObjectKey::new(namespace, name)).await.ok_or_else(not_served)?;
        Ok(Response::json(200, &described(&pod, &decision)))
    }
}

fn described(pod: &Value, decision: &Decision) -> Value {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let mut scheduled = conditions.filter(|condition| condition["type"] == "PodScheduled");
    let message = scheduled.find_map(|condition| condition["message"].as_str());
    json!({
        "pod": { "namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"] },
        "profile": decision.profile,
        "nodeName": pod["spec"]["nodeName"],
        "nominatedNodeName": pod["status"]["nominatedNodeName"],
        "message": message,
        "prerequisite": decision.prerequisite,
        "nodes": decision.nodes.iter().map(of_node).collect::<Vec<_>>(),
    })
}

fn of_node(decision: &NodeDecision) -> Value {
    match &decision.outcome {
        Outcome::Fits { score, plugins } => {
            let plugins: Map<String, Value> =
                plugins.iter().map(|one| (one.plugin.to_owned(), one.score.into())).collect();
            json!({ "node": decision.node.as_str(), "fits": true, "score": score, "scores": plugins })
        }
        Outcome::Refused(reasons) => json!({
            "node": decision.node.as_str(),
            "fits": false,
            "filter": reasons.first().map(|reason| reason.plugin()),
            "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    }
}
