//! Warnings about pods and templates of pods: Kubernetes' own, and one for each field that is accepted but not acted on yet.

use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::{
    admission::is_access_volume,
    field::Path,
    kind::NO_EFFECT,
    value::{has, list, text},
};

pub(super) fn all(pod: &Value) -> Vec<String> {
    about(pod, &Path::default())
}

/// Warnings about a pod, or a template of one, at `field`.
pub(super) fn about(pod: &Value, field: &Path) -> Vec<String> {
    let mut warnings = kubernetes_warnings(&pod["spec"], &field.child("spec"));
    warnings.extend(unsupported(pod, field));
    warnings
}

/// A warning for each field of `pod` that is stored but has no effect yet.
pub fn unsupported_warnings(pod: &Value) -> Vec<String> {
    unsupported(pod, &Path::default())
}

fn unsupported(pod: &Value, field: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in UNSUPPORTED {
        let parts: Vec<&str> = path.split('.').collect();
        find(pod, &parts, field, &mut found);
    }
    let annotations = field.child("metadata").child("annotations");
    let set = UNSUPPORTED_ANNOTATIONS.iter().filter(|name| has(&pod["metadata"]["annotations"], name));
    found.extend(set.map(|name| annotations.key(name)));
    found.into_iter().map(|path| format!("{path}: accepted, but {NO_EFFECT}")).collect()
}

/// Fields without effect. `[]` after a name stands for every element of the list; `a|b` for either name. Empty values do not
/// count, nor do the values in [`HARMLESS`].
///
/// Of the security contexts, what only takes something away is not here: a WASM guest has no user, system calls, capabilities or root
/// file system, so `runAsNonRoot`, `readOnlyRootFilesystem`, dropped capabilities and the runtime's default profiles hold by
/// themselves. What would give it something, or asks for a particular user or profile, is ignored.
const UNSUPPORTED: &[&str] = &[
    "spec.volumes[]",
    "spec.ephemeralContainers[]",
    "spec.securityContext.fsGroup|fsGroupChangePolicy|runAsGroup|runAsUser|seLinuxChangePolicy|seLinuxOptions|\
     supplementalGroups|supplementalGroupsPolicy|sysctls|windowsOptions",
    "spec.securityContext.appArmorProfile|seccompProfile.type",
    "spec.dnsConfig|dnsPolicy|hostAliases|hostIPC|hostNetwork|hostPID|hostUsers|imagePullSecrets|os|\
     resourceClaims|resources|runtimeClassName|setHostnameAsFQDN|shareProcessNamespace|subdomain",
    "spec.containers|initContainers[].volumeMounts|volumeDevices|resizePolicy|terminationMessagePath",
    "spec.containers|initContainers[].lifecycle.stopSignal",
    "spec.containers|initContainers[].lifecycle.postStart|preStop.tcpSocket",
    "spec.containers|initContainers[].securityContext.allowPrivilegeEscalation|privileged|procMount|runAsGroup|runAsUser|\
     seLinuxOptions|windowsOptions",
    "spec.containers|initContainers[].securityContext.capabilities.add",
    "spec.containers|initContainers[].env[].valueFrom.fileKeyRef",
    "spec.containers|initContainers[].resources.limits.ephemeral-storage",
    "spec.automountServiceAccountToken",
    "spec.containers|initContainers[].securityContext.appArmorProfile|seccompProfile.type",
];

/// Values that ask for what happens anyway.
const HARMLESS: &[(&str, &str)] = &[
    ("dnsPolicy", "ClusterFirst"),
    ("terminationMessagePath", "/dev/termination-log"),
    ("procMount", "Default"),
    ("type", "RuntimeDefault"),
];

/// Annotations that will choose and tune how a module is run.
const UNSUPPORTED_ANNOTATIONS: &[&str] = &[
    "dunlin.dev/entry",
    "dunlin.dev/concurrency",
    "dunlin.dev/max-reuse",
    "dunlin.dev/request-timeout",
    "dunlin.dev/idle-timeout",
];

