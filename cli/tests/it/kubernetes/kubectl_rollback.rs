//! kubectl and a rollout that goes back by itself: to the last revision that was stable, once.

use std::time::Instant;

use super::kubectl::{Kubectl, tour};
use crate::cluster::wait_until;

const GUARDED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {dunlin.dev/auto-rollback: \"true\"}
spec:
  replicas: 3
  progressDeadlineSeconds: 4
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: dunlin.local/ticker}]
";

const BROKEN: &str = "c=dunlin.local/nothing-of-this-name";

fn field(kubectl: &Kubectl, path: &str) -> String {
    kubectl.ok(&["get", "deploy", "web", "-o", &format!("jsonpath={{{path}}}")])
}

fn image(kubectl: &Kubectl) -> String {
    field(kubectl, ".spec.template.spec.containers[0].image")
}

/// What works, and is not what worked before.
const MENDED: &str = r#"{"spec": {"template": {
    "metadata": {"annotations": {"mended": "true"}},
    "spec": {"containers": [{"name": "c", "image": "dunlin.local/ticker"}]}
}}}"#;

fn condition(kubectl: &Kubectl, part: &str) -> String {
    field(kubectl, &format!(".status.conditions[?(@.type==\"RolledBack\")].{part}"))
}

#[test]
fn a_broken_image_goes_back_by_itself_and_stays_there() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let wrong = GUARDED.replace("\"true\"", "\"yes\"");
    let refused = kubectl.run(&["apply", "-f", "-"], &wrong);
    assert!(
        refused.code != 0 && refused.stderr.contains("metadata.annotations[dunlin.dev/auto-rollback]"),
        "{refused:?}"
    );
    kubectl.ok_with(&["apply", "-f", "-"], GUARDED);
    let done = "successfully rolled out";
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));

    let started = Instant::now();
    kubectl.ok(&["set", "image", "deploy/web", BROKEN]);
    let status = kubectl.run(&["rollout", "status", "deploy/web", "--timeout=60s"], "");
    assert!(status.code != 0 && status.stderr.contains("exceeded its progress deadline"), "{status:?}");
    wait_until("template of the stable revision", || {
        let image = image(&kubectl);
        if image == "dunlin.local/ticker" { Ok(()) } else { Err(image) }
    });
    let restored = started.elapsed();
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));
    println!(
        "MEASURED: template back {restored:.1?} after the broken image, deadline 4s; through after {:.1?}",
        started.elapsed()
    );
    assert_eq!(condition(&kubectl, "status"), "True");
    let message = condition(&kubectl, "message");
    assert!(message.starts_with("revision 2 (ReplicaSet \"web-"), "{message}");
    assert!(message.contains("is rolled back to revision 1"), "{message}");
    assert!(message.contains("0 of 1 new pods are available, pod web-"), "{message}");
    assert_eq!(field(&kubectl, ".status.availableReplicas"), "3");
    let described = kubectl.ok(&["describe", "deploy", "web"]);
    for word in ["RolledBack", "RollingBack"] {
        assert!(described.contains(word), "{described}");
    }

    // Whoever applies the broken one again gets the stable one, and nobody fights over the template.
    kubectl.ok(&["set", "image", "deploy/web", BROKEN]);
    let status = kubectl.run(&["rollout", "status", "deploy/web", "--timeout=60s"], "");
    assert!(status.code != 0 && status.stderr.contains("exceeded its progress deadline"), "{status:?}");
    assert_eq!(condition(&kubectl, "reason"), "NotTriedAgain");
    let version = field(&kubectl, ".metadata.generation");
    let sets = || kubectl.ok(&["get", "rs", "-o", "jsonpath={range .items[*]}{.spec.replicas} {end}"]);
    let mut sizes: Vec<String> = sets().split_whitespace().map(str::to_owned).collect();
    sizes.sort();
    assert_eq!(sizes, ["0", "3"]);
    assert_eq!(field(&kubectl, ".status.availableReplicas"), "3");

    // A revision of its own, of a module that no node has to compile first: the deadline is short.
    kubectl.ok(&["patch", "deploy/web", "-p", MENDED]);
    assert!(kubectl.ok(&["rollout", "status", "deploy/web", "--timeout=60s"]).contains(done));
    assert_eq!(condition(&kubectl, "status"), "", "of what went well nothing is left to say");
    assert_ne!(field(&kubectl, ".metadata.generation"), version);
    kubectl.ok(&["delete", "deploy", "web"]);
}
