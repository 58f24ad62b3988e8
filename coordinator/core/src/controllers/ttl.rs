//! How long a node may keep what it reads: an annotation of each node that says more seconds the more nodes there are.
//!
//! `pkg/controller/ttl` of Kubernetes is the reference. Steps overlap, so that a node that comes and goes at the edge of one does not
//! have all others written again and again. Kubernetes remembers the step; here the nodes' own annotations do. As there a node is
//! brought up to date when something about it changes, and not all of them at once.

use dunlin_link::NodeName;
use serde_json::json;

use super::{Action, Plan, WorkloadAction, tell::Component};
use crate::{
    ObjectKey,
    view::{ObjectId, Resource, View},
};

/// What to do about a node.
pub fn reconcile(view: &View, node: &NodeName) -> Plan {
    let Some(info) = view.node(node).and_then(|entry| entry.info.as_ref()) else { return Plan::nothing() };
    let wanted = seconds(info.ttl_seconds, view.nodes_known());
    if info.ttl_seconds == Some(wanted) {
        return Plan::nothing();
    }
    let patch = WorkloadAction::Patch {
        id: ObjectId { resource: NODES, key: ObjectKey::new("", node.as_str()) },
        uid: info.uid.as_str().into(),
        subresource: "",
        patch: json!({ "metadata": { "annotations": { ANNOTATION: wanted.to_string() } } }),
    };
    Plan { actions: vec![Action::Workload(Component::Ttl, patch)], again_at: None }
}

/// What the annotation should say, from what it says, in a cluster of so many nodes.
fn seconds(known: Option<u32>, nodes: usize) -> u32 {
    let mut step = STEPS.iter().position(|step| Some(step.seconds) == known).unwrap_or(0);
    while nodes > STEPS[step].most && step + 1 < STEPS.len() {
        step += 1;
    }
    while nodes < STEPS[step].least && step > 0 {
        step -= 1;
    }
    STEPS[step].seconds
}

/// A range of sizes.
struct Step {
    least: usize,
    most: usize,
    seconds: u32,
}

/// Kubernetes' own.
const STEPS: [Step; 5] = [
    Step { least: 0, most: 100, seconds: 0 },
    Step { least: 90, most: 500, seconds: 15 },
    Step { least: 450, most: 1000, seconds: 30 },
    Step { least: 900, most: 2000, seconds: 60 },
    Step { least: 1800, most: usize::MAX, seconds: 300 },
];

/// The annotation.
pub(crate) const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

const NODES: Resource = Resource::core("nodes");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steps_overlap() {
        let check = |known: Option<u32>, nodes: usize, expected: u32| {
            assert_eq!(seconds(known, nodes), expected, "{known:?} with {nodes}");
        };
        check(None, 1, 0);
        check(None, 100, 0);
        check(None, 101, 15);
        check(Some(15), 100, 15);
        check(Some(15), 90, 15);
        check(Some(15), 89, 0);
        check(Some(0), 700, 30);
        check(Some(300), 1800, 300);
        check(Some(300), 1799, 60);
        check(Some(300), 10, 0);
        check(Some(7), 5000, 300);
    }

    #[test]
    fn a_node_is_written_once() {
        let mut view = View::new("2026-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(40));
        let name = NodeName::new("n1");
        assert_eq!(reconcile(&view, &name), Plan::nothing());
        let mut node = json!({ "metadata": { "name": "n1", "uid": "u" }, "spec": {}, "status": {} });
        view.apply_node(&name, node.to_string().as_bytes()).unwrap();
        let plan = reconcile(&view, &name);
        let [Action::Workload(Component::Ttl, WorkloadAction::Patch { patch, .. })] = &plan.actions[..]
        else {
            panic!("{plan:?}")
        };
        assert_eq!(patch["metadata"]["annotations"][ANNOTATION], "0");
        dunlin_api::patch::merge(&mut node, patch.clone());
        view.apply_node(&name, node.to_string().as_bytes()).unwrap();
        assert_eq!(reconcile(&view, &name), Plan::nothing());
    }
}
