//! A pod as its agent tells it, in the shape of the API's object, so that it is shown as the coordinator's are.

use dunlin_edge_node::console::{Keeper, PodView};
use dunlin_link::{
    Digest, UnixMillis,
    pod::{ConfigKind, Container, EnvFrom, EnvValue, EnvVar, Protocol},
    status::{ContainerState, ContainerStatus, PodCondition, Terminated},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The object.
pub(super) fn pod_of(pod: &PodView) -> Value {
    let PodView { assignment, report, .. } = pod;
    let spec = &assignment.spec;
    let map = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
    };
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": assignment.name, "namespace": assignment.namespace, "uid": assignment.uid.as_str(),
            "labels": map(&spec.labels), "annotations": map(&spec.annotations),
            "creationTimestamp": report.start_time.and_then(time),
        },
        "spec": {
            "serviceAccountName": spec.service_account_name,
            "initContainers": spec.init_containers.iter().map(container).collect::<Vec<_>>(),
            "containers": spec.containers.iter().map(container).collect::<Vec<_>>(),
            "ephemeralContainers":
                assignment.ephemeral.containers.iter().map(|added| container(&added.container)).collect::<Vec<_>>(),
        },
        "status": {
            "phase": format!("{:?}", report.phase), "reason": report.reason, "message": report.message,
            "hostIP": report.host_ip, "podIP": report.pod_ip, "startTime": report.start_time.and_then(time),
            "conditions": report.conditions.iter().map(condition).collect::<Vec<_>>(),
        },
    });
    if !report.pod_ip.is_empty() {
        object["status"]["podIPs"] = json!([{"ip": report.pod_ip}]);
    }
    if let Keeper::Buried(tombstone) = &pod.keeper {
        object["metadata"]["deletionTimestamp"] = json!(time(tombstone.requested_at));
        object["metadata"]["deletionGracePeriodSeconds"] = tombstone.grace_seconds.into();
    }
    if pod.synced {
        let statuses = |statuses: &[ContainerStatus]| statuses.iter().map(status).collect::<Vec<_>>();
        object["status"]["initContainerStatuses"] = statuses(&report.init_containers).into();
        let (containers, added) =
            report.containers.split_at(spec.containers.len().min(report.containers.len()));
        object["status"]["containerStatuses"] = statuses(containers).into();
        if !added.is_empty() {
            object["status"]["ephemeralContainerStatuses"] = statuses(added).into();
        }
    } else {
        // What is remembered is no statement of what runs.
        object["status"]["reason"] = "Unknown".into();
        object["status"]["message"] = "the runner has not answered yet".into();
    }
    object
}

/// Where its ports can be reached on this machine.
pub(super) fn endpoints(pod: &PodView) -> Vec<Value> {
    let endpoints = pod.report.local_endpoints.iter();
    endpoints.map(|at| json!({"containerPort": at.container_port, "address": at.address})).collect()
}

/// Adds what only a node can tell to a table of its pods.
pub(super) fn widen(table: &mut Value, pods: &[PodView]) {
    if let Some(columns) = table["columnDefinitions"].as_array_mut() {
        columns.push(json!({"name": "Kept-By", "type": "string", "priority": 0}));
        columns.push(json!({"name": "Reported", "type": "string", "priority": 1}));
        // A pod's node is this one, and nothing here nominates or gates.
        for column in columns.iter_mut() {
            if ["Node", "Nominated Node", "Readiness Gates"]
                .contains(&column["name"].as_str().unwrap_or_default())
            {
                column["priority"] = 2.into();
            }
        }
    }
    for (row, pod) in table["rows"].as_array_mut().into_iter().flatten().zip(pods) {
        if let Some(cells) = row["cells"].as_array_mut() {
            cells.push(kept_by(pod).into());
            cells.push(if pod.reported { "yes" } else { "waiting" }.into());
        }
    }
}

fn kept_by(pod: &PodView) -> String {
    match &pod.keeper {
        Keeper::Assigned(revision) => format!("coordinator@{revision}"),
        Keeper::Static => "manifest on this machine".to_owned(),
        Keeper::Held => "held: unknown to the coordinator".to_owned(),
        Keeper::Buried(_) => "deleted".to_owned(),
    }
}

