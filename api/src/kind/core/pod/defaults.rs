//! Defaults of pods, and of templates of pods, that the schema does not hold.

use serde_json::{Map, Value, json};

use super::{CONTAINER_LISTS, resources::pod_defaults};
use crate::value::{default, default_text, entries, has, is_true, list, list_mut, object_mut, set, text};

pub(super) fn apply(pod: &mut Value) {
    let spec = object_mut(pod, "spec");
    default(spec, "enableServiceLinks", true);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        set(spec, "terminationGracePeriodSeconds", 1);
    }
    template(spec);
    let host_network = is_true(spec, "hostNetwork");
    for key in CONTAINER_LISTS {
        for container in list_mut(spec, key) {
            if has(container, "resources") {
                requests_from_limits(&mut container["resources"]);
            }
            for port in list_mut(container, "ports") {
                if host_network && port["hostPort"].as_i64().unwrap_or(0) == 0 {
                    let port_number = port["containerPort"].clone();
                    set(port, "hostPort", port_number);
                }
            }
        }
    }
    pod_defaults(spec);
    if has(pod, "status") {
        for (one, all) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
            address_alias(&mut pod["status"], one, all);
        }
    }
}

/// What the spec of a pod has by default, be it in a pod or in a template. The rest depends on the time a pod is made.
pub(super) fn template(spec: &mut Value) {
    service_account_alias(spec);
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default_text(spec, "schedulerName", "default-scheduler");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "securityContext", Map::new());
    for volume in list_mut(spec, "volumes") {
        volume_defaults(volume);
    }
    for key in CONTAINER_LISTS {
        for container in list_mut(spec, key) {
            container_defaults(container);
            for port in list_mut(container, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    }
}

/// The single address is the first of the list; where they differ the single one counts.
fn address_alias(status: &mut Value, one: &str, all: &str) {
    let first = list(status, all).first().map_or("", |address| text(address, "ip")).to_owned();
    let single = text(status, one).to_owned();
    if single.is_empty() && !first.is_empty() {
        set(status, one, first);
    } else if single != first {
        set(status, all, json!([{"ip": single}]));
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both always say the same.
fn service_account_alias(spec: &mut Value) {
    let name = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount"),
        name => name,
    };
    let name = name.to_owned();
    if !name.is_empty() {
        set(spec, "serviceAccountName", name.clone());
        set(spec, "serviceAccount", name);
    }
}

fn container_defaults(container: &mut Value) {
    let policy = if has_latest_tag(text(container, "image")) { "Always" } else { "IfNotPresent" };
    default_text(container, "imagePullPolicy", policy);
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, probe) {
            probe_defaults(&mut container[probe]);
        }
    }
    for hook in ["postStart", "preStop"] {
        if has(&container["lifecycle"], hook) {
            handler_defaults(&mut container["lifecycle"][hook]);
        }
    }
    for variable in list_mut(container, "env") {
        if has(variable, "valueFrom") {
            source_defaults(&mut variable["valueFrom"]);
        }
    }
}

/// A reference without digest whose tag is absent or `latest`. What is no reference to a registry has no tag.
fn has_latest_tag(image: &str) -> bool {
    if image.contains('@') || image.contains("://") {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe_defaults(probe: &mut Value) {
    for (key, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe[key].as_i64().unwrap_or(0) == 0 {
            set(probe, key, value);
        }
    }
    handler_defaults(probe);
}

fn handler_defaults(handler: &mut Value) {
    if has(handler, "httpGet") {
        default_text(&mut handler["httpGet"], "path", "/");
        default_text(&mut handler["httpGet"], "scheme", "HTTP");
    }
}

/// The source of an environment variable or of a downward API file.
fn source_defaults(source: &mut Value) {
    if has(source, "fieldRef") {
        default_text(&mut source["fieldRef"], "apiVersion", "v1");
    }
    if has(source, "resourceFieldRef") {
        default(&mut source["resourceFieldRef"], "divisor", "0");
    }
}

/// What is limited but not requested is requested up to its limit.
fn requests_from_limits(resources: &mut Value) {
    let limits: Vec<(String, Value)> =
        entries(resources, "limits").map(|(name, limit)| (name.clone(), limit.clone())).collect();
    if limits.is_empty() {
        return;
    }
    let requests = object_mut(resources, "requests");
    for (name, limit) in limits {
        default(requests, &name, limit);
    }
}

fn volume_defaults(volume: &mut Value) {
    if volume.as_object().is_some_and(|volume| volume.keys().all(|key| key == "name")) {
        set(volume, "emptyDir", Map::new());
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if has(volume, source) {
            default(&mut volume[source], "defaultMode", DEFAULT_MODE);
        }
    }
    if has(volume, "hostPath") {
        default(&mut volume["hostPath"], "type", "");
    }
    if has(volume, "downwardAPI") {
        list_mut(&mut volume["downwardAPI"], "items").iter_mut().for_each(source_defaults);
    }
    if has(volume, "projected") {
        for source in list_mut(&mut volume["projected"], "sources") {
            if has(source, "serviceAccountToken") {
                default(&mut source["serviceAccountToken"], "expirationSeconds", 3600);
            }
            if has(source, "downwardAPI") {
                list_mut(&mut source["downwardAPI"], "items").iter_mut().for_each(source_defaults);
            }
        }
    }
    if has(&volume["ephemeral"], "volumeClaimTemplate") {
        let template = object_mut(&mut volume["ephemeral"]["volumeClaimTemplate"], "spec");
        default(template, "volumeMode", "Filesystem");
    }
}

/// 0644.
const DEFAULT_MODE: i64 = 0o644;
