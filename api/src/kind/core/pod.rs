//! Pod.

use serde_json::{Value, json};

use crate::{
    admission,
    kind::{Column, FieldLabel, FieldLabels, Generation, Kind, Removed, Subresource},
    pipeline::Creation,
    time::format_time,
    value::{has, list, object_mut, put, set},
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
        Subresource::stream("attach", "PodAttachOptions"),
        Subresource::created("binding", "", "Binding"),
        Subresource::part("ephemeralcontainers"),
        Subresource::created("eviction", "policy", "Eviction"),
        Subresource::stream("exec", "PodExecOptions"),
        Subresource { verbs: &["get"], ..Subresource::part("log") },
        Subresource::stream("portforward", "PodPortForwardOptions"),
        Subresource::proxy("PodProxyOptions"),
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
    admit: admission::admit_pod,
    validate: validate::object,
    validate_create: validate::create,
    validate_update: validate::update,
    validate_ephemeral: validate::update_ephemeral,
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

/// The static pod that a pod only shows, by its uid on its node; `None` for a pod that is one itself. Kubernetes calls such a pod a
/// mirror: what it shows runs whether it is there or not.
pub fn mirror_of(pod: &Value) -> Option<&str> {
    pod.get("metadata")?.get("annotations")?.get(MIRROR)?.as_str()
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
