//! A tour through kubectl against a cluster with real nodes: every command that needs no controller of a later time, told by what
//! it does and not by how it prints (for that see `kubectl_golden`).

use serde_json::Value;

use super::kubectl::tour;
use crate::cluster::wait_until;

#[test]
fn what_the_server_is_and_serves() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let version: Value = serde_json::from_str(&kubectl.ok(&["version", "-o", "json"])).unwrap();
    assert_eq!(version["serverVersion"]["minor"], "36");
    assert!(kubectl.ok(&["cluster-info"]).contains("control plane"));
    let resources = kubectl.ok(&["api-resources", "-o", "name"]);
    for known in
        ["pods", "deployments.apps", "clusterroles.rbac.authorization.k8s.io", "leases.coordination.k8s.io"]
    {
        assert!(resources.lines().any(|line| line == known), "{known} in {resources}");
    }
    let versions = kubectl.ok(&["api-versions"]);
    assert!(versions.contains("autoscaling/v2") && versions.lines().any(|line| line == "v1"), "{versions}");
    assert_eq!(kubectl.ok(&["get", "--raw", "/readyz"]), "ok");
    let fields = kubectl.ok(&["explain", "pod.spec.containers", "--recursive"]);
    assert!(fields.contains("imagePullPolicy") && fields.contains("livenessProbe"), "{fields}");
    assert!(kubectl.ok(&["explain", "deploy.spec.replicas"]).contains("<integer>"));
}

#[test]
fn objects_are_made_shown_and_changed() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok(&["create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2"]);
    for output in [
        "yaml",
        "json",
        "name",
        "wide",
        "jsonpath={.data.a}",
        "go-template={{.data.a}}",
        "custom-columns=A:.data.a",
    ] {
        let shown = kubectl.ok(&["get", "configmap", "c", "-o", output]);
        assert!(!shown.is_empty(), "{output}");
    }
    for (kind, patch, path, expected) in [
        ("strategic", r#"{"data":{"c":"3"}}"#, "{.data.c}", "3"),
        ("merge", r#"{"data":{"a":null}}"#, "{.data.a}", ""),
        ("json", r#"[{"op":"replace","path":"/data/b","value":"9"}]"#, "{.data.b}", "9"),
    ] {
        kubectl.ok(&["patch", "configmap", "c", "--type", kind, "-p", patch]);
        assert_eq!(kubectl.ok(&["get", "cm", "c", "-o", &format!("jsonpath={path}")]), expected, "{kind}");
    }
    kubectl.ok(&["label", "cm", "c", "x=y"]);
    assert!(kubectl.fails(&["label", "cm", "c", "x=z"]).contains("overwrite"));
    kubectl.ok(&["annotate", "cm", "c", "note=n"]);
    assert_eq!(kubectl.ok(&["get", "cm", "-l", "x=y", "-o", "name"]).trim(), "configmap/c");
    let text = kubectl.ok(&["get", "cm", "c", "-o", "yaml"]).replace("b: \"9\"", "b: \"10\"");
    kubectl.ok_with(&["replace", "-f", "-"], &text);
    let stale = kubectl.run(&["replace", "-f", "-"], &text);
    assert!(stale.code != 0 && stale.stderr.contains("the object has been modified"), "{stale:?}");
    kubectl.file("edit.sed", "s/b: \"10\"/b: \"11\"/");
    kubectl.ok(&["edit", "cm", "c"]);
    assert_eq!(kubectl.ok(&["get", "cm", "c", "-o", "jsonpath={.data.b}"]), "11");
    kubectl.ok(&["delete", "cm", "c"]);
    assert!(kubectl.fails(&["get", "cm", "c"]).contains("(NotFound)"));
}

#[test]
fn apply_keeps_track_of_who_owns_what() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let manifest = |replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
             spec: {{containers: [{{name: c, image: hello}}]}}\n"
        )
    };
    assert!(kubectl.ok_with(&["apply", "-f", "-"], &manifest(0)).contains("created"));
    assert!(kubectl.ok_with(&["apply", "-f", "-"], &manifest(0)).contains("unchanged"));
    let changed = kubectl.run(&["diff", "-f", "-"], &manifest(1));
    assert!(changed.code == 1 && changed.stdout.contains("+  replicas: 1"), "{changed:?}");
    assert_eq!(kubectl.run(&["diff", "-f", "-"], &manifest(0)).code, 0);
    assert!(kubectl.ok_with(&["apply", "-f", "-"], &manifest(1)).contains("configured"));
    kubectl.ok(&["scale", "deployment", "web", "--replicas=3"]);
    let server_side = ["apply", "--server-side", "--field-manager=tour", "-f", "-"];
    let conflict = kubectl.run(&server_side, &manifest(2));
    assert!(conflict.code != 0 && conflict.stderr.contains(".spec.replicas"), "{conflict:?}");
    kubectl.ok_with(&[&server_side[..], &["--force-conflicts"]].concat(), &manifest(2));
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]), "2");
    let managers = "jsonpath={.metadata.managedFields[*].manager}";
    assert!(kubectl.ok(&["get", "deploy", "web", "--show-managed-fields", "-o", managers]).contains("tour"));
    kubectl.ok(&["set", "image", "deploy/web", "c=other"]);
    kubectl.ok(&["set", "env", "deploy/web", "A=b"]);
    // One for each change of the spec, and one for the annotation of client-side apply, which server-side apply took over and removed.
    assert_eq!(kubectl.ok(&["get", "deploy", "web", "-o", "jsonpath={.metadata.generation}"]), "7");
    kubectl.ok(&["rollout", "pause", "deploy/web"]);
    kubectl.ok(&["rollout", "resume", "deploy/web"]);
    kubectl.ok(&["rollout", "restart", "deploy/web"]);
    kubectl.ok(&["autoscale", "deploy", "web", "--min=1", "--max=3", "--cpu=50%"]);
    kubectl.ok(&["expose", "deploy", "web", "--port=80"]);
    assert!(kubectl.ok(&["get", "all"]).contains("service/web"));
    kubectl.ok(&["delete", "deploy/web", "svc/web", "hpa/web"]);
}

