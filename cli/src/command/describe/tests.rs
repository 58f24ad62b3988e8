//! Descriptions, compared with kubectl's layout.

use expect_test::{Expect, expect, expect_file};
use serde_json::{Value, json};

use super::{Facts, Scheduling, describe};
use crate::resource;

fn check(kind: &str, object: &Value, facts: &Facts, expected: &Expect) {
    expected.assert_eq(&described(kind, object, facts));
}

fn described(kind: &str, object: &Value, facts: &Facts) -> String {
    describe(resource::find(kind).unwrap(), object, facts)
}

fn facts(events: &[Value]) -> Facts {
    Facts { now: "2026-01-01T00:10:00Z".parse().unwrap(), events: Some(events.to_vec()), ..Facts::default() }
}

fn running_pod() -> Value {
    json!({
        "metadata": {"name": "rp", "namespace": "kc", "labels": {"z": "1", "a": "b"}},
        "spec": {
            "priority": 0, "serviceAccountName": "default", "nodeName": "n1",
            "containers": [{
                "name": "rp", "image": "busybox:1", "args": ["echo", "hi"],
                "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
                                   "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "p"}}},
                ],
                "volumeMounts": [{"name": "v", "mountPath": "/data", "readOnly": true}],
            }],
            "volumes": [{"name": "v", "configMap": {"name": "cm"}}],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"operator": "Exists"},
            ],
        },
        "status": {
            "phase": "Running", "hostIP": "1.1.1.1", "podIP": "10.1.0.9", "podIPs": [{"ip": "10.1.0.9"}],
            "startTime": "2026-01-01T00:00:00Z", "qosClass": "Guaranteed",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "rp", "ready": true, "restartCount": 1, "image": "busybox:1", "imageID": "", "containerID": "",
                "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137,
                              "startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:03Z"}},
            }],
        },
    })
}

#[test]
fn a_running_pod() {
    let event = json!({"type": "Normal", "reason": "Scheduled", "message": "Successfully assigned kc/rp to n1",
                       "source": {"component": "default-scheduler"}, "lastTimestamp": "2026-01-01T00:00:00Z"});
    let mut facts = facts(&[event]);
    facts.endpoints = vec![json!({"containerPort": 80, "address": "127.42.0.5:8080"})];
    expect_file!["golden/pod.txt"].assert_eq(&described("pod", &running_pod(), &facts));
}

#[test]
fn a_pending_pod_says_why() {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "kc"},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "c", "image": "x"}]},
        "status": {"phase": "Pending", "qosClass": "BestEffort", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/3 nodes are available: 3 Insufficient memory."},
        ]},
    });
    let waiting = |decision: Option<Value>| Facts { scheduling: Scheduling::Waits(decision), ..facts(&[]) };
    check(
        "pod",
        &pod,
        &waiting(None),
        &expect![[r#"
        Name:             p
        Namespace:        kc
        Service Account:  default
        Node:             <none>
        Labels:           <none>
        Annotations:      <none>
        Status:           Pending
        IP:               
        IPs:              <none>
        Containers:
          c:
            Image:        x
            Port:         <none>
            Host Port:    <none>
            Environment:  <none>
            Mounts:       <none>
        Conditions:
          Type           Status  Message
          PodScheduled   False   0/3 nodes are available: 3 Insufficient memory.
        Volumes:         <none>
        QoS Class:       BestEffort
        Node-Selectors:  <none>
        Tolerations:     <none>
        Scheduling:      0/3 nodes are available: 3 Insufficient memory.
                         node by node: dunlin explain-schedule p -n kc
        Events:          <none>
    "#]],
    );
    let node = |filter: &str| json!({"node": "n", "fits": false, "filter": filter, "reasons": ["r"]});
    let nodes = [node("TaintToleration"), node("NodeResourcesFit"), node("NodeResourcesFit")];
    let shown = described("pod", &pod, &waiting(Some(json!({"nodes": nodes}))));
    let expected =
        "Scheduling:      0 of 3 nodes fit, 2 refused by NodeResourcesFit, 1 refused by TaintToleration\n";
    assert!(shown.contains(expected), "{shown}");
    let missing = json!({"prerequisite": "persistentvolumeclaim \"c\" not found", "nodes": []});
    let shown = described("pod", &pod, &waiting(Some(missing)));
    assert!(shown.contains("No node is looked at: persistentvolumeclaim \"c\" not found\n"), "{shown}");
}

#[test]
fn a_gated_pod_says_what_it_waits_for() {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "kc"},
        "spec": {"containers": [{"name": "c", "image": "x"}], "schedulingGates": [{"name": "example.com/quota"}]},
        "status": {"phase": "Pending"},
    });
    let facts = Facts { scheduling: Scheduling::Waits(None), ..facts(&[]) };
    let shown = described("pod", &pod, &facts);
    let expected = "waits until its scheduling gates are removed: example.com/quota\n";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn a_node() {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                            "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "KubeletReady"}],
            "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "nodeInfo": {"kernelVersion": "6", "osImage": "x", "operatingSystem": "linux", "architecture": "amd64",
                         "containerRuntimeVersion": "wasmtime://48.0.8", "kubeletVersion": "v1.36.2"},
        },
    });
    let pod = |name: &str, cpu: &str, memory: &str| {
        json!({
            "metadata": {"name": name, "namespace": "kc", "creationTimestamp": "2026-01-01T00:05:00Z"},
            "spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
        })
    };
    let mut facts = facts(&[]);
    facts.pods = vec![pod("a", "100m", "64Mi"), pod("web-6d4977bb44", "0.2", "128Mi")];
    expect_file!["golden/node.txt"].assert_eq(&described("node", &node, &facts));
}

