//! Which fields of a pod have no effect yet, so that whoever set them is told.

use serde_json::Value;

/// Paths of the fields in `pod` that are accepted and have no effect, in the order of the spec; indices stand in brackets.
pub fn ignored_fields(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut ignored = Vec::new();
    for (field, default) in POD_FIELDS {
        if is_set(&spec[*field], default) {
            ignored.push(format!("spec.{field}"));
        }
    }
    for affinity in ["podAffinity", "podAntiAffinity"] {
        if is_set(&spec["affinity"][affinity], &[]) {
            ignored.push(format!("spec.affinity.{affinity}"));
        }
    }
    for field in POD_SECURITY_FIELDS {
        if is_set(&spec["securityContext"][*field], &[]) {
            ignored.push(format!("spec.securityContext.{field}"));
        }
    }
    let mut volumes = spec["volumes"].as_array().into_iter().flatten();
    if volumes.any(|volume| !is_token(&volume["name"])) {
        ignored.push("spec.volumes".to_owned());
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            in_container(container, &format!("spec.{list}[{index}]"), &mut ignored);
        }
    }
    ignored
}

fn in_container(container: &Value, place: &str, ignored: &mut Vec<String>) {
    for (field, default) in CONTAINER_FIELDS {
        if is_set(&container[*field], default) {
            ignored.push(format!("{place}.{field}"));
        }
    }
    for field in CONTAINER_SECURITY_FIELDS {
        if is_set(&container["securityContext"][*field], &["Default"]) {
            ignored.push(format!("{place}.securityContext.{field}"));
        }
    }
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if mounts.any(|mount| !is_token(&mount["name"])) {
        ignored.push(format!("{place}.volumeMounts"));
    }
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        if is_set(&port["hostIP"], &["0.0.0.0", "::"]) {
            ignored.push(format!("{place}.ports[{index}].hostIP"));
        }
    }
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        if is_set(&variable["valueFrom"]["fileKeyRef"], &[]) {
            ignored.push(format!("{place}.env[{index}].valueFrom.fileKeyRef"));
        }
    }
}

/// Whether a field holds something that differs from what it means to leave it out.
fn is_set(value: &Value, defaults: &[&str]) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty() && !defaults.contains(&text.as_str()),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// Whether a volume is the service account's token, which admission adds to every pod and nobody wrote.
fn is_token(name: &Value) -> bool {
    name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"))
}

/// Fields of the spec without effect, with the values that mean nothing special.
const POD_FIELDS: &[(&str, &[&str])] = &[
    ("dnsConfig", &[]),
    ("dnsPolicy", &["ClusterFirst", "Default"]),
    ("ephemeralContainers", &[]),
    ("hostAliases", &[]),
    ("hostIPC", &[]),
    ("hostPID", &[]),
    ("imagePullSecrets", &[]),
    ("readinessGates", &[]),
    ("resourceClaims", &[]),
    ("runtimeClassName", &[]),
    ("schedulingGroup", &[]),
    ("setHostnameAsFQDN", &[]),
    ("shareProcessNamespace", &[]),
    ("subdomain", &[]),
    ("topologySpreadConstraints", &[]),
];

const POD_SECURITY_FIELDS: &[&str] =
    &["fsGroup", "runAsGroup", "runAsUser", "supplementalGroups", "sysctls", "windowsOptions"];

const CONTAINER_FIELDS: &[(&str, &[&str])] = &[
    ("lifecycle", &[]),
    ("livenessProbe", &[]),
    ("readinessProbe", &[]),
    ("restartPolicyRules", &[]),
    ("startupProbe", &[]),
    ("stdin", &[]),
    ("terminationMessagePath", &["/dev/termination-log"]),
    ("tty", &[]),
    ("volumeDevices", &[]),
];

const CONTAINER_SECURITY_FIELDS: &[&str] =
    &["privileged", "procMount", "runAsGroup", "runAsUser", "windowsOptions"];