#[test]
fn every_create_command_makes_its_object() {
    let Some((namespace, kubectl)) = tour() else { return };
    let unique = |name: &str| format!("{name}-{}", namespace.name);
    let commands: &[(&str, &[&str])] = &[
        ("deployment d", &["--image=hello"]),
        ("job j", &["--image=hello"]),
        ("cronjob cj", &["--image=hello", "--schedule=*/5 * * * *"]),
        ("secret generic s", &["--from-literal=p=w"]),
        ("service clusterip s1", &["--tcp=80:8080"]),
        ("service nodeport s2", &["--tcp=80"]),
        ("service externalname s3", &["--external-name=a.example"]),
        ("serviceaccount sa", &[]),
        ("role r", &["--verb=get", "--resource=pods"]),
        ("rolebinding rb", &["--role=r", "--user=joe"]),
        ("quota q", &["--hard=pods=100"]),
        ("pdb b", &["--selector=app=web", "--min-available=1"]),
        ("ingress i", &["--rule=a.example/x*=s1:80"]),
    ];
    for (what, options) in commands {
        let words: Vec<&str> = what.split(' ').collect();
        let shown = kubectl.ok(&[&["create"][..], &words, options].concat());
        assert!(shown.contains(" created"), "{what}: {shown}");
    }
    for (what, name, options) in [
        ("clusterrole", unique("cr"), vec!["--verb=get", "--resource=pods"]),
        ("clusterrolebinding", unique("crb"), vec!["--clusterrole=view", "--user=joe"]),
        ("priorityclass", unique("pc"), vec!["--value=10"]),
    ] {
        kubectl.ok(&[&["create", what, &name][..], &options].concat());
        kubectl.ok(&["delete", what, &name]);
    }
    let token = kubectl.ok(&["create", "token", "sa", "--duration=20m"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    for kind in
        ["deploy", "job", "cronjob", "secret", "svc", "sa", "role", "rolebinding", "quota", "pdb", "ingress"]
    {
        let shown = kubectl.ok(&["describe", kind]);
        assert!(shown.contains("Name:"), "{kind}: {shown}");
    }
    let refused =
        kubectl.run(&["create", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nfoo: 1\n");
    assert!(refused.code != 0 && refused.stderr.contains("unknown field \"foo\""), "{refused:?}");
}

#[test]
fn pods_run_and_are_looked_into() {
    let Some((namespace, kubectl)) = tour() else { return };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: t, labels: {app: t}}\nspec:\n  containers:\n  - {name: c, image: dunlin.local/ticker, args: [\"200\"]}\n";
    kubectl.ok_with(&["create", "-f", "-"], pod);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/t", "--timeout=60s"]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/t", "--timeout=10s"]);
    wait_until("a line in the log", || {
        let log = kubectl.ok(&["logs", "t", "--tail=1"]);
        if log.is_empty() { Err(log) } else { Ok(()) }
    });
    assert!(kubectl.ok(&["logs", "-l", "app=t", "--timestamps", "--limit-bytes=20"]).len() <= 20);
    let described = kubectl.ok(&["describe", "pod", "t"]);
    assert!(described.contains("Successfully assigned"), "{described}");
    assert!(kubectl.ok(&["events", "--for", "pod/t"]).contains("Scheduled"));
    assert!(
        kubectl.ok(&["get", "events", "--field-selector", "involvedObject.name=t"]).contains("Scheduled")
    );
    assert!(kubectl.ok(&["get", "pods", "-o", "wide"]).contains("node-"));
    let node = kubectl.ok(&["get", "pod", "t", "-o", "jsonpath={.spec.nodeName}"]);
    assert!(kubectl.ok(&["describe", "node", &node]).contains(&namespace.name));
    kubectl.ok(&["delete", "pod", "t", "--grace-period=1"]);
    assert!(kubectl.fails(&["get", "pod", "t"]).contains("NotFound"));
}

#[test]
fn pods_and_services_are_reached_through_the_server() {
    let Some((namespace, kubectl)) = tour() else { return };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec:\n  containers:\n  - {name: c, image: dunlin.local/http-hello, ports: [{containerPort: 8080, name: http}]}\n";
    kubectl.ok_with(&["create", "-f", "-"], pod);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let base = format!("/api/v1/namespaces/{}", namespace.name);
    let found = kubectl.ok(&["get", "--raw", &format!("{base}/pods/web/proxy/some/path?a=b")]);
    assert!(found.contains("/some/path?a=b"), "{found}");
    kubectl.ok(&["get", "--raw", &format!("{base}/pods/http:web:8080/proxy/")]);
    let body = kubectl.file("body", "said by kubectl");
    let found = kubectl.ok(&["create", "--raw", &format!("{base}/pods/web/proxy/"), "-f", &body]);
    assert!(found.contains("POST"), "{found}");
    let refused = kubectl.fails(&["get", "--raw", &format!("{base}/pods/web:9/proxy/")]);
    assert!(refused.contains("error trying to reach service"), "{refused}");

    kubectl.ok(&["expose", "pod", "web", "--name=front", "--port=80", "--target-port=http"]);
    let through = format!("{base}/services/front:80/proxy/x");
    wait_until("endpoint", || {
        let endpoints = kubectl.ok(&["get", "endpointslices", "-l", "kubernetes.io/service-name=front"]);
        if endpoints.contains("8080") { Ok(()) } else { Err(endpoints) }
    });
    assert!(kubectl.ok(&["get", "--raw", &through]).contains("/x"));
    // Nobody is behind a service whose pods are not there.
    kubectl.ok(&[
        "patch",
        "service",
        "front",
        "--type=merge",
        "-p",
        "{\"spec\": {\"selector\": {\"app\": \"none\"}}}",
    ]);
    wait_until("service without endpoints", || {
        let answer = kubectl.run(&["get", "--raw", &through], "");
        let is_refused = answer.stderr.contains("no endpoints available for service \"front:80\"");
        if is_refused { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    kubectl.ok(&["delete", "pod/web", "service/front", "--grace-period=1"]);
}

#[test]
fn what_is_used_is_shown() {
    let Some((namespace, kubectl)) = tour() else { return };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: busy, labels: {app: busy}}\nspec:\n  containers:\n  - {name: c, image: dunlin.local/hog, args: [spin], resources: {limits: {cpu: 200m}}}\n";
    kubectl.ok_with(&["create", "-f", "-"], pod);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/busy", "--timeout=60s"]);
    assert!(kubectl.fails(&["top", "pod", "absent"]).contains("NotFound"));
    let milli = |table: &str, column: usize| -> u64 {
        let row = table.lines().find(|line| line.contains("busy")).unwrap_or(table);
        row.split_whitespace().nth(column).unwrap().trim_end_matches('m').parse().unwrap()
    };
    // It spins, at a fifth of a processor.
    wait_until("a busy container", || {
        let shown = kubectl.run(&["top", "pod", "busy", "--no-headers"], "");
        if shown.code == 0 && milli(&shown.stdout, 1) > 0 { Ok(()) } else { Err(format!("{shown:?}")) }
    });
    // What it was kept from computing is in the same answer, which kubectl does not mind.
    wait_until("throttled time", || {
        let table = namespace.dunlin(&["top", "pod", "busy"]).stdout;
        let last = table.lines().nth(1).and_then(|row| row.split_whitespace().last());
        let percent = last.and_then(|last| last.strip_suffix('%')?.parse::<u64>().ok());
        if table.contains("THROTTLED") && percent > Some(0) { Ok(()) } else { Err(table) }
    });
    let containers = kubectl.ok(&["top", "pods", "-l", "app=busy", "--containers", "--no-headers"]);
    assert_eq!(containers.split_whitespace().nth(1), Some("c"), "{containers}");
    let all = kubectl.ok(&["top", "pods", "-A"]);
    assert!(all.lines().any(|line| line.starts_with(&namespace.name)), "{all}");
    let nodes = kubectl.ok(&["top", "nodes"]);
    assert!(
        nodes.starts_with("NAME") && nodes.lines().nth(1).is_some_and(|line| line.contains("Mi")),
        "{nodes}"
    );
    let table = kubectl.ok(&["get", "podmetrics", "busy"]);
    assert!(table.lines().next().is_some_and(|header| header.contains("WINDOW")), "{table}");
    kubectl.ok(&["delete", "pod", "busy", "--grace-period=0", "--force"]);
}

#[test]
fn nodes_are_cordoned_tainted_and_drained() {
    let Some((_namespace, kubectl)) = tour() else { return };
    // A node of its own that only exists in the API, so that no other test loses its nodes.
    kubectl.ok_with(&["create", "-f", "-"], "apiVersion: v1\nkind: Node\nmetadata: {name: tour-node}\n");
    kubectl.ok(&["cordon", "tour-node"]);
    assert!(kubectl.ok(&["get", "node", "tour-node"]).contains("SchedulingDisabled"));
    kubectl.ok(&["drain", "tour-node", "--ignore-daemonsets"]);
    kubectl.ok(&["uncordon", "tour-node"]);
    kubectl.ok(&["taint", "node", "tour-node", "k=v:NoSchedule"]);
    assert!(kubectl.fails(&["taint", "node", "tour-node", "k=v:NoSchedule"]).contains("already has"));
    kubectl.ok(&["taint", "node", "tour-node", "k-"]);
    kubectl.ok(&["delete", "node", "tour-node"]);
}

#[test]
fn a_drain_honours_a_budget() {
    let Some((namespace, kubectl)) = tour() else { return };
    let node = format!("drained-{}", namespace.name);
    kubectl.ok_with(
        &["create", "-f", "-"],
        &format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\n"),
    );
    for name in ["p", "q"] {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}}}\nspec:\n  nodeName: {node}\n  \
             tolerations: [{{operator: Exists}}]\n  containers: [{{name: c, image: hello}}]\n"
        );
        kubectl.ok_with(&["create", "-f", "-"], &pod);
        let ready = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
        kubectl.ok(&["patch", "pod", name, "--subresource=status", "-p", ready]);
    }
    kubectl.ok(&["create", "pdb", "b", "--selector=app=web", "--min-available=1"]);
    kubectl.ok(&["wait", "pdb/b", "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=60s"]);
    // One of both has to stay, and nothing ends the other one, whose node is not there.
    let refused = kubectl.fails(&["drain", &node, "--force", "--timeout=2s"]);
    assert!(refused.contains("would violate the pod's disruption budget"), "{refused}");
    let leaving = kubectl.ok(&["get", "pods", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}"]);
    assert_eq!(leaving.split_whitespace().count(), 1, "{leaving}");
    assert!(kubectl.ok(&["describe", "pdb", "b"]).contains("Allowed disruptions:  0"));
    kubectl.ok(&["delete", "pdb", "b"]);
    kubectl.ok(&["delete", "pods", "--all", "--force", "--grace-period=0"]);
    kubectl.ok(&["delete", "node", &node]);
}

#[test]
fn owners_take_or_leave_their_dependents() {
    let Some((_namespace, kubectl)) = tour() else { return };
    for (policy, stays) in [("background", false), ("foreground", false), ("orphan", true)] {
        kubectl.ok(&["create", "configmap", "owner"]);
        let uid = kubectl.ok(&["get", "cm", "owner", "-o", "jsonpath={.metadata.uid}"]);
        let owned = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  ownerReferences:\n  - {{apiVersion: v1, kind: ConfigMap, \
             name: owner, uid: {uid}, blockOwnerDeletion: true}}\n"
        );
        kubectl.ok_with(&["create", "-f", "-"], &owned);
        kubectl.ok(&["delete", "cm", "owner", &format!("--cascade={policy}")]);
        wait_until(&format!("the end of deletion by {policy}"), || {
            let there =
                kubectl.run(&["get", "cm", "owned", "-o", "jsonpath={.metadata.ownerReferences}"], "");
            let gone = there.code != 0;
            let freed = there.code == 0 && there.stdout.is_empty();
            if if stays { freed } else { gone } { Ok(()) } else { Err(format!("{there:?}")) }
        });
        if stays {
            kubectl.ok(&["delete", "cm", "owned"]);
        }
    }
}

#[test]
fn who_may_do_what_is_told() {
    let Some((_namespace, kubectl)) = tour() else { return };
    assert_eq!(kubectl.ok(&["auth", "can-i", "delete", "nodes"]).trim(), "yes");
    assert!(kubectl.ok(&["auth", "can-i", "--list"]).contains("*.*"));
    let who = kubectl.ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"]);
    assert!(who.contains("system:masters") && who.contains("system:authenticated"), "{who}");
}