/// Follows a pattern of [`UNSUPPORTED`] through a value.
fn find(value: &Value, parts: &[&str], path: &Path, found: &mut Vec<Path>) {
    let Some((part, rest)) = parts.split_first() else {
        found.push(path.clone());
        return;
    };
    let (names, each) = match part.strip_suffix("[]") {
        Some(names) => (names, true),
        None => (*part, false),
    };
    for name in names.split('|') {
        let (child, path) = (&value[name], path.child(name));
        let harmless = HARMLESS.iter().any(|(field, text)| *field == name && child == *text);
        if is_empty(child) || harmless {
            continue;
        }
        if each {
            let elements = child.as_array().into_iter().flatten().enumerate();
            for (position, element) in elements.filter(|(_, element)| !is_access_volume(element)) {
                find(element, rest, &path.index(position), found);
            }
        } else {
            find(child, rest, &path, found);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        // The volume with the pod's token is the system's, and nobody asked for it.
        Value::Array(elements) => elements.iter().all(is_access_volume),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Warnings that a Kubernetes server gives.
fn kubernetes_warnings(spec: &Value, field: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (position, volume) in list(spec, "volumes").iter().enumerate() {
        for (key, name, since, gone) in DEAD_VOLUMES {
            if has(volume, key) {
                let path = field.child("volumes").index(position).child(name);
                warnings.push(format!("{path}: deprecated in {since}, non-functional in {gone}+"));
            }
        }
    }
    let mut check_selector = |holder: &Value, field: &Path| {
        if !has(holder, "labelSelector") {
            let path = field.child("labelSelector");
            warnings.push(format!("{path}: a null labelSelector results in matching no pod"));
        }
    };
    for (position, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        check_selector(constraint, &field.child("topologySpreadConstraints").index(position));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = &spec["affinity"][kind];
        let field = field.child("affinity").child(kind);
        for (list_name, inner) in [
            ("preferredDuringSchedulingIgnoredDuringExecution", Some("podAffinityTerm")),
            ("requiredDuringSchedulingIgnoredDuringExecution", None),
        ] {
            for (position, term) in list(affinity, list_name).iter().enumerate() {
                let field = field.child(list_name).index(position);
                match inner {
                    Some(inner) => check_selector(&term[inner], &field.child(inner)),
                    None => check_selector(term, &field),
                }
            }
        }
    }
    for key in CONTAINER_LISTS {
        for (position, container) in list(spec, key).iter().enumerate() {
            port_warnings(container, &field.child(key).index(position), &mut warnings);
        }
    }
    for key in CONTAINER_LISTS {
        for (position, container) in list(spec, key).iter().enumerate() {
            duplicate_env_warnings(container, &field.child(key).index(position), &mut warnings);
        }
    }
    warnings
}

fn port_warnings(container: &Value, field: &Path, warnings: &mut Vec<String>) {
    for (position, port) in list(container, "ports").iter().enumerate() {
        let host_ip = text(port, "hostIP");
        if !host_ip.is_empty() && port["hostPort"].as_i64().unwrap_or(0) == 0 {
            warnings.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{host_ip}}}",
                field.child("ports").index(position),
                text(port, "name"),
                port["containerPort"],
                text(port, "protocol"),
            ));
        }
    }
}

fn duplicate_env_warnings(container: &Value, field: &Path, warnings: &mut Vec<String>) {
    let names: Vec<&str> = list(container, "env").iter().map(|variable| text(variable, "name")).collect();
    for (position, name) in
        names.iter().enumerate().filter(|(position, name)| names[..*position].contains(name))
    {
        let field = field.child("env").index(position);
        warnings.push(format!(
            "{field}: hides previous definition of \"{name}\", which may be dropped when using apply"
        ));
    }
}

