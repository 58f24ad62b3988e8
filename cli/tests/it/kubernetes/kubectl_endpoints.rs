//! Services as kubectl and an HTTP client meet them while the pods behind them are replaced.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;

use super::{client::Client, kubectl::tour};

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 20
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 5, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: c
        image: dunlin.local/http-hello
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"#;

/// Where the cluster of a configuration listens.
fn address(config: &Path) -> String {
    let text = std::fs::read_to_string(config).unwrap();
    let config: Value = serde_norway::from_str(&text).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    server.split_once("://").unwrap().1.to_owned()
}

/// Calls the service until told to stop; answers how many calls there were, and what went wrong.
fn call(mut client: Client, path: &str, method: &str, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut calls, mut failures) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let body: &[u8] = if method == "POST" { b"said by a client" } else { b"" };
        let answer = client.send(method, path, &[], body);
        calls += 1;
        if answer.status != 200 {
            failures.push(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
        }
    }
    (calls, failures)
}

#[test]
fn no_call_fails_while_twenty_pods_are_replaced() {
    let Some((namespace, kubectl)) = tour() else { return };
    kubectl.ok_with(&["apply", "-f", "-"], MANIFEST);
    let rolled = || kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=180s"]);
    rolled();
    let endpoints = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}";
    let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", endpoints];
    assert_eq!(kubectl.ok(&slices).split_whitespace().count(), 20);
    let path = format!("/api/v1/namespaces/{}/services/web:80/proxy/x", namespace.name);
    let stop = AtomicBool::new(false);
    let config = namespace.cluster.config();
    let address = address(&config);
    let (calls, failures) = thread::scope(|scope| {
        let callers: Vec<_> = ["GET", "GET", "POST"]
            .into_iter()
            .map(|method| {
                let client = Client::new(&config, &address);
                let (path, stop) = (&path, &stop);
                scope.spawn(move || call(client, path, method, stop))
            })
            .collect();
        // A guard, so that a failed command does not leave the callers waiting for ever.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kubectl.ok(&["set", "env", "deploy/web", "COLOUR=red"]);
            rolled();
        }));
        stop.store(true, Ordering::Relaxed);
        let counted = callers.into_iter().map(|caller| caller.join().unwrap());
        let (mut calls, mut failures) = (0, Vec::new());
        for (count, failed) in counted {
            calls += count;
            failures.extend(failed);
        }
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
        (calls, failures)
    });
    println!("{calls} calls while 20 pods were replaced, {} failed", failures.len());
    assert!(calls > 20, "{calls}");
    assert!(
        failures.is_empty(),
        "{} of {calls} failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    kubectl.ok(&["delete", "deploy/web", "svc/web"]);
}
