//! What a node's certificate opens through the API: its own, and nothing else.

use std::path::Path;

use crate::{
    cluster::{Answer, Namespace, client_of, run},
    pods::pod,
};

/// Writes the certificate and key of a node as a client's configuration.
fn impersonate(namespace: &Namespace, node: &str, config: &Path) {
    let admin = std::fs::read_to_string(namespace.cluster.config()).unwrap();
    let server = admin.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap();
    let text = client_of(&namespace.cluster.state().join(node), server, &namespace.name);
    std::fs::write(config, text).unwrap();
}

/// A secret, and a pod on a node that takes a variable from it.
fn pod_with_secret(namespace: &Namespace, name: &str, node: &str) {
    let secret =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{k: {name}}}\n---\n");
    let container = format!(
        "image: dunlin.local/ticker, env: [{{name: S, valueFrom: {{secretKeyRef: {{name: {name}, key: k}}}}}}]"
    );
    let bound = pod(name, "Always", &container).replace("spec:\n", &format!("spec:\n  nodeName: {node}\n"));
    namespace.apply(&format!("{secret}{bound}"));
    namespace.wait_for_status(name, "Running");
}

#[test]
fn a_node_sees_and_changes_only_what_is_its_own() {
    let namespace = Namespace::new();
    pod_with_secret(&namespace, "mine", "node-1");
    pod_with_secret(&namespace, "theirs", "node-2");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("node");
    impersonate(&namespace, "node-1", &config);
    let as_node = |args: &[&str]| -> Answer { run(args, "", dir.path(), &config) };

    let allowed = |args: &[&str], expected: &str| {
        let answer = as_node(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        assert!(answer.stdout.contains(expected), "{args:?}: {answer:?}");
    };
    allowed(&["get", "pod", "mine"], "mine");
    allowed(&["get", "secret", "mine", "-o", "name"], "secret/mine");
    allowed(&["get", "node", "node-1"], "node-1");
    allowed(&["get", "pods", "-A", "--field-selector", "spec.nodeName=node-1"], "mine");

    let refused = |args: &[&str]| {
        let answer = as_node(args);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{args:?}: {answer:?}");
        assert!(answer.stderr.contains("orbidden"), "{args:?}: {answer:?}");
        assert!(answer.stderr.contains("system:node:node-1"), "{args:?}: {answer:?}");
    };
    refused(&["get", "pod", "theirs"]);
    refused(&["get", "secret", "theirs"]);
    refused(&["get", "secrets"]);
    refused(&["get", "pods", "-A"]);
    refused(&["get", "pods", "-A", "--field-selector", "spec.nodeName=node-2"]);
    refused(&["get", "pods", "-w"]);
    refused(&["get", "node", "node-2"]);
    refused(&["logs", "theirs"]);
    refused(&["delete", "pod", "theirs"]);
    refused(&["delete", "secret", "mine"]);
    refused(&["label", "pod", "theirs", "a=b"]);
    refused(&["cordon", "node-2"]);
    refused(&["node", "token", "create"]);
    let file = crate::cluster::workloads().join("hello.wasm");
    refused(&["push", file.to_str().unwrap(), "ticker"]);
    assert_eq!(namespace.ok(&["get", "pods,secrets", "-o", "name"]).lines().count(), 4);
}