fn container(container: &Container) -> Value {
    let resources = &container.resources;
    let amounts = |cpu: Option<dunlin_link::MilliCpu>, memory: Option<dunlin_link::Bytes>| {
        let mut amounts = Map::new();
        amounts.extend(cpu.map(|cpu| ("cpu".to_owned(), format!("{}m", cpu.0).into())));
        amounts.extend(memory.map(|memory| {
            let bytes = i64::try_from(memory.0).unwrap_or(i64::MAX);
            ("memory".to_owned(), dunlin_api::quantity::Quantity::from_bytes(bytes).to_string().into())
        }));
        amounts
    };
    let port = |port: &dunlin_link::pod::ContainerPort| {
        json!({"name": port.name, "containerPort": port.container_port, "hostPort": port.host_port,
               "protocol": match port.protocol { Protocol::Tcp => "TCP", Protocol::Udp => "UDP", Protocol::Sctp => "SCTP" }})
    };
    json!({
        "name": container.name, "image": container.image.reference,
        "command": container.command, "args": container.args,
        "restartPolicy": if container.sidecar { "Always" } else { "" },
        "ports": container.ports.iter().map(port).collect::<Vec<_>>(),
        "resources": {
            "requests": amounts(resources.cpu_request, resources.memory_request),
            "limits": amounts(resources.cpu_limit, resources.memory_limit),
        },
        "env": container.env.iter().map(variable).collect::<Vec<_>>(),
        "envFrom": container.env_from.iter().map(source).collect::<Vec<_>>(),
    })
}

fn variable(variable: &EnvVar) -> Value {
    match &variable.value {
        EnvValue::Literal(text) => json!({"name": variable.name, "value": text}),
        EnvValue::Key { kind, name, key, optional } => {
            let field = if *kind == ConfigKind::Secret { "secretKeyRef" } else { "configMapKeyRef" };
            json!({"name": variable.name, "valueFrom": {field: {"name": name, "key": key, "optional": optional}}})
        }
        EnvValue::Field(path) => {
            json!({"name": variable.name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
        }
        EnvValue::Resource { container, resource, .. } => json!({"name": variable.name,
            "valueFrom": {"resourceFieldRef": {"containerName": container, "resource": resource}}}),
    }
}

fn source(source: &EnvFrom) -> Value {
    let field = if source.kind == ConfigKind::Secret { "secretRef" } else { "configMapRef" };
    json!({"prefix": source.prefix, field: {"name": source.name, "optional": source.optional}})
}

fn condition(condition: &PodCondition) -> Value {
    json!({
        "type": format!("{:?}", condition.kind), "status": if condition.status { "True" } else { "False" },
        "reason": condition.reason, "message": condition.message,
        "lastTransitionTime": time(condition.last_transition),
    })
}

fn status(status: &ContainerStatus) -> Value {
    let mut object = json!({
        "name": status.name, "image": status.image, "ready": status.ready, "started": status.started,
        "restartCount": status.restart_count, "state": state(&status.state),
        "imageID": status.image_digest.as_ref().map_or_else(String::new, Digest::to_string),
        "containerID": status.container_id.as_ref().map_or_else(String::new, |id| format!("dunlin://{id}")),
    });
    if let Some(end) = &status.last_state {
        object["lastState"] = json!({"terminated": terminated(end)});
    }
    object
}

fn state(state: &ContainerState) -> Value {
    match state {
        ContainerState::Waiting { reason, message } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        ContainerState::Running { started_at } => json!({"running": {"startedAt": time(*started_at)}}),
        ContainerState::Terminated(end) => json!({"terminated": terminated(end)}),
    }
}

fn terminated(end: &Terminated) -> Value {
    json!({
        "exitCode": end.exit_code, "reason": end.reason, "message": end.message,
        "startedAt": time(end.started_at), "finishedAt": time(end.finished_at),
    })
}

fn time(at: UnixMillis) -> Option<String> {
    Timestamp::from_millisecond(at.0).ok().map(dunlin_api::time::format_time)
}
