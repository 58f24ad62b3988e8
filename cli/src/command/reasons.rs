//! Why a workload is not yet as it is to be, asked of the coordinator for whoever waits for it.

use serde_json::Value;

use crate::{
    api,
    document::{items, text},
    resource,
    session::Session,
    workload::{self, pods, rollout},
};

/// What keeps the pods of a workload from being ready, a line each; empty when nothing is known to. A question that is not answered
/// has no reasons: whoever waits goes on waiting.
pub(super) async fn of(workload: &Value, session: &Session) -> Vec<String> {
    let selector = workload::pod_selector(workload);
    let Ok(kind) = resource::find("pods") else { return Vec::new() };
    let path = api::collection(kind, Some(text(workload, &["metadata", "namespace"])));
    let list = match selector.as_str() {
        "" => Value::Null,
        selector => session.api.list(&path, &[("labelSelector", selector)]).await.unwrap_or_default(),
    };
    let mut reasons = rollout::remarks(workload);
    reasons.extend(pods::troubles(items(&list, &["items"])));
    reasons
}
