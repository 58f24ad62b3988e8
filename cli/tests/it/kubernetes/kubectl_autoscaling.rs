//! An autoscaler that follows what real pods use, up and down.

use super::kubectl::tour;

/// One pod burns a fifth of a processor for a while and is idle then; so do those that are added.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: burner}
spec:
  replicas: 1
  selector: {matchLabels: {app: burner}}
  template:
    metadata: {labels: {app: burner}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: dunlin.local/hog
        args: [spin, "12"]
        resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: burner}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: burner}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 5}
"#;

#[test]
fn pods_follow_their_load() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok_with(&["apply", "-f", "-"], MANIFEST);
    let wait = |replicas: &str| {
        let wanted = format!("--for=jsonpath={{.status.replicas}}={replicas}");
        kubectl.ok(&["wait", &wanted, "deploy/burner", "--timeout=180s"]);
    };
    wait("3");
    let conditions = "jsonpath={range .status.conditions[*]}{.type}={.status} {end}";
    let shown = kubectl.ok(&["get", "hpa", "burner", "-o", conditions]);
    assert!(shown.contains("AbleToScale=True") && shown.contains("ScalingActive=True"), "{shown}");
    wait("1");
    let described = kubectl.ok(&["describe", "hpa", "burner"]);
    assert!(
        described.contains("cpu resource utilization (percentage of request) above target"),
        "{described}"
    );
    assert!(described.contains("New size: 1; reason: All metrics below target"), "{described}");
    assert!(described.contains("AbleToScale"), "{described}");
    kubectl.ok(&["delete", "deploy/burner", "hpa/burner"]);
}
