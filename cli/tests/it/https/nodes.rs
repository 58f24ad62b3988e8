//! A node's certificate over HTTPS: its own pods and what they name, and nothing of others.

use serde_json::json;

use super::wire::Access;
use crate::site::Site;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

#[test]
fn a_node_reads_nothing_of_other_nodes() {
    let site = Site::start();
    let machine = site.join("mine", &site.token(&[]));
    let (admin, node) = (Access::admin(&site), Access::node(&machine.state, &site));
    let create = |path: &str, object: serde_json::Value| {
        let answer = admin.send("POST", path, "", &object.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    create("/api/v1/nodes", json!({"metadata": {"name": "other"}}));
    for name in ["mine", "other"] {
        create(SECRETS, json!({"metadata": {"name": name}, "stringData": {"password": name}}));
        let from = json!({"secretKeyRef": {"name": name, "key": "password"}});
        let container =
            json!({"name": "c", "image": "dunlin.local/none", "env": [{"name": "X", "valueFrom": from}]});
        create(
            PODS,
            json!({"metadata": {"name": name}, "spec": {"nodeName": name, "containers": [container]}}),
        );
    }
    create(SECRETS, json!({"metadata": {"name": "unnamed"}}));

    for path in readable() {
        let answer = node.get(&path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for path in unreadable() {
        let answer = node.get(&path);
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert!(!answer.body.contains("b3RoZXI"), "{path}: the other's secret");
    }
    for (method, path, body) in unwritable() {
        let answer = node.send(method, &path, "", body);
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
    }

    // It gives itself no right by its own Node or pods.
    let taints =
        r#"{"spec": {"taints": []}, "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}"#;
    let merge = "Content-Type: application/merge-patch+json\r\n";
    assert_eq!(node.send("PATCH", "/api/v1/nodes/mine", merge, taints).status, 403);
    // A name alone is none of a node's rights: who has a certificate for it without its key is nobody.
    let dir = tempfile::tempdir().unwrap();
    let forged =
        super::credentials::user(&site, dir.path(), "system:node:mine", &["--group", "system:nodes"]);
    let forged = Access::of(&forged, &site);
    for path in [format!("{SECRETS}/mine"), "/api/v1/nodes/mine".to_owned()] {
        assert_eq!(forged.get(&path).status, 401, "{path}");
    }
}

/// What the node `mine` may read.
fn readable() -> Vec<String> {
    vec![
        format!("{PODS}/mine"),
        format!("{PODS}?fieldSelector=spec.nodeName%3Dmine"),
        format!("{SECRETS}/mine"),
        "/api/v1/nodes/mine".to_owned(),
        "/api/v1/services".to_owned(),
    ]
}

/// What it may not.
fn unreadable() -> Vec<String> {
    vec![
        format!("{PODS}/other"),
        PODS.to_owned(),
        "/api/v1/pods".to_owned(),
        format!("{PODS}?fieldSelector=spec.nodeName%3Dother"),
        format!("{PODS}?fieldSelector=spec.nodeName%21%3Dmine"),
        format!("{PODS}?watch=1&fieldSelector=spec.nodeName%3Dother"),
        format!("{PODS}?watch=1"),
        format!("{PODS}/other/log"),
        format!("{PODS}/mine/log"),
        format!("{SECRETS}/other"),
        format!("{SECRETS}/unnamed"),
        SECRETS.to_owned(),
        "/api/v1/secrets".to_owned(),
        format!("{SECRETS}?watch=1"),
        format!("{SECRETS}?fieldSelector=metadata.name%3Dother"),
        "/api/v1/nodes/other".to_owned(),
        "/api/v1/nodes".to_owned(),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
        "/apis/apps/v1/deployments".to_owned(),
        "/metrics".to_owned(),
        "/dunlin/v1/tokens".to_owned(),
        "/dunlin/v1/backup".to_owned(),
    ]
}

/// What it may not change: method, path, body.
fn unwritable() -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("DELETE", format!("{PODS}/other"), ""),
        ("PUT", format!("{PODS}/other/status"), r#"{"metadata": {"name": "other"}}"#),
        (
            "POST",
            PODS.to_owned(),
            r#"{"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}"#,
        ),
        ("POST", format!("{PODS}/mine/exec?command=x"), ""),
        ("POST", format!("{PODS}/mine/binding"), r#"{"target": {"name": "other"}}"#),
        ("PUT", "/api/v1/nodes/other".to_owned(), r#"{"metadata": {"name": "other"}}"#),
        ("DELETE", "/api/v1/nodes/other".to_owned(), ""),
        ("POST", SECRETS.to_owned(), r#"{"metadata": {"name": "x"}}"#),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned(), "{}"),
        ("POST", "/dunlin/v1/tokens".to_owned(), "{}"),
    ]
}
