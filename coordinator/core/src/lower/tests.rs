//! What reaches a node of what a manifest says.

use dunlin_link::{
    Bytes, Digest, MilliCpu,
    care::{Action, ContainerCare, PortName, Scheme},
    pod::{ConfigKind, ConfigRef, EnvFrom, EnvValue, Protocol, PullPolicy, RestartPolicy},
};
use serde_json::{Value, json};

use super::{config_object, lower};

fn pod(spec: Value) -> Value {
    json!({ "metadata": { "name": "p", "namespace": "ns", "uid": "u", "generation": 2 }, "spec": spec })
}

fn lowered(spec: Value) -> dunlin_link::pod::PodAssignment {
    let resolve = |reference: &str| match reference {
        "known" => Ok(Digest::of(b"known")),
        _ => Err("no such image".to_owned()),
    };
    lower(pod(spec).to_string().as_bytes(), &resolve).unwrap()
}

#[test]
fn a_bare_pod_gets_every_default() {
    let assignment = lowered(json!({ "containers": [{ "name": "c", "image": "known" }] }));
    assert_eq!((assignment.uid.as_str(), assignment.generation), ("u", 2));
    assert_eq!((&*assignment.namespace, &*assignment.name), ("ns", "p"));
    let spec = assignment.spec;
    assert_eq!(spec.restart_policy, RestartPolicy::Always);
    assert_eq!(spec.termination_grace_seconds, 30);
    assert_eq!((&*spec.hostname, &*spec.service_account_name), ("p", "default"));
    let container = &spec.containers[0];
    assert_eq!(container.image.digest, Some(Digest::of(b"known")));
    assert_eq!(container.image.pull_policy, PullPolicy::IfNotPresent);
    assert!(!container.sidecar && container.env.is_empty() && container.refused_fields.is_empty());
}

