//! `kubectl port-forward` to pods with WASM alone.

use super::kubectl::tour;
use crate::forwarding::Forward;

const WEB: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: dunlin.local/http-hello, ports: [{name: http, containerPort: 80}]}
  - {name: echo, image: dunlin.local/interfaces, command: [interfaces, serve, '9000'], ports: [{containerPort: 9000}]}
";

#[test]
fn declared_ports_are_forwarded() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok_with(&["apply", "-f", "-"], WEB);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let forward = Forward::start(kubectl.command(&["port-forward", "pod/web", ":80", ":9000"]), 2);
    let page = forward.page(80, "/at");
    assert!(page.contains("GET /at"), "{page}");
    assert_eq!(forward.ask(9000, b"heard\n"), b"heard\n");
    assert_eq!(forward.complaints(), "");
    let forward = Forward::start(kubectl.command(&["port-forward", "service/web", ":80"]), 1);
    assert!(forward.page(80, "/at").contains("GET /at"));
    // Nothing can listen where nothing was declared.
    let forward = Forward::start(kubectl.command(&["port-forward", "web", ":81"]), 1);
    assert_eq!(forward.ask(81, b""), b"");
    let (code, complaints) = forward.ended();
    let why = "no container of the pod declares the TCP port 81";
    assert!(complaints.contains(why) && complaints.contains("lost connection to pod"), "{complaints}");
    assert_eq!(code, Some(1));
    kubectl.ok(&["delete", "pod,service", "web"]);
    assert!(kubectl.fails(&["port-forward", "web", ":80"]).contains("pods \"web\" not found"));
}
