//! Warnings about pods and templates of pods: Kubernetes' own, and one for each field that is accepted but not acted on yet.

use std::collections::BTreeMap;

use dunlin_link::guest::ANNOTATIONS;
use serde_json::Value;

use super::CONTAINER_LISTS;
use crate::{
    field::Path,
    kind::{ACTS_NOT, NO_EFFECT},
    value::{has, list, text},
};

pub(super) fn all(pod: &Value) -> Vec<String> {
    about(pod, &Path::default())
}

/// Warnings about a pod, or a template of one, at `field`.
pub(super) fn about(pod: &Value, field: &Path) -> Vec<String> {
    let mut warnings = kubernetes_warnings(&pod["spec"], &field.child("spec"));
    warnings.extend(unsupported(pod, field));
    warnings.extend(unknown_annotations(&pod["metadata"]["annotations"], field));
    warnings
}

/// A warning for each annotation of Dunlin's that there is none of: a mistyped `dunlin.dev/egress` bounds nothing.
fn unknown_annotations(annotations: &Value, field: &Path) -> Vec<String> {
    let field = field.child("metadata").child("annotations");
    let is_known = |name: &str| ANNOTATIONS.contains(&name) || OF_OTHERS.contains(&name);
    let names = annotations.as_object().into_iter().flatten().map(|(name, _)| name);
    let unknown = names.filter(|name| name.starts_with("dunlin.dev/") && !is_known(name));
    unknown
        .map(|name| {
            format!("{}: unknown, and without effect; pods know {}", field.key(name), ANNOTATIONS.join(", "))
        })
        .collect()
}

/// Annotations that are for what owns a pod, and may be seen in its template, too.
const OF_OTHERS: &[&str] = &[
    "dunlin.dev/auto-rollback",
    "dunlin.dev/offline-policy",
    "dunlin.dev/progress-deadline-seconds",
    "dunlin.dev/rolled-back",
    "dunlin.dev/stable-revision",
];

/// A warning for each field of `pod` that is stored but that nodes do not act on yet.
pub fn unsupported_warnings(pod: &Value) -> Vec<String> {
    unsupported(pod, &Path::default())
}

fn unsupported(pod: &Value, field: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let lists = [
        (UNSUPPORTED, format!("accepted, but {NO_EFFECT}")),
        (AWAITED, format!("accepted, but containers wait, for no node {ACTS_NOT}")),
        (SE_LINUX, format!("accepted, but containers wait on nodes with SELinux; on others it {NO_EFFECT}")),
    ];
    for (paths, outcome) in lists {
        let mut found = Vec::new();
        for path in paths {
            let parts: Vec<&str> = path.split('.').collect();
            find(pod, &parts, field, &mut found);
        }
        warnings.extend(found.into_iter().map(|path| format!("{path}: {outcome}")));
    }
    let spec = &pod["spec"];
    let limits = spec["resources"]["limits"].as_object();
    let bounded =
        ["cpu", "memory"].into_iter().any(|name| limits.is_some_and(|list| list.contains_key(name)));
    if bounded && list(spec, "containers").len() + list(spec, "initContainers").len() > 1 {
        let field = field.child("spec").child("resources").child("limits");
        warnings
            .push(format!("{field}: bounds Linux containers together, but each WASM container by itself"));
    }
    let awaited =
        [("hostUsers", spec["hostUsers"] == false), ("runtimeClassName", has(spec, "runtimeClassName"))];
    for (name, _) in awaited.into_iter().filter(|(_, is_said)| *is_said) {
        let field = field.child("spec").child(name);
        warnings.push(format!("{field}: accepted, but Linux containers wait, for no node {ACTS_NOT}"));
    }
    warnings
}

/// Fields without effect. `[]` after a name stands for every element of the list; `a|b` for either name. Empty values do not
/// count, nor do the values in [`HARMLESS`].
///
/// What a Linux container honours is not here, for nobody knows of an image before it is pulled: in a WASM container, which has no user,
/// system calls, capabilities or root file system, most of a security context holds by itself or gives nothing.
const UNSUPPORTED: &[&str] = &[
    "spec.volumes[].emptyDir.medium",
    "spec.securityContext.seLinuxChangePolicy|windowsOptions",
    "spec.os.name",
    "spec.resourceClaims",
    "spec.containers|initContainers[].resizePolicy",
    "spec.containers|initContainers[].lifecycle.postStart|preStop.tcpSocket",
    "spec.containers|initContainers|ephemeralContainers[].securityContext.windowsOptions",
];

