//! Pods of DaemonSets: each for one node, with the tolerations that all of them get.

use dunlin_api::Kind;
use serde_json::{Value, json};

use super::pod;
use crate::{
    controllers::daemon_set::{GENERATION_LABEL, HASH_LABEL},
    view::workload::{self, Network},
};

/// A pod of the owner's template for a node.
pub(super) fn daemon_pod(
    kind: &Kind,
    set: &Value,
    node: &str,
    hash: &str,
    template_generation: Option<i64>,
) -> Value {
    let mut object = pod(kind, set);
    let labels = &mut object["metadata"]["labels"];
    labels[HASH_LABEL] = hash.into();
    if let Some(generation) = template_generation {
        labels[GENERATION_LABEL] = generation.to_string().into();
    }
    let spec = &mut object["spec"];
    let network = if spec["hostNetwork"] == true { Network::OfNode } else { Network::OfPods };
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, effect) in workload::tolerations(network) {
        let wanted = json!({ "key": key, "operator": "Exists", "effect": effect.as_str() });
        let is_same = |known: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            ["key", "operator", "effect", "value"]
                .iter()
                .all(|field| text(&known[*field]) == text(&wanted[*field]))
        };
        match tolerations.iter_mut().find(|known| is_same(known)) {
            Some(known) => *known = wanted,
            None => tolerations.push(wanted),
        }
    }
    spec["tolerations"] = tolerations.into();
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
    // The controller has looked at the template's own terms; now only the node counts.
    spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({ "nodeSelectorTerms": [{ "matchFields": [field] }] });
    object
}

#[cfg(test)]
mod tests {
    use dunlin_api::kind;

    use super::*;

    #[test]
    fn a_pod_is_for_its_node_and_tolerates_what_nodes_go_through() {
        let set = json!({
            "metadata": {"name": "agent", "namespace": "n", "uid": "u1"},
            "spec": {"template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {
                    "containers": [{"name": "c", "image": "i"}],
                    "affinity": {"podAntiAffinity": {}},
                    "tolerations": [{
                        "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5,
                    }],
                },
            }},
        });
        let pod = daemon_pod(kind::by_kind("apps/v1", "DaemonSet").unwrap(), &set, "n1", "x", Some(3));
        let labels = json!({"app": "agent", "controller-revision-hash": "x", "pod-template-generation": "3"});
        assert_eq!(pod["metadata"]["labels"], labels);
        assert_eq!(pod["metadata"]["generateName"], "agent-");
        let (spec, affinity) = (&pod["spec"], &pod["spec"]["affinity"]);
        let terms =
            &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(terms[0]["matchFields"][0]["values"], json!(["n1"]));
        assert_eq!(affinity["podAntiAffinity"], json!({}));
        let tolerations = spec["tolerations"].as_array().unwrap();
        assert_eq!(tolerations.len(), 6);
        assert_eq!(tolerations[0]["tolerationSeconds"], Value::Null, "it holds out for ever");
    }
}
