//! Probes and hooks, on a cluster that runs.

use crate::cluster::{Namespace, wait_until};

/// A pod that serves HTTP, with more lines about its container.
fn web(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 2\n  containers:\n  \
         - name: c\n    image: dunlin.local/http-hello\n    ports: [{{containerPort: 8080, name: http}}]\n{more}"
    )
}

fn waits_for(namespace: &Namespace, pod: &str, path: &str, expected: &str) {
    wait_until(&format!("{path} of {pod} is {expected}"), || {
        let said = namespace.ok(&["get", "pod", pod, "-o", &format!("jsonpath={{{path}}}")]);
        if said == expected {
            Ok(())
        } else {
            Err(format!("{said}\n{}", namespace.ok(&["describe", "pod", pod])))
        }
    });
}

const READY: &str = ".status.containerStatuses[0].ready";
const RESTARTS: &str = ".status.containerStatuses[0].restartCount";

#[test]
fn a_pod_whose_probes_pass_is_ready_and_is_not_restarted() {
    let namespace = Namespace::new();
    let probes = "    startupProbe: {httpGet: {port: http, path: /up}, periodSeconds: 1}\n    \
         readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}\n    \
         livenessProbe: {httpGet: {port: 8080, path: /live}, periodSeconds: 1}\n    \
         lifecycle: {preStop: {sleep: {seconds: 1}}, postStart: {httpGet: {port: http, path: /begun}}}\n";
    let manifest = web("web", probes);
    let applied = namespace.dunlin_with(&["apply", "-f", "-"], &manifest);
    assert_eq!((applied.code, applied.stderr.contains("no effect")), (0, false), "{applied:?}");
    waits_for(&namespace, "web", READY, "true");
    waits_for(&namespace, "web", ".status.containerStatuses[0].started", "true");
    waits_for(&namespace, "web", RESTARTS, "0");
    namespace.ok(&["delete", "pod", "web", "--timeout=20s"]);
}

#[test]
fn a_pod_whose_readiness_probe_fails_runs_unready_and_says_why() {
    let namespace = Namespace::new();
    namespace.apply(&web("deaf", "    readinessProbe: {httpGet: {port: 9, path: /}, periodSeconds: 1}\n"));
    waits_for(&namespace, "deaf", ".status.phase", "Running");
    wait_until("the event of a failed probe", || {
        let described = namespace.ok(&["describe", "pod", "deaf"]);
        let expected = [
            "Unhealthy",
            "Readiness probe failed: Get \"http://10.42.",
            ":9/\": dial tcp 10.42.",
            "connection refused",
        ];
        if expected.iter().all(|part| described.contains(part)) { Ok(()) } else { Err(described) }
    });
    waits_for(&namespace, "deaf", READY, "false");
    let message = ".status.conditions[?(@.type==\"Ready\")].message";
    waits_for(&namespace, "deaf", message, "containers with unready status: [c]");
}

#[test]
fn a_pod_whose_liveness_probe_fails_is_restarted() {
    let namespace = Namespace::new();
    // A request that never ends: the probe's time runs out.
    let probe = "    livenessProbe: {httpGet: {port: http, path: /spin}, periodSeconds: 1, failureThreshold: 2, \
                 terminationGracePeriodSeconds: 1}\n";
    namespace.apply(&web("stuck", probe));
    wait_until("a restart", || {
        let described = namespace.ok(&["describe", "pod", "stuck"]);
        let expected = ["Liveness probe failed:", "Container c failed liveness probe, will be restarted"];
        let restarts = namespace.ok(&["get", "pod", "stuck", "-o", &format!("jsonpath={{{RESTARTS}}}")]);
        let is_so = expected.iter().all(|part| described.contains(part)) && restarts != "0";
        if is_so { Ok(()) } else { Err(described) }
    });
}

#[test]
fn commands_are_probes_too() {
    let namespace = Namespace::new();
    let probed = |name: &str, probe: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
             - name: c\n    image: dunlin.local/toolbox\n    readinessProbe: {{exec: {{command: {probe}}}, periodSeconds: 1}}\n"
        )
    };
    namespace.apply(&probed("good", "[toolbox, exit, \"0\"]"));
    namespace.apply(&probed("bad", "[toolbox, nonsense]"));
    waits_for(&namespace, "good", READY, "true");
    wait_until("what the command wrote", || {
        let described = namespace.ok(&["describe", "pod", "bad"]);
        if described.contains("Readiness probe failed: usage: toolbox") { Ok(()) } else { Err(described) }
    });
    waits_for(&namespace, "bad", READY, "false");
}