#[test]
fn small_kinds() {
    let metadata = json!({"name": "x", "namespace": "kc"});
    let config = json!({"metadata": metadata, "data": {"a": "b", "c": "d"}, "binaryData": {"bin": "AAAA"}});
    check(
        "cm",
        &config,
        &facts(&[]),
        &expect![[r#"
        Name:         x
        Namespace:    kc
        Labels:       <none>
        Annotations:  <none>

        Data
        ====
        a:
        ----
        b

        c:
        ----
        d


        BinaryData
        ====
        bin: 3 bytes

        Events:  <none>
    "#]],
    );
    let secret =
        json!({"metadata": metadata, "type": "Opaque", "data": {"p": "dw==", "long-key": "cGFzc3dvcmQ="}});
    check(
        "secret",
        &secret,
        &facts(&[]),
        &expect![[r#"
        Name:         x
        Namespace:    kc
        Labels:       <none>
        Annotations:  <none>

        Type:  Opaque

        Data
        ====
        long-key:  8 bytes
        p:         1 bytes
    "#]],
    );
    let namespace = json!({"metadata": {"name": "kc", "labels": {"kubernetes.io/metadata.name": "kc"}}, "status": {"phase": "Active"}});
    check(
        "ns",
        &namespace,
        &facts(&[]),
        &expect![[r#"
        Name:         kc
        Labels:       kubernetes.io/metadata.name=kc
        Annotations:  <none>
        Status:       Active

        No resource quota.

        No LimitRange resource.
    "#]],
    );
    check(
        "sa",
        &json!({"metadata": metadata}),
        &facts(&[]),
        &expect![[r#"
        Name:                x
        Namespace:           kc
        Labels:              <none>
        Annotations:         <none>
        Image pull secrets:  <none>
        Events:              <none>
    "#]],
    );
}

#[test]
fn a_deployment_that_rolls_tells_what_it_waits_for() {
    let template = |image: &str| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let set = |name: &str, image: &str, replicas: i64| {
        let owner = json!([{"kind": "Deployment", "name": "web", "uid": "u", "controller": true}]);
        json!({"metadata": {"name": name, "ownerReferences": owner},
               "spec": {"replicas": replicas, "template": template(image)}, "status": {"replicas": replicas}})
    };
    let deployment = json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "u", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
                     "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("new"),
                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}},
        "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "unavailableReplicas": 1,
                   "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]},
    });
    let pod = json!({"metadata": {"name": "web-b-1"}, "status": {"phase": "Pending", "containerStatuses": [
        {"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "nothing was pushed as new"}}},
    ]}});
    let facts = Facts {
        pods: vec![pod],
        related: vec![set("web-a", "old", 2), set("web-b", "new", 1)],
        ..facts(&[])
    };
    check(
        "deployments",
        &deployment,
        &facts,
        &expect![[r#"
            Name:                   web
            Namespace:              n
            CreationTimestamp:      Thu, 01 Jan 2026 00:00:00 +0000
            Labels:                 <none>
            Annotations:            deployment.kubernetes.io/revision: 2
            Selector:               app=web
            Replicas:               2 desired | 1 updated | 3 total | 2 available | 1 unavailable
            StrategyType:           RollingUpdate
            MinReadySeconds:        0
            RollingUpdateStrategy:  0 max unavailable, 25% max surge
            Pod Template:
              Labels:  app=web
              Containers:
               c:
                Image:         new
                Port:          <none>
                Host Port:     <none>
                Environment:   <none>
                Mounts:        <none>
              Volumes:         <none>
              Node-Selectors:  <none>
              Tolerations:     <none>
            Conditions:
              Type           Status  Reason
              ----           ------  ------
              Progressing    True    ReplicaSetUpdated
            OldReplicaSets:  web-a (2/2 replicas created)
            NewReplicaSet:   web-b (1/1 replicas created)
            Rollout:         Waiting for deployment "web" rollout to finish: 1 out of 2 new replicas have been updated...
                             web-b-1: c: ErrImagePull: nothing was pushed as new
            Events:          <none>
        "#]],
    );
}
