//! `port-forward`: ports of this machine that lead to pods, by name, by workload and by Service.

use std::process::Command;

use crate::{
    cluster::{BINARY, Namespace},
    forwarding::Forward,
    site::free_port,
};

const WEB: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: page, port: 8000, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: dunlin.local/http-hello, ports: [{name: http, containerPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: over}
spec: {restartPolicy: Never, containers: [{name: c, image: dunlin.local/hello}]}
";

fn command(namespace: &Namespace, words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["-n", &namespace.name, "port-forward"]).args(words);
    command.env("DUNLIN_CONFIG", namespace.cluster.config());
    command
}

#[test]
fn a_port_leads_to_a_pod_until_that_is_gone() {
    let namespace = Namespace::new();
    let applied = namespace.dunlin_with(&["apply", "-f", "-"], WEB);
    assert_eq!(applied.code, 0, "{applied:?}");
    let ready = namespace.dunlin(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    assert_eq!(ready.code, 0, "{ready:?}");
    let start = |words: &[&str]| Forward::start(command(&namespace, words), 1);
    let port = free_port();
    let by_name = start(&["web", &format!("{port}:http")]);
    assert!(by_name.page(80, "/at").contains("GET /at"));
    let by_service = start(&["service/web", ":page"]);
    assert!(by_service.page(80, "/at").contains("GET /at"));
    // A port that leads nowhere is no end of the others.
    let two = Forward::start(command(&namespace, &["pod/web", ":80", ":81"]), 2);
    assert_eq!(two.ask(81, b""), b"");
    two.complains("no container of the pod declares the TCP port 81");
    assert!(two.page(80, "/at").contains("GET /at"));

    let refused = |words: &[&str], part: &str| {
        let answer = namespace.dunlin(&[&["port-forward"], words].concat());
        assert!(answer.code != 0 && answer.stderr.contains(part), "{words:?}: {answer:?}");
    };
    refused(&["nobody", "80"], "pods \"nobody\" not found");
    refused(&["web", "dns"], "does not have a named port");
    refused(&["service/web", "80"], "does not have a service port 80");
    refused(&["web", "80:0"], "remote port must be > 0");
    refused(&["--address", "nowhere", "web", ":80"], "nowhere is not a valid IP");
    refused(&["web", &format!("{port}:80")], "unable to listen on any of the requested ports");
    let over = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/over", "--timeout=60s"];
    assert_eq!(namespace.dunlin(&over).code, 0);
    refused(&["over", ":80"], "pod is not running. Current status=Succeeded");

    let deleted = namespace.dunlin(&["delete", "pod", "web"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert_eq!(by_name.ask(80, b""), b"");
    let (code, complaints) = by_name.ended();
    assert!(complaints.contains("lost connection to pod"), "{complaints}");
    assert_eq!(code, Some(1));
}
