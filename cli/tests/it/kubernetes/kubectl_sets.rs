//! kubectl and workloads whose pods have a place of their own: StatefulSets by their number, DaemonSets by their node.

use super::kubectl::{Kubectl, tour};
use crate::{cluster::wait_until, site::Site};

fn stateful_set(text: &str, partition: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  replicas: 3\n  serviceName: db\n  \
         updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}}\n  \
         selector: {{matchLabels: {{app: db}}}}\n  template:\n    metadata: {{labels: {{app: db}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n      \
         containers: [{{name: c, image: dunlin.local/ticker, env: [{{name: TEXT, value: {text}}}]}}]\n"
    )
}

/// What a jsonpath says of each pod with this label, one a line, by name.
fn of_pods(kubectl: &Kubectl, label: &str, path: &str) -> Vec<String> {
    let template = format!("jsonpath={{range .items[*]}}{{.metadata.name}} {path}{{\"\\n\"}}{{end}}");
    let mut lines: Vec<String> =
        kubectl.ok(&["get", "pods", "-l", label, "-o", &template]).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

const TEXT: &str = "{.spec.containers[0].env[0].value}";

#[test]
fn a_stateful_set_comes_in_order_rolls_in_parts_and_is_undone() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok_with(&["apply", "-f", "-"], &stateful_set("one", 0));
    // kubectl counts every rollout as one of the pods from the partition on.
    let complete = "partitioned roll out complete: 3 new pods have been updated";
    assert!(kubectl.ok(&["rollout", "status", "sts/db", "--timeout=60s"]).contains(complete));
    let times = of_pods(&kubectl, "app=db", "{.metadata.labels.apps\\.kubernetes\\.io/pod-index}");
    assert_eq!(times, ["db-0 0", "db-1 1", "db-2 2"]);
    // Each came after the one before served; times are in whole seconds.
    let ready = "{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    let came = of_pods(&kubectl, "app=db", "{.metadata.creationTimestamp}");
    let served = of_pods(&kubectl, "app=db", ready);
    for (before, after) in served.iter().zip(&came[1..]) {
        let time = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
        assert!(time(before) <= time(after), "{served:?} {came:?}");
    }

    // Only the last of them gets the new template, and keeps it when it is deleted.
    kubectl.ok_with(&["apply", "-f", "-"], &stateful_set("two", 2));
    let partitioned = "partitioned roll out complete: 1 new pods have been updated";
    assert!(kubectl.ok(&["rollout", "status", "sts/db", "--timeout=60s"]).contains(partitioned));
    kubectl.ok(&["delete", "pod", "db-0", "db-2"]);
    wait_until("pods as they were", || {
        let texts = of_pods(&kubectl, "app=db", TEXT);
        if texts == ["db-0 one", "db-1 one", "db-2 two"] { Ok(()) } else { Err(format!("{texts:?}")) }
    });
    kubectl.ok_with(&["apply", "-f", "-"], &stateful_set("two", 0));
    assert!(kubectl.ok(&["rollout", "status", "sts/db", "--timeout=60s"]).contains(complete));
    assert_eq!(of_pods(&kubectl, "app=db", TEXT), ["db-0 two", "db-1 two", "db-2 two"]);

    let history = kubectl.ok(&["rollout", "history", "sts/db"]);
    assert!(history.lines().any(|line| line.starts_with('2')), "{history}");
    assert!(kubectl.ok(&["rollout", "history", "sts/db", "--revision=1"]).contains("one"));
    kubectl.ok(&["rollout", "undo", "sts/db"]);
    assert!(kubectl.ok(&["rollout", "status", "sts/db", "--timeout=60s"]).contains(complete));
    assert_eq!(of_pods(&kubectl, "app=db", TEXT), ["db-0 one", "db-1 one", "db-2 one"]);
    let again = kubectl.ok(&["rollout", "undo", "sts/db", "--to-revision=3"]);
    assert!(again.contains("skipped rollback"), "{again}");
    kubectl.ok(&["rollout", "restart", "sts/db"]);
    assert!(kubectl.ok(&["rollout", "status", "sts/db", "--timeout=60s"]).contains(complete));

    kubectl.ok(&["scale", "sts/db", "--replicas=1"]);
    kubectl.ok(&["wait", "--for=delete", "pod/db-1", "pod/db-2", "--timeout=60s"]);
    let told = kubectl.ok(&["describe", "sts", "db"]);
    assert!(told.contains("delete Pod db-1 in StatefulSet db successful"), "{told}");
    kubectl.ok(&["delete", "sts", "db"]);
    kubectl.ok(&["wait", "--for=delete", "pod/db-0", "--timeout=60s"]);
    assert_eq!(kubectl.ok(&["get", "controllerrevisions", "-l", "app=db", "-o", "name"]), "");
}

fn daemon_set(text: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{app: agent}}}}\n  \
         template:\n    metadata: {{labels: {{app: agent}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
         nodeSelector: {{kubernetes.io/os: linux}}\n      \
         containers: [{{name: c, image: dunlin.local/ticker, env: [{{name: TEXT, value: {text}}}]}}]\n"
    )
}

/// Waits until just these nodes run a pod of the DaemonSet.
fn wait_for_nodes(kubectl: &Kubectl, wanted: &[&str]) {
    let path = "{.spec.nodeName} {.status.phase} {.metadata.deletionTimestamp}";
    wait_until("a pod on each node", || {
        let pods = of_pods(kubectl, "app=agent", path);
        let mut nodes: Vec<&str> = pods
            .iter()
            .filter(|pod| pod.contains("Running"))
            .filter_map(|pod| pod.split(' ').nth(1))
            .collect();
        nodes.sort_unstable();
        if nodes == wanted && pods.len() == wanted.len() { Ok(()) } else { Err(format!("{pods:?}")) }
    });
}

#[test]
fn a_daemon_set_follows_the_nodes_and_rolls() {
    let site = Site::start();
    let Some(kubectl) = Kubectl::new(&site.config(), "default") else { return };
    site.push("ticker");
    let (one, two) = (site.token(&[]), site.token(&[]));
    let _first = site.join("n1", &one);
    kubectl.ok_with(&["apply", "-f", "-"], &daemon_set("one"));
    wait_for_nodes(&kubectl, &["n1"]);
    let _second = site.join("n2", &two);
    wait_for_nodes(&kubectl, &["n1", "n2"]);
    let done = "successfully rolled out";
    assert!(kubectl.ok(&["rollout", "status", "ds/agent", "--timeout=60s"]).contains(done));

    // A cordoned node keeps its pod, and gets a new one: these pods tolerate it.
    kubectl.ok(&["cordon", "n1"]);
    kubectl.ok(&["delete", "pods", "-l", "app=agent", "--field-selector=spec.nodeName=n1"]);
    wait_for_nodes(&kubectl, &["n1", "n2"]);
    kubectl.ok(&["drain", "n1", "--ignore-daemonsets"]);
    kubectl.ok(&["uncordon", "n1"]);
    // One with a taint that they do not tolerate keeps them out, and one that says so loses what it has.
    kubectl.ok(&["taint", "node", "n1", "k=v:NoSchedule"]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.desiredNumberScheduled}=1", "ds/agent", "--timeout=30s"]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.numberMisscheduled}=1", "ds/agent", "--timeout=30s"]);
    kubectl.ok(&["taint", "node", "n1", "k=v:NoExecute"]);
    wait_for_nodes(&kubectl, &["n2"]);
    kubectl.ok(&["taint", "node", "n1", "k-"]);
    wait_for_nodes(&kubectl, &["n1", "n2"]);

    kubectl.ok_with(&["apply", "-f", "-"], &daemon_set("two"));
    assert!(kubectl.ok(&["rollout", "status", "ds/agent", "--timeout=60s"]).contains(done));
    let texts = of_pods(&kubectl, "app=agent", TEXT);
    assert!(texts.len() == 2 && texts.iter().all(|pod| pod.ends_with(" two")), "{texts:?}");
    assert!(kubectl.ok(&["rollout", "history", "ds/agent"]).lines().any(|line| line.starts_with('2')));
    kubectl.ok(&["rollout", "undo", "ds/agent"]);
    assert!(kubectl.ok(&["rollout", "status", "ds/agent", "--timeout=60s"]).contains(done));
    let texts = of_pods(&kubectl, "app=agent", TEXT);
    assert!(texts.len() == 2 && texts.iter().all(|pod| pod.ends_with(" one")), "{texts:?}");
    kubectl.ok(&["rollout", "restart", "ds/agent"]);
    assert!(kubectl.ok(&["rollout", "status", "ds/agent", "--timeout=60s"]).contains(done));
    kubectl.ok(&["delete", "ds", "agent"]);
    wait_for_nodes(&kubectl, &[]);
}