/// Volume sources that Kubernetes keeps in the API only: JSON field, name in the warning, deprecated in, gone in.
const DEAD_VOLUMES: &[(&str, &str, &str, &str)] = &[
    ("cephfs", "cephfs", "v1.28", "v1.31"),
    ("flocker", "flocker", "v1.22", "v1.25"),
    ("glusterfs", "glusterfs", "v1.25", "v1.26"),
    ("quobyte", "quobyte", "v1.22", "v1.25"),
    ("rbd", "rbd", "v1.28", "v1.31"),
    ("scaleIO", "scaleIO", "v1.16", "v1.22"),
    ("storageos", "storageOS", "v1.22", "v1.25"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_without_effect_are_named() {
        let pod = json!({"spec": {
            "containers": [
                {"name": "a", "volumeMounts": [{"name": "v"}], "securityContext": {"runAsUser": 7}, "tty": true, "stdin": true},
                {"name": "b", "terminationMessagePath": "/dev/termination-log", "env": [{"name": "x"}]},
            ],
            "dnsPolicy": "ClusterFirst", "securityContext": {}, "hostNetwork": true, "nodeSelector": {"a": "b"},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "affinity": {"nodeAffinity": {"x": 1}, "podAffinity": {"y": 1}}, "topologySpreadConstraints": [{}],
        }});
        let expected = [
            "spec.volumes[0]",
            "spec.hostNetwork",
            "spec.containers[0].volumeMounts",
            "spec.containers[0].securityContext.runAsUser",
        ];
        assert_eq!(
            unsupported_warnings(&pod),
            expected.map(|path| format!("{path}: accepted, but has no effect yet"))
        );
    }

    /// Checks which fields of a pod with these security contexts, of the pod and of its container, are warned of.
    fn check_security(pod: Value, container: Value, expected: &[&str]) {
        let pod = json!({"spec": {"securityContext": pod, "containers": [{"securityContext": container}]}});
        let expected: Vec<_> =
            expected.iter().map(|path| format!("{path}: accepted, but has no effect yet")).collect();
        assert_eq!(unsupported_warnings(&pod), expected);
    }

    #[test]
    fn security_that_only_takes_away_holds_by_itself() {
        let restricted = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "privileged": false,
            "procMount": "Default", "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "appArmorProfile": {"type": "RuntimeDefault"}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        check_security(
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            restricted,
            &[],
        );
        check_security(
            json!({"runAsUser": 1000, "seccompProfile": {"type": "Unconfined"}}),
            json!({"allowPrivilegeEscalation": true, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}),
            &[
                "spec.securityContext.runAsUser",
                "spec.securityContext.seccompProfile.type",
                "spec.containers[0].securityContext.allowPrivilegeEscalation",
                "spec.containers[0].securityContext.capabilities.add",
            ],
        );
    }

    #[test]
    fn annotations_without_effect_are_named() {
        let pod = json!({"metadata": {"annotations": {"dunlin.dev/entry": "", "dunlin.dev/max-reuse": "4", "a": "b"}}});
        let expected = ["entry", "max-reuse"]
            .map(|name| format!("metadata.annotations[dunlin.dev/{name}]: accepted, but has no effect yet"));
        assert_eq!(unsupported_warnings(&pod), expected);
    }

    #[test]
    fn what_no_container_gets_is_named() {
        let file =
            json!({"name": "F", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}});
        let limits = json!({"limits": {"memory": "1Gi", "ephemeral-storage": "1Gi"}});
        let pod = json!({"spec": {
            "containers": [{"name": "a", "env": [{"name": "x", "value": "y"}, file], "resources": limits}],
            "automountServiceAccountToken": true,
        }});
        let expected = [
            "spec.containers[0].env[1].valueFrom.fileKeyRef",
            "spec.containers[0].resources.limits.ephemeral-storage",
            "spec.automountServiceAccountToken",
        ];
        assert_eq!(
            unsupported_warnings(&pod),
            expected.map(|path| format!("{path}: accepted, but has no effect yet"))
        );
    }
}
