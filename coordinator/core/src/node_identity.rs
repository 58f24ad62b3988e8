//! What a Node object says of the key that is its identity: that two machines use it, or that it was revoked. Both are conditions
//! with what to do; what a node tells of itself leaves them alone.

use dunlin_link::{NodeName, session::registry::CloneNews};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::node_status::seconds;

/// Says that two machines use the node's key. Says whether anything changed.
pub fn mark_cloned(node: &mut Value, now: Timestamp) -> bool {
    if is_marked_cloned(node) {
        return false;
    }
    unmark_cloned(node);
    let name = NodeName::new(node["metadata"]["name"].as_str().unwrap_or_default());
    let Some(conditions) = conditions(node) else { return false };
    conditions.push(json!({
        "type": CLONED_NODE,
        "status": "True",
        "reason": "KeyUsedTwice",
        "message": event_message(CloneNews::Cloned, &name),
        "lastHeartbeatTime": seconds(now),
        "lastTransitionTime": seconds(now),
    }));
    true
}

/// Takes that back. Says whether anything changed.
pub fn unmark_cloned(node: &mut Value) -> bool {
    let Some(conditions) = conditions(node) else { return false };
    let before = conditions.len();
    conditions.retain(|condition| condition["type"] != CLONED_NODE);
    conditions.len() != before
}

/// Whether the node's object says that it was cloned.
pub fn is_marked_cloned(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|known| known["type"] == CLONED_NODE && known["status"] == "True")
}

/// `reason` of the event that goes with the news.
pub const fn event_reason(news: CloneNews) -> &'static str {
    match news {
        CloneNews::Cloned => "ClonedNode",
        CloneNews::Single => "SingleNode",
    }
}

/// What the event, and the condition, say.
pub fn event_message(news: CloneNews, node: &NodeName) -> String {
    match news {
        CloneNews::Cloned => format!(
            "two machines or agents use the key of this node at the same time; each goes on running its pods, but only one is told of changes. Join the machine that shall be {node} with a token of `dunlin node replace {node}`, and each other one under a name of its own after removing its `identity` folder"
        ),
        CloneNews::Single => "only one machine uses the key of this node now".to_owned(),
    }
}

/// Says that the node is not Ready because its key was revoked. Says whether anything changed.
pub fn mark_revoked(node: &mut Value, now: Timestamp) -> bool {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let message = format!(
        "the key of this node was revoked: its machine is refused; a machine that joins with a token of `dunlin node replace {name}` takes its place"
    );
    let Some(conditions) = conditions(node) else { return false };
    if conditions.iter().any(|known| known["type"] == "Ready" && known["reason"] == REASON_REVOKED) {
        return false;
    }
    conditions.retain(|condition| condition["type"] != "Ready");
    conditions.push(json!({
        "type": "Ready",
        "status": "False",
        "reason": REASON_REVOKED,
        "message": message,
        "lastHeartbeatTime": seconds(now),
        "lastTransitionTime": seconds(now),
    }));
    true
}

/// The list of conditions, made if there is none; `None` when the object is not a node's.
fn conditions(node: &mut Value) -> Option<&mut Vec<Value>> {
    let status = node.as_object_mut()?.entry("status").or_insert_with(|| json!({}));
    status.as_object_mut()?.entry("conditions").or_insert_with(|| json!([])).as_array_mut()
}

/// Type of the condition of a node whose key two machines use.
pub const CLONED_NODE: &str = "dunlin.dev/ClonedNode";

/// Reason of the condition `Ready` of a node whose key was revoked.
pub const REASON_REVOKED: &str = "KeyRevoked";

#[cfg(test)]
mod tests {
    use super::*;

    fn single() -> Value {
        json!({"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    }

    #[test]
    fn a_clone_is_marked_once_and_the_mark_goes() {
        let mut node = single();
        assert!(mark_cloned(&mut node, Timestamp::UNIX_EPOCH) && is_marked_cloned(&node));
        assert!(!mark_cloned(&mut node, Timestamp::UNIX_EPOCH));
        assert_eq!(node["status"]["conditions"].as_array().unwrap().len(), 2);
        let message = node["status"]["conditions"][1]["message"].as_str().unwrap();
        assert!(message.contains("`dunlin node replace n1`"), "{message}");
        assert!(unmark_cloned(&mut node) && !unmark_cloned(&mut node) && !is_marked_cloned(&node));
        assert_eq!(node, single());
    }

    #[test]
    fn a_revoked_node_says_why_it_is_not_ready() {
        let mut node = single();
        assert!(mark_revoked(&mut node, Timestamp::UNIX_EPOCH));
        assert!(!mark_revoked(&mut node, Timestamp::UNIX_EPOCH));
        let conditions = node["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 1);
        assert_eq!(
            (&conditions[0]["status"], &conditions[0]["reason"]),
            (&json!("False"), &json!("KeyRevoked"))
        );
        let mut bare = json!({});
        assert!(mark_revoked(&mut bare, Timestamp::UNIX_EPOCH));
    }
}
