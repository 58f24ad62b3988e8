//! Kinds of the group `metrics.k8s.io`: what nodes and pods use, made up when somebody asks. Rows are those of metrics-server.

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, Kind, Storage};
use crate::{quantity::Quantity, value::text};

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&NODE_METRICS, &POD_METRICS];

/// What both share. Their plurals are those of what they are about.
const METRICS: Kind = Kind {
    group: "metrics.k8s.io",
    version: "v1beta1",
    verbs: &["get", "list"],
    storage: Storage::None,
    columns: &[
        Column::NAME,
        Column { format: "quantity", ..Column::shown("cpu", "Processors in use.") },
        Column { format: "quantity", ..Column::shown("memory", "Memory in use.") },
        Column {
            format: "duration",
            ..Column::shown("Window", "The time over which use of processors is the average.")
        },
    ],
    ..Kind::BASE
};

static NODE_METRICS: Kind = Kind {
    kind: "NodeMetrics",
    plural: "nodes",
    namespaced: false,
    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics",
    row: |object, _| row(object, std::iter::once(&object["usage"])),
    ..METRICS
};

static POD_METRICS: Kind = Kind {
    kind: "PodMetrics",
    plural: "pods",
    schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics",
    row: pod_row,
    ..METRICS
};

fn pod_row(object: &Value, _now: Timestamp) -> Vec<Value> {
    let containers = object["containers"].as_array().into_iter().flatten();
    row(object, containers.map(|container| &container["usage"]))
}

fn row<'a>(object: &Value, usages: impl Iterator<Item = &'a Value> + Clone) -> Vec<Value> {
    let sum = |resource: &str| {
        let amounts = usages.clone().filter_map(|usage| usage[resource].as_str()?.parse::<Quantity>().ok());
        amounts.reduce(Quantity::plus).map_or(Value::Null, |sum| sum.to_string().into())
    };
    vec![text(&object["metadata"], "name").into(), sum("cpu"), sum("memory"), text(object, "window").into()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_sum_up_containers() {
        let usage = |cpu: &str, memory: &str| json!({"usage": {"cpu": cpu, "memory": memory}});
        let pod = json!({"metadata": {"name": "p"}, "window": "15.2s",
            "containers": [usage("1500000n", "1Mi"), usage("500u", "512Ki")]});
        let expected = [json!("p"), json!("2m"), json!("1536Ki"), json!("15.2s")];
        assert_eq!(pod_row(&pod, Timestamp::UNIX_EPOCH), expected);
        let node = json!({"metadata": {"name": "n"}, "window": "1s", "usage": {"cpu": "1", "memory": "3"}});
        let cells = (NODE_METRICS.row)(&node, Timestamp::UNIX_EPOCH);
        assert_eq!(cells, [json!("n"), json!("1"), json!("3"), json!("1s")]);
    }
}