/// Fields that no node acts on, and without which containers are not started: they would miss something.
const AWAITED: &[&str] = &[
    "spec.volumes[].awsElasticBlockStore|azureDisk|azureFile|cephfs|cinder|csi|ephemeral|fc|flexVolume|flocker|gcePersistentDisk|\
     gitRepo|glusterfs|iscsi|nfs|persistentVolumeClaim|photonPersistentDisk|portworxVolume|quobyte|rbd|scaleIO|storageos|\
     vsphereVolume",
    "spec.volumes[].projected.sources[].clusterTrustBundle|podCertificate",
    "spec.containers|initContainers|ephemeralContainers[].volumeDevices",
    "spec.containers|initContainers|ephemeralContainers[].env[].valueFrom.fileKeyRef",
];

/// Fields that mean nothing where there is no SELinux.
const SE_LINUX: &[&str] = &[
    "spec.securityContext.seLinuxOptions",
    "spec.containers|initContainers|ephemeralContainers[].securityContext.seLinuxOptions",
];

/// Values that ask for what happens anyway.
const HARMLESS: &[(&str, &str)] = &[("medium", "Memory"), ("name", "linux")];

/// Follows a pattern of such a list through a value.
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
        let harmless = HARMLESS.iter().any(|(field, text)| *field == name && child == *text)
            || name == "medium" && child.as_str().is_some_and(|medium| medium.starts_with("HugePages"));
        if is_empty(child) || harmless {
            continue;
        }
        if each {
            for (position, element) in child.as_array().into_iter().flatten().enumerate() {
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
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Warnings that a Kubernetes server gives.
fn kubernetes_warnings(spec: &Value, field: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (label, since, instead) in
        DEPRECATED_LABELS.iter().filter(|(label, ..)| has(&spec["nodeSelector"], label))
    {
        let path = field.child("nodeSelector").key(label);
        warnings.push(format!("{path}: deprecated since {since}; use \"{instead}\" instead"));
    }
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
    let mut ports = Ports::new();
    for key in CONTAINER_LISTS {
        for (position, container) in list(spec, key).iter().enumerate() {
            port_warnings(container, &field.child(key).index(position), &mut ports, &mut warnings);
        }
    }
    for key in CONTAINER_LISTS {
        for (position, container) in list(spec, key).iter().enumerate() {
            duplicate_env_warnings(container, &field.child(key).index(position), &mut warnings);
        }
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let path = field.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings
}

/// Ports of a pod that were looked at, by number and protocol.
type Ports<'a> = BTreeMap<(i64, &'a str), Vec<(Path, &'a Value)>>;

/// What is odd about a container's ports, beside all those of containers before it.
fn port_warnings<'a>(container: &'a Value, field: &Path, seen: &mut Ports<'a>, warnings: &mut Vec<String>) {
    for (position, port) in list(container, "ports").iter().enumerate() {
        let path = field.child("ports").index(position);
        let (host_ip, protocol) = (text(port, "hostIP"), text(port, "protocol"));
        if !host_ip.is_empty() && host_port(port) == 0 {
            warnings.push(format!(
                "{path}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{protocol} HostIP:{host_ip}}}",
                text(port, "name"),
                port["containerPort"],
            ));
        }
        let alike = seen.entry((port["containerPort"].as_i64().unwrap_or(0), protocol)).or_default();
        for (known, other) in alike.iter() {
            if let Some(what) = overlap(port, other) {
                warnings.push(format!("{path}: {what} port definition with {known}"));
            }
        }
        if alike.len() < ALIKE_MAX {
            alike.push((path, port));
        }
    }
}

/// How two ports of one number and protocol get into each other's way, if they do.
fn overlap(port: &Value, other: &Value) -> Option<&'static str> {
    let (one, another) = (host_port(port), host_port(other));
    let (ip, other_ip) = (text(port, "hostIP"), text(other, "hostIP"));
    if one == another && ip == other_ip {
        Some("duplicate")
    } else if one == 0 || another == 0 {
        Some("overlapping")
    } else {
        (one == another && ip.is_empty() != other_ip.is_empty()).then_some("dangerously ambiguous")
    }
}

fn host_port(port: &Value) -> i64 {
    port["hostPort"].as_i64().unwrap_or(0)
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

/// Ports alike that one port is held against: each pair would be a warning.
const ALIKE_MAX: usize = 10;

/// Labels of nodes that have other names by now: the label, since when, and the other name.
const DEPRECATED_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];

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
    fn annotations_of_dunlin_s_that_nobody_knows_are_warned_of() {
        let of = |annotations: Value| {
            about(&json!({"metadata": {"annotations": annotations}, "spec": {}}), &Path::default())
        };
        let good = json!({
            "dunlin.dev/egress": "", "dunlin.dev/auto-rollback": "true", "other.dev/egres": "",
        });
        assert!(of(good).is_empty());
        let [warning] = &of(json!({"dunlin.dev/egres": ""}))[..] else { panic!("one is warned of") };
        let start = "metadata.annotations[dunlin.dev/egres]: unknown, and without effect; pods know ";
        assert!(warning.starts_with(start) && warning.contains("dunlin.dev/egress"), "{warning}");
    }

    #[test]
    fn what_is_odd_is_warned_of_as_kubernetes_does() {
        let port = |host: i64, ip: &str| json!({"containerPort": 80, "protocol": "TCP", "hostPort": host, "hostIP": ip});
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "terminationGracePeriodSeconds": -1,
            "containers": [{"ports": [port(0, ""), port(0, "")]}, {"ports": [port(1, ""), port(1, "10.0.0.1")]}],
        });
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[0]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[1].ports[0]",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ];
        assert_eq!(kubernetes_warnings(&spec, &Path::new("spec")), expected);
    }

    #[test]
    fn fields_without_effect_are_named() {
        let pod = json!({"spec": {
            "containers": [
                {
                    "name": "a", "securityContext": {"runAsUser": 7}, "tty": true, "stdin": true, "resizePolicy": [{}],
                    "volumeMounts": [{"name": "v", "mountPropagation": "None"}, {"name": "c", "mountPropagation": "HostToContainer"}],
                },
                {"name": "b", "terminationMessagePath": "/x", "env": [{"name": "x"}]},
            ],
            "dnsPolicy": "ClusterFirst", "securityContext": {}, "hostNetwork": true, "hostUsers": false, "runtimeClassName": "r", "nodeSelector": {"a": "b"},
            "volumes": [
                {"name": "v", "emptyDir": {"medium": "Memory"}, "image": {"reference": "i"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "h", "emptyDir": {"medium": "HugePages"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"podCertificate": {"keyType": "t"}}]}},
                {"name": "u", "emptyDir": {"medium": "Tape"}},
            ],
            "affinity": {"nodeAffinity": {"x": 1}, "podAffinity": {"y": 1}}, "topologySpreadConstraints": [{}],
        }});
        let expected = [
            "spec.volumes[4].emptyDir.medium: accepted, but has no effect yet",
            "spec.containers[0].resizePolicy: accepted, but has no effect yet",
            "spec.volumes[1].persistentVolumeClaim: accepted, but containers wait, for no node acts on it yet",
            "spec.volumes[3].projected.sources[1].podCertificate: accepted, but containers wait, for no node acts on it yet",
            "spec.hostUsers: accepted, but Linux containers wait, for no node acts on it yet",
            "spec.runtimeClassName: accepted, but Linux containers wait, for no node acts on it yet",
        ];
        assert_eq!(unsupported_warnings(&pod), expected);
        let limits = |containers: usize| {
            let spec =
                json!({"resources": {"limits": {"cpu": "1"}}, "containers": vec![json!({}); containers]});
            unsupported_warnings(&json!({"spec": spec}))
        };
        let together =
            "spec.resources.limits: bounds Linux containers together, but each WASM container by itself";
        assert_eq!(limits(1), [""; 0]);
        assert_eq!(limits(2), [together]);
        let os = |name: &str| unsupported_warnings(&json!({"spec": {"os": {"name": name}}}));
        assert_eq!(os("linux"), [""; 0]);
        assert_eq!(os("windows"), ["spec.os.name: accepted, but has no effect yet"]);
    }

    /// Checks which fields of a pod with these security contexts, of the pod and of its container, are warned of.
    fn check_security(pod: Value, container: Value, expected: &[&str]) {
        let pod = json!({"spec": {"securityContext": pod, "containers": [{"securityContext": container}]}});
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
            &[],
        );
        check_security(
            json!({"seLinuxOptions": {"level": "s0"}, "fsGroup": 1, "sysctls": [{"name": "a", "value": "b"}]}),
            json!({"windowsOptions": {"runAsUserName": "u"}, "privileged": true}),
            &[
                "spec.containers[0].securityContext.windowsOptions: accepted, but has no effect yet",
                "spec.securityContext.seLinuxOptions: accepted, but containers wait on nodes with SELinux; on others it has no effect yet",
            ],
        );
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
            "spec.containers[0].env[1].valueFrom.fileKeyRef: accepted, but containers wait, for no node acts on it yet",
        ];
        assert_eq!(unsupported_warnings(&pod), expected);
    }
}
