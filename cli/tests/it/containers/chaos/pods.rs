//! The pods that are there while something is killed, and what the API says of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::site::Site;

/// A container, by the names of its pod and its own.
pub(super) type Name = (String, String);

/// What is said of a container.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) restarts: u64,
    /// By the runtime's name; nothing before the first run.
    pub(super) id: String,
    is_ready: bool,
    /// When its next run begins, if it waits for that.
    pub(super) retry_at: Option<Timestamp>,
}

/// What is said of a pod.
#[derive(Clone, Debug)]
pub(super) struct SeenPod {
    pub(super) uid: String,
    phase: String,
    pub(super) containers: BTreeMap<String, Seen>,
}

impl SeenPod {
    /// Whether it does what it should.
    pub(super) fn is_well(&self) -> bool {
        match &*self.phase {
            "Succeeded" => true,
            "Running" => self.containers.values().all(|container| container.is_ready),
            _ => false,
        }
    }

    /// Whether it has ended as it should.
    pub(super) fn has_succeeded(&self) -> bool {
        self.phase == "Succeeded"
    }
}

/// All pods, by name.
pub(super) fn look(site: &Site) -> BTreeMap<String, SeenPod> {
    let text = site.ok(&["get", "pods", "-o", "json"], "");
    let list: Value = serde_json::from_str(&text).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    pods.map(|pod| (words(&pod["metadata"]["name"]), seen(pod))).collect()
}

fn seen(pod: &Value) -> SeenPod {
    let statuses = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let containers = statuses.iter().map(|status| {
        let id = words(&status["containerID"]);
        let seen = Seen {
            restarts: status["restartCount"].as_u64().unwrap_or_default(),
            id: id.rsplit('/').next().unwrap_or_default().to_owned(),
            is_ready: status["ready"] == true,
            retry_at: retry_at(status),
        };
        (words(&status["name"]), seen)
    });
    SeenPod {
        uid: words(&pod["metadata"]["uid"]),
        phase: words(&pod["status"]["phase"]),
        containers: containers.collect(),
    }
}

/// A container in `CrashLoopBackOff` says for how long: `back-off 1m20s restarting failed container=..`.
fn retry_at(status: &Value) -> Option<Timestamp> {
    let waiting = &status["state"]["waiting"];
    if waiting["reason"] != "CrashLoopBackOff" {
        return None;
    }
    let message = words(&waiting["message"]);
    let delay = message.strip_prefix("back-off ")?.split(' ').next()?;
    let (minutes, seconds) = delay.split_once('m').unwrap_or(("0", delay));
    let seconds: i64 = seconds.strip_suffix('s')?.parse().ok()?;
    let ended: Timestamp = words(&status["lastState"]["terminated"]["finishedAt"]).parse().ok()?;
    let delay = minutes.parse::<i64>().ok()? * 60 + seconds;
    ended.checked_add(jiff::SignedDuration::from_secs(delay)).ok()
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A server twice; a pod with a volume, a probe and processes that its containers share; one with a module beside a container.
pub(super) fn manifest(image: &str) -> String {
    MANIFEST.replace("IMAGE", image)
}

/// One that does its work and ends.
pub(super) fn task(name: &str, image: &str) -> String {
    TASK.replace("NAME", name).replace("IMAGE", image)
}

const MANIFEST: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      imagePullSecrets: [{name: harbour}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: 'IMAGE'
        imagePullPolicy: IfNotPresent
        command: [httpd, -f, -p, '8080', -h, /www]
        readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  imagePullSecrets: [{name: harbour}]
  terminationGracePeriodSeconds: 1
  shareProcessNamespace: true
  volumes: [{name: v, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}]
  containers:
  - name: main
    image: 'IMAGE'
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '[ -e /v/kept ] || echo $HOSTNAME-$RANDOM > /v/kept; touch /m/alive; while :; do echo tick; sleep 0.2; done']
    volumeMounts: [{name: v, mountPath: /v}, {name: m, mountPath: /m}]
    livenessProbe: {exec: {command: [test, -e, /m/alive]}, periodSeconds: 1, initialDelaySeconds: 1, failureThreshold: 5}
    resources: {limits: {memory: 32Mi, cpu: 500m}}
  - name: side
    image: 'IMAGE'
    imagePullPolicy: IfNotPresent
    command: [sleep, '100000']
---
apiVersion: v1
kind: Pod
metadata: {name: mixed}
spec:
  imagePullSecrets: [{name: harbour}]
  terminationGracePeriodSeconds: 1
  containers:
  - name: linux
    image: 'IMAGE'
    imagePullPolicy: IfNotPresent
    command: [sleep, '100000']
  - {name: wasm, image: dunlin.local/http-hello, ports: [{containerPort: 8080}]}
";

const TASK: &str = "apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  imagePullSecrets: [{name: harbour}]
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: 'IMAGE', imagePullPolicy: IfNotPresent, command: [sleep, '3']}
";
