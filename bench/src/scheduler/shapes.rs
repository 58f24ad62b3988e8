//! Shapes of workloads: what the nodes are like, what runs there before, and what is placed.

use serde_json::{Value, json};

/// A shape.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Placements per second expected at 5,000 nodes.
    pub(crate) expected: f64,
    pub(crate) because: &'static str,
}

/// What the pods ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Basic,
    NodeAffinity,
    PodAffinity,
    AntiAffinity,
    PreferredAffinity,
    Spreading,
    Preemption,
    MixedChurn,
    Unschedulable,
    DaemonSet,
}

impl Shape {
    /// How many pods are placed.
    pub(crate) fn measured(&self, pods: usize, nodes: usize) -> usize {
        match self.kind {
            // One pod per node: half the fleet has one before.
            Kind::AntiAffinity => pods.min(nodes / 2),
            Kind::Preemption | Kind::DaemonSet => pods.min(nodes),
            _ => pods,
        }
    }

    /// Pods on each thousand nodes before the measurement.
    pub(crate) const fn before(&self) -> usize {
        match self.kind {
            Kind::Preemption => 4000,
            Kind::AntiAffinity => 200,
            Kind::DaemonSet => 0,
            _ => 1000,
        }
    }

    /// The spec of a pod: of the ones that are there before when `number` is `None`.
    pub(crate) fn spec(&self, number: Option<usize>, nodes: usize) -> Value {
        let container = |cpu: &str, memory: &str| {
            json!([{ "name": "pause", "image": "registry.k8s.io/pause:3.10",
                "resources": { "requests": { "cpu": cpu, "memory": memory } } }])
        };
        let mut spec = json!({ "containers": container("100m", "500Mi"), "priority": 0 });
        let term = |key: &str, color: &str| {
            json!({ "topologyKey": key, "namespaces": ["sched-0", "sched-1"],
                "labelSelector": { "matchLabels": { "color": color } } })
        };
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        match (self.kind, number) {
            (Kind::NodeAffinity, _) => {
                let zones = json!([{ "key": ZONE, "operator": "In", "values": ["zone-0", "zone-1"] }]);
                spec["affinity"]["nodeAffinity"][required] =
                    json!({ "nodeSelectorTerms": [{ "matchExpressions": zones }] });
            }
            (Kind::PodAffinity, _) => {
                spec["affinity"]["podAffinity"][required] = json!([term(ZONE, "blue")]);
            }
            (Kind::AntiAffinity, _) => {
                spec["affinity"]["podAntiAffinity"][required] = json!([term(HOSTNAME, "blue")]);
            }
            (Kind::PreferredAffinity, _) => {
                let weighted = json!([{ "weight": 1, "podAffinityTerm": term(HOSTNAME, "blue") }]);
                spec["affinity"]["podAffinity"][preferred] = weighted;
            }
            (Kind::Spreading, Some(_)) => {
                spec["topologySpreadConstraints"] = json!([{
                    "maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": { "matchLabels": { "color": "blue" } },
                }]);
            }
            (Kind::Preemption, None) => spec["containers"] = container("900m", "500Mi"),
            (Kind::Preemption, Some(_)) => {
                spec["containers"] = container("3000m", "500Mi");
                spec["priority"] = json!(10);
            }
            (Kind::DaemonSet, Some(number)) => {
                let name = json!([{ "key": "metadata.name", "operator": "In", "values": [format!("node-{}", number % nodes)] }]);
                spec["affinity"]["nodeAffinity"][required] =
                    json!({ "nodeSelectorTerms": [{ "matchFields": name }] });
            }
            _ => {}
        }
        spec
    }
}

/// Three zones, as in scheduler_perf's spreading; one where its pods have to be near each other.
pub(crate) const fn zones(kind: Kind) -> usize {
    match kind {
        Kind::PodAffinity => 1,
        _ => 3,
    }
}

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

const THRESHOLD: &str = "50 times the threshold of scheduler_perf";

const fn shape(name: &'static str, kind: Kind, threshold: f64) -> Shape {
    Shape { name, kind, expected: 50.0 * threshold, because: THRESHOLD }
}

/// All shapes, with scheduler_perf's thresholds in pods per second at 5,000 nodes (daemon sets: 15,000).
pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "basic", kind: Kind::Basic, expected: 50_000.0, because: "50,000 a second on one core" },
    shape("node affinity", Kind::NodeAffinity, 220.0),
    shape("pod affinity", Kind::PodAffinity, 35.0),
    shape("pod anti-affinity", Kind::AntiAffinity, 60.0),
    shape("preferred pod affinity", Kind::PreferredAffinity, 90.0),
    shape("topology spreading", Kind::Spreading, 85.0),
    shape("preemption", Kind::Preemption, 160.0),
    shape("mixed churn", Kind::MixedChurn, 265.0),
    shape("unschedulable", Kind::Unschedulable, 170.0),
    shape("daemon set", Kind::DaemonSet, 390.0),
];