#[test]
fn environment_comes_from_everywhere() {
    let assignment = lowered(json!({ "containers": [{
        "name": "c", "image": "unknown",
        "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "all" } }],
        "env": [
            { "name": "A", "value": "$(B)" },
            { "name": "B" },
            { "name": "C", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } },
            { "name": "D", "valueFrom": { "configMapKeyRef": { "name": "all", "key": "k" } } },
            { "name": "E", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            { "name": "F", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
            { "name": "G", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": "0" } } },
        ],
    }] }));
    let container = &assignment.spec.containers[0];
    let expected =
        EnvFrom { prefix: "P_".into(), kind: ConfigKind::ConfigMap, name: "all".into(), optional: false };
    assert_eq!(container.env_from, [expected]);
    let key =
        |kind, name: &str, optional| EnvValue::Key { kind, name: name.into(), key: "k".into(), optional };
    let resource = |resource: &str, divisor_milli| EnvValue::Resource {
        container: String::new(),
        resource: resource.into(),
        divisor_milli,
    };
    let values: Vec<_> = container.env.iter().map(|variable| variable.value.clone()).collect();
    assert_eq!(
        values,
        [
            EnvValue::Literal("$(B)".into()),
            EnvValue::Literal(String::new()),
            key(ConfigKind::Secret, "s", true),
            key(ConfigKind::ConfigMap, "all", false),
            EnvValue::Field("status.podIP".into()),
            resource("limits.memory", 1000 << 20),
            resource("limits.cpu", 1000),
        ]
    );
    let named = |kind, name: &str| ConfigRef { kind, name: name.into(), digest: None };
    assert_eq!(assignment.config, [named(ConfigKind::ConfigMap, "all"), named(ConfigKind::Secret, "s")]);
    assert_eq!((container.image.digest, &*container.image.unresolved), (None, "no such image"));
}

#[test]
fn resources_ports_and_sidecars_are_numbers_and_flags() {
    let assignment = lowered(json!({
        "hostname": format!("{}-x", "h".repeat(62)),
        "initContainers": [{ "name": "i", "image": "known", "restartPolicy": "Always" }],
        "containers": [{
            "name": "c", "image": "known", "imagePullPolicy": "Never",
            "resources": { "requests": { "cpu": "0.5" }, "limits": { "cpu": "1500m", "memory": "64Mi" } },
            "ports": [{ "containerPort": 53, "protocol": "UDP", "hostPort": 5353 }, { "containerPort": 80 }],
        }],
    }));
    assert_eq!(assignment.spec.hostname, "h".repeat(62), "no host name ends in a dash");
    assert!(assignment.spec.init_containers[0].sidecar);
    let container = &assignment.spec.containers[0];
    let resources = container.resources;
    assert_eq!((resources.cpu_request, resources.cpu_limit), (Some(MilliCpu(500)), Some(MilliCpu(1500))));
    assert_eq!(resources.memory_request, Some(Bytes(64 << 20)), "a limit is a request when there is none");
    let ports: Vec<_> =
        container.ports.iter().map(|port| (port.container_port, port.host_port, port.protocol)).collect();
    assert_eq!(ports, [(53, Some(5353), Protocol::Udp), (80, None, Protocol::Tcp)]);
}

#[test]
fn what_would_weaken_security_is_refused_by_name() {
    let check = |pod: Value, container: Value, expected: &[&str]| {
        let assignment = lowered(json!({
            "securityContext": pod,
            "containers": [{ "name": "c", "image": "known", "securityContext": container }],
        }));
        assert_eq!(assignment.spec.containers[0].refused_fields, expected);
    };
    let local = json!({ "type": "Localhost", "localhostProfile": "p" });
    let default = json!({ "type": "RuntimeDefault" });
    check(json!({ "runAsNonRoot": true }), json!({ "readOnlyRootFilesystem": true }), &[]);
    check(json!({ "seccompProfile": default }), json!({ "capabilities": { "drop": ["ALL"] } }), &[]);
    check(json!({ "seccompProfile": local }), json!({}), &["spec.securityContext.seccompProfile"]);
    check(json!({ "seccompProfile": local }), json!({ "seccompProfile": default }), &[]);
    check(json!({}), json!({ "appArmorProfile": local }), &["securityContext.appArmorProfile"]);
    check(json!({}), json!({ "seLinuxOptions": { "level": "s0" } }), &["securityContext.seLinuxOptions"]);
    check(json!({ "windowsOptions": { "runAsUserName": "u" } }), json!({}), &[]);
}

#[test]
fn a_variable_of_a_file_is_refused_by_name() {
    let of_file = json!({ "fileKeyRef": { "volumeName": "v", "path": "p", "key": "k" } });
    let env = json!([{ "name": "A", "value": "a" }, { "name": "B", "valueFrom": of_file }]);
    let assignment = lowered(json!({ "containers": [{ "name": "c", "image": "known", "env": env }] }));
    assert_eq!(assignment.spec.containers[0].refused_fields, ["env[1].valueFrom.fileKeyRef"]);
}

#[test]
fn a_host_port_on_one_address_is_refused_by_name() {
    let check = |port: Value, expected: &[&str]| {
        let ports = json!([{ "containerPort": 1 }, port]);
        let assignment =
            lowered(json!({ "containers": [{ "name": "c", "image": "known", "ports": ports }] }));
        assert_eq!(assignment.spec.containers[0].refused_fields, expected);
    };
    check(json!({ "containerPort": 80, "hostPort": 80 }), &[]);
    check(json!({ "containerPort": 80, "hostPort": 80, "hostIP": "0.0.0.0" }), &[]);
    check(json!({ "containerPort": 80, "hostPort": 80, "hostIP": "::" }), &[]);
    check(json!({ "containerPort": 80, "hostIP": "127.0.0.1" }), &[]);
    check(json!({ "containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1" }), &["ports[1].hostIP"]);
}

#[test]
fn configuration_is_decoded_and_sorted() {
    let check = |kind, object: Value, expected: &[(&str, &[u8])]| {
        let content = config_object(kind, object.to_string().as_bytes()).unwrap();
        let data: Vec<(&str, &[u8])> = content.data.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!((content.kind, &*data), (kind, expected));
    };
    check(
        ConfigKind::ConfigMap,
        json!({ "metadata": {}, "data": { "b": "text" }, "binaryData": { "a": "AP8=" } }),
        &[("a", &[0, 255]), ("b", b"text")],
    );
    check(ConfigKind::Secret, json!({ "metadata": {}, "data": { "k": "dg==" } }), &[("k", b"v")]);
}

#[test]
fn what_a_container_asks_for_while_it_runs_is_carried_beside_it() {
    let bare = lowered(json!({ "containers": [{ "name": "c", "image": "known" }] }));
    assert!(bare.care.is_default());
    let assignment = lowered(json!({
        "priority": 7,
        "tolerations": [{ "key": "node.kubernetes.io/memory-pressure", "operator": "Exists" }],
        "initContainers": [
            { "name": "side", "image": "known", "restartPolicy": "Always" },
            { "name": "once", "image": "known", "restartPolicy": "Never" },
        ],
        "containers": [{
            "name": "c", "image": "known", "restartPolicy": "Never",
            "restartPolicyRules": [{ "action": "Restart", "exitCodes": { "operator": "NotIn", "values": [3] } }],
            "livenessProbe": { "httpGet": { "port": "80", "path": "/x", "scheme": "HTTPS" }, "periodSeconds": 5 },
            "readinessProbe": { "tcpSocket": { "port": "web", "host": "h" }, "terminationGracePeriodSeconds": null },
            "startupProbe": { "grpc": { "port": 9, "service": "s" }, "failureThreshold": 30 },
            "lifecycle": { "preStop": { "sleep": { "seconds": 3 } }, "postStart": { "exec": { "command": ["a"] } } },
        }],
    }));
    let care = assignment.care;
    assert_eq!((care.priority, care.tolerates_memory_pressure, care.containers.len()), (7, true, 3));
    assert_eq!(care.of(0), Some(&ContainerCare::default()), "a sidecar is told apart");
    assert_eq!(care.of(1).unwrap().restart_policy, Some(RestartPolicy::Never));
    let main = care.of(2).unwrap();
    let liveness = main.liveness.as_deref().unwrap();
    let Action::HttpGet(get) = &liveness.action else { panic!("{liveness:?}") };
    assert_eq!((get.scheme, &get.port, &*get.path), (Scheme::Https, &PortName::Number(80), "/x"));
    let numbers = (liveness.period_seconds, liveness.timeout_seconds, liveness.failure_threshold);
    assert_eq!((numbers, liveness.success_threshold), ((5, 1, 3), 1));
    let tcp = Action::TcpSocket { host: "h".into(), port: PortName::Name("web".into()) };
    assert_eq!(main.readiness.as_deref().unwrap().action, tcp);
    let startup = main.startup.as_deref().unwrap();
    assert_eq!(startup.action, Action::Grpc { port: 9, service: "s".into() });
    assert_eq!((startup.failure_threshold, startup.period_seconds), (30, 10));
    assert_eq!(main.pre_stop.as_deref(), Some(&Action::Sleep { seconds: 3 }));
    assert_eq!(main.post_start.as_deref(), Some(&Action::Exec { command: vec!["a".into()] }));
    assert!(main.restart_rules[0].fits(1) && !main.restart_rules[0].fits(3));
}
