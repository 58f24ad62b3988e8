//! Each check finds what it is for, in Kubernetes' words.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    kind::{self, service::NoPool},
    pipeline::{self, Change, Ownership, Target},
    value::set,
};

fn standard(text: &str) -> Standard {
    let (level, version) = text.split_once(':').unwrap_or((text, "latest"));
    let labels = json!({
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": version,
    });
    let (policy, errors) = Policy::of_labels(&labels);
    assert!(errors.is_empty(), "{text}");
    policy.enforce
}

fn told(text: &str, pod: &Value) -> String {
    violations(standard(text), pod).map_or_else(String::new, |why| in_detail(&why))
}

/// A pod of a container `c` with this security context, and a spec with these fields besides.
fn pod(context: Value, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
    let container = json!({"name": "c", "image": "i", "securityContext": context});
    set(&mut pod["spec"], "containers", json!([container]));
    pod
}

/// A context with which a container breaks nothing.
fn good() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut context = good();
    set(&mut context, key, value);
    context
}

#[test]
fn what_a_plain_pod_breaks_is_told_in_kubernetes_words() {
    let plain = pod(Value::Null, json!({}));
    assert_eq!(told("baseline", &plain), "");
    assert_eq!(
        told("restricted", &plain),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(told("restricted", &pod(good(), json!({}))), "");
    assert_eq!(told("privileged", &pod(json!({"privileged": true}), json!({"hostPID": true}))), "");
}

/// That these pods break just this of level `baseline`, and so something of the next.
fn check_baseline<const N: usize>(cases: [(Value, &str); N]) {
    for (pod, expected) in cases {
        assert_eq!(told("baseline", &pod), expected);
        assert_ne!(told("restricted", &pod), "", "{expected}");
    }
}

#[test]
fn each_check_of_baseline_finds_what_a_container_has() {
    let of = |key: &str, value: Value| pod(with(key, value), json!({}));
    let besides = |kind: &str, container: Value| {
        let mut pod = pod(good(), json!({}));
        set(&mut pod["spec"], kind, json!([container]));
        pod
    };
    let host = json!({"name": "e", "livenessProbe": {"httpGet": {"host": "h", "port": 1}}});
    check_baseline([
        (
            of("appArmorProfile", json!({"type": "Unconfined"})),
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            of("capabilities", json!({"drop": ["ALL"], "add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]})),
            "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            besides(
                "initContainers",
                json!({"name": "i", "ports": [{"hostPort": 90}, {"hostPort": 8080}, {}]}),
            ),
            "hostPort (container \"i\" uses hostPorts 8080, 90)",
        ),
        (
            besides("ephemeralContainers", host),
            "probe or lifecycle host (container \"e\" uses probe or lifecycle host \"h\")",
        ),
        (
            besides("initContainers", json!({"name": "i", "securityContext": {"privileged": true}})),
            "privileged (container \"i\" must not set securityContext.privileged=true)",
        ),
        (
            of("procMount", json!("Unmasked")),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            of("seccompProfile", json!({"type": "Unconfined"})),
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ]);
}

#[test]
fn each_check_of_baseline_finds_what_a_pod_has() {
    let bare = |spec| pod(good(), spec);
    let volumes = json!([{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "emptyDir": {}}]);
    let sysctls = json!([{"name": "net.ipv4.tcp_rmem"}, {"name": "kernel.msgmax"}]);
    let options = json!({"type": "x", "user": "u"});
    let mut annotated = bare(json!({}));
    annotated["metadata"]["annotations"] =
        json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"});
    check_baseline([
        (
            bare(json!({"hostNetwork": true, "hostIPC": true, "hostPID": false})),
            "host namespaces (hostNetwork=true, hostIPC=true)",
        ),
        (bare(json!({"volumes": volumes})), "hostPath volumes (volume \"a\")"),
        (
            pod(
                with("seLinuxOptions", options),
                json!({"securityContext": {"seLinuxOptions": {"role": "r"}}}),
            ),
            "seLinuxOptions (pod and container \"c\" set forbidden securityContext.seLinuxOptions: type \"x\"; \
             user may not be set; role may not be set)",
        ),
        (bare(json!({"securityContext": {"sysctls": sysctls}})), "forbidden sysctls (kernel.msgmax)"),
        (
            bare(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            annotated,
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
             \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
    ]);
}

#[test]
fn each_check_of_restricted_finds_what_it_is_for() {
    for (pod, expected) in [
        (
            pod(
                with("capabilities", json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]})),
                json!({}),
            ),
            "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            pod(
                good(),
                json!({"volumes": [
                    {"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "nfs": {}}, {"name": "d", "image": {}},
                    {"name": "e", "projected": {}},
                ]}),
            ),
            "restricted volume types (volumes \"a\", \"b\", \"d\" use restricted volume types \"hostPath\", \"nfs\", \"unknown\")",
        ),
        (
            pod(with("runAsNonRoot", json!(false)), json!({"securityContext": {"runAsNonRoot": true}})),
            "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            pod(with("runAsUser", json!(0)), json!({"securityContext": {"runAsUser": 0}})),
            "runAsUser=0 (pod and container \"c\" must not set runAsUser=0)",
        ),
        (
            pod(with("seccompProfile", json!({"type": "Unconfined"})), json!({})),
            "seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        assert_eq!(told("restricted", &pod), expected);
    }
    let said = json!({"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}});
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    assert_eq!(told("restricted", &pod(context, json!({"securityContext": said}))), "");
}

#[test]
fn a_version_asks_for_what_it_asked_for() {
    let plain = pod(Value::Null, json!({}));
    assert!(!told("restricted:v1.7", &plain).contains("allowPrivilegeEscalation"));
    assert!(told("restricted:v1.8", &plain).contains("allowPrivilegeEscalation"));
    assert!(!told("restricted:v1.18", &plain).contains("seccomp"));
    let probing = pod(
        good(),
        json!({"ephemeralContainers": [{"name": "e", "startupProbe": {"tcpSocket": {"host": "h"}}}]}),
    );
    assert_eq!(told("baseline:v1.33", &probing), "");
    assert_ne!(told("baseline:v1.99", &probing), "");
    let sysctl = pod(good(), json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}));
    assert_ne!(told("baseline:v1.31", &sysctl), "");
    assert_eq!(told("baseline:v1.32", &sysctl), "");
    let mut old = pod(good(), json!({}));
    old["metadata"]["annotations"] = json!({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"});
    let expected =
        "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
    assert_eq!(told("baseline:v1.18", &old), expected);
    let windows = pod(json!({"runAsNonRoot": true}), json!({"os": {"name": "windows"}}));
    assert_eq!(told("restricted:v1.25", &windows), "");
    assert_ne!(told("restricted:v1.24", &windows), "");
    let mapped = pod(with("runAsUser", json!(0)), json!({"hostUsers": false}));
    assert_eq!(told("restricted:v1.35", &mapped), "");
    assert_ne!(told("restricted:v1.34", &mapped), "");
    let unmasked = pod(with("procMount", json!("Unmasked")), json!({"hostUsers": false}));
    let expected = "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")";
    assert_eq!(told("baseline:v1.34", &unmasked), expected);
    assert_eq!(told("baseline:v1.35", &unmasked), "");
    assert_eq!(told("restricted:v1.35", &unmasked), expected);
}

#[test]
fn labels_that_mean_nothing_are_refused_once() {
    let kind = kind::by_kind("v1", "Namespace").unwrap();
    let namespace = |labels: Value| json!({"metadata": {"name": "n", "labels": labels}});
    let wrong = namespace(json!({
        "pod-security.kubernetes.io/enforce": "strict",
        "pod-security.kubernetes.io/warn-version": "1.36",
    }));
    let refused = admit(kind, None, &wrong, &Around::Nothing).unwrap_err();
    assert_eq!(
        refused.message(),
        "Namespace \"n\" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one \
         of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.36\": \
         must be \"latest\" or \"v1.x\"]"
    );
    assert_eq!(refused.code(), 422);
    // What got in before is no reason to refuse something else.
    assert_eq!(admit(kind, Some(&wrong), &wrong, &Around::Nothing), Ok(Vec::new()));
    assert_eq!(Policy::of_labels(&wrong["metadata"]["labels"]).0.enforce.level, Level::Restricted);
    let audited = namespace(json!({"pod-security.kubernetes.io/audit": "baseline"}));
    let warnings = admit(kind, None, &audited, &Around::Nothing).unwrap();
    assert_eq!(
        warnings,
        ["metadata.labels[pod-security.kubernetes.io/audit]: accepted, but has no effect yet"]
    );
    assert_eq!(admit(kind, Some(&audited), &audited, &Around::Nothing), Ok(Vec::new()));
}

#[test]
fn a_stricter_namespace_warns_of_its_pods() {
    let kind = kind::by_kind("v1", "Namespace").unwrap();
    let namespace = |level: &str| json!({"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/enforce": level}}});
    let named = |name: &str, mut pod: Value| {
        set(&mut pod["metadata"], "name", name);
        pod
    };
    let pods = [
        named("b", pod(with("privileged", json!(true)), json!({}))),
        named("a", pod(with("privileged", json!(true)), json!({}))),
        named("c", pod(good(), json!({"hostPID": true, "hostNetwork": true}))),
        named("d", pod(good(), json!({}))),
    ];
    let around = Around::Pods(pods.into());
    let warnings = admit(kind, Some(&namespace("privileged")), &namespace("baseline"), &around).unwrap();
    assert_eq!(
        warnings,
        [
            "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): privileged",
            "c: host namespaces",
        ]
    );
    let relaxed = admit(kind, Some(&namespace("restricted")), &namespace("baseline"), &around).unwrap();
    assert_eq!(relaxed, [""; 0]);
}

#[test]
fn what_is_added_to_a_pod_is_looked_at() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let around = Around::Policy(Policy::of_labels(&labels).0);
    let pods = kind::by_kind("v1", "Pod").unwrap();
    let current = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let add = |context: Value| {
        let mut pod = current.clone();
        let added = json!({"name": "e", "image": "i", "securityContext": context});
        set(&mut pod["spec"], "ephemeralContainers", json!([added]));
        let (target, ownership) = (Target::Ephemeral, Ownership::AsGiven);
        let change = Change { target, now: Timestamp::UNIX_EPOCH, ownership, around: &around };
        pipeline::update(pods, &current, pod, &change, &mut NoPool)
    };
    let refused = add(json!({"privileged": true})).unwrap_err();
    let why = "privileged (container \"e\" must not set securityContext.privileged=true)";
    assert!(refused.message().ends_with(why), "{}", refused.message());
    assert!(add(good()).is_ok());
}

#[test]
fn pods_are_refused_and_what_makes_pods_is_warned_of() {
    let labels = json!({
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/warn-version": "v1.20",
    });
    let around = Around::Policy(Policy::of_labels(&labels).0);
    let (pods, deployments) =
        (kind::by_kind("v1", "Pod").unwrap(), kind::by_kind("apps/v1", "Deployment").unwrap());
    let bad = pod(with("privileged", json!(true)), json!({}));
    let refused = admit(pods, None, &bad, &around).unwrap_err();
    let why = "privileged (container \"c\" must not set securityContext.privileged=true)";
    assert_eq!(
        refused.message(),
        format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {why}")
    );
    // Only what can make it another pod is looked at.
    assert_eq!(admit(pods, Some(&bad), &bad, &around), Ok(Vec::new()));
    let mut other = bad.clone();
    other["spec"]["containers"][0]["image"] = json!("other");
    assert!(admit(pods, Some(&bad), &other, &around).is_err());
    other["spec"]["containers"][0]["image"] = bad["spec"]["containers"][0]["image"].clone();
    other["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i"}]);
    assert!(admit(pods, Some(&bad), &other, &around).is_err());
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": bad}});
    let warnings = admit(deployments, None, &deployment, &around).unwrap();
    assert_eq!(warnings, [format!("would violate PodSecurity \"restricted:v1.20\": {why}")]);
    assert_eq!(admit(kind::by_kind("v1", "Secret").unwrap(), None, &json!({}), &around), Ok(Vec::new()));
}
