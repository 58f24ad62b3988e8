//! Pod.

use serde_json::{Value, json};

use crate::{
    Status,
    kind::{Column, FieldLabel, FieldLabels, Generation, Kind, Removed, Subresource},
    pipeline::Creation,
    time::format_time,
    value::{default, has, list, object_mut, put, set, text},
};

mod columns;
mod defaults;
mod resources;
pub(in crate::kind) mod template;
mod validate;
mod warnings;

use resources::qos_class;
pub(in crate::kind) use validate::{check_node_terms, check_tolerations};
pub use warnings::unsupported_warnings;

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    schema: "io.k8s.api.core.v1.Pod",
    removed: Removed::LastState,
    subresources: &[
        Subresource::created("binding", "", "Binding"),
        Subresource { verbs: &["get"], ..Subresource::part("log") },
        Subresource::STATUS,
    ],
    columns: &[
        Column::NAME,
        Column::shown("Ready", "How many containers are ready, of how many."),
        Column::shown("Status", "What it is doing, or why it cannot."),
        Column::shown("Restarts", "How often its containers were restarted, and when last."),
        Column::AGE,
        Column::wide("IP", "Its address."),
        Column::wide("Node", "The node it runs on."),
        Column::wide("Nominated Node", "The node it waits for while others make room."),
        Column::wide("Readiness Gates", "How many of its readiness gates hold, of how many."),
    ],
    generation: Generation::CountsSpecChanges,
    fields: FieldLabels::Named(&[
        FieldLabel::path("spec.nodeName"),
        FieldLabel { label: "spec.host", ..FieldLabel::path("spec.nodeName") },
        FieldLabel::path("spec.restartPolicy"),
        FieldLabel::path("spec.schedulerName"),
        FieldLabel::path("spec.serviceAccountName"),
        FieldLabel::flag("spec.hostNetwork"),
        FieldLabel::path("status.phase"),
        FieldLabel::path("status.podIP"),
        FieldLabel::path("status.podIPs"),
        FieldLabel::path("status.nominatedNodeName"),
    ]),
    default: defaults::apply,
    prepare_create,
    prepare_update: |new, old| {
        let status = old["status"].clone();
        put(new, "status", status);
    },
    prepare_status: |new, old| {
        // The class is a function of the spec, which a status update does not change.
        let class = old["status"]["qosClass"].clone();
        put(object_mut(new, "status"), "qosClass", class);
    },
    admit,
    validate: validate::object,
    validate_update: validate::update,
    validate_status: validate::status,
    warnings: warnings::all,
    row: columns::row,
    ..Kind::BASE
};

fn prepare_create(object: &mut Value, creation: &Creation<'_>) {
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(object).as_str()});
    if !list(&object["spec"], "schedulingGates").is_empty() {
        set(
            &mut status,
            "conditions",
            json!([{
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": format_time(creation.now),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]),
        );
    }
    set(object, "status", status);
}

/// What Kubernetes' admission plugins set and refuse: service account, priority, default tolerations.
fn admit(kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let name = text(&object["metadata"], "name").to_owned();
    // What runs from a node's own disk needs no account, and its mirror may name none.
    let is_mirror = mirror_of(object).is_some();
    let spec = object_mut(object, "spec");
    if text(spec, "serviceAccountName").is_empty() && !is_mirror {
        set(spec, "serviceAccountName", "default");
        set(spec, "serviceAccount", "default");
    }
    let class = text(spec, "priorityClassName");
    let computed = match (class, PRIORITY_CLASSES.iter().find(|(name, _)| *name == class)) {
        ("", _) => 0,
        (_, Some((_, priority))) => *priority,
        (class, None) => {
            return Err(Status::forbidden(
                kind,
                &name,
                &format!("no PriorityClass with name {class} was found"),
            ));
        }
    };
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != computed) {
        let detail = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {computed} from the given PriorityClass name"
        );
        return Err(Status::forbidden(kind, &name, &detail));
    }
    set(spec, "priority", computed);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    tolerate_lost_nodes(spec);
    Ok(())
}

/// The static pod that a pod only shows, by its uid on its node; `None` for a pod that is one itself. Kubernetes calls such a pod a
/// mirror: what it shows runs whether it is there or not.
pub fn mirror_of(pod: &Value) -> Option<&str> {
    pod.get("metadata")?.get("annotations")?.get(MIRROR)?.as_str()
}

/// A pod stays for a while on a node that is not ready, unless it says otherwise.
fn tolerate_lost_nodes(spec: &mut Value) {
    let mut tolerations = list(spec, "tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            ["", key].contains(&text(toleration, "key"))
                && ["", "NoExecute"].contains(&text(toleration, "effect"))
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECONDS,
            }));
        }
    }
    put(spec, "tolerations", tolerations.into());
}

/// The annotation that makes a pod a mirror, see [`mirror_of`].
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Each list of containers in a pod's spec, in the order they start.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Every container of a spec.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINER_LISTS.iter().flat_map(|key| list(spec, key))
}

/// Whether an init container is a sidecar.
fn is_sidecar(container: &Value) -> bool {
    has(container, "restartPolicy") && container["restartPolicy"] == "Always"
}

/// The classes that every cluster has; others come with the PriorityClass kind.
const PRIORITY_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

const LOST_NODE_SECONDS: i64 = 300;
