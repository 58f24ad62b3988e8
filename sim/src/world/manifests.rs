//! The manifests that clients keep of workloads, Services and budgets.

use dunlin_coordinator_core::{
    controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS,
    view::{
        ObjectId, Resource,
        services::SERVICES,
        workload::{CRON_JOBS, DEPLOYMENTS, JOBS},
    },
};
use rand::{Rng, rngs::SmallRng};
use serde_json::{Value, json};

use super::{World, clients::IMAGE, workloads::VERSIONS};
use crate::{
    keys,
    node::{LIVENESS_FAILURES, LIVENESS_PORT, READINESS_PORT},
    shape::{Care, Room},
};

impl World {
    /// A manifest of a kind, with all that may differ drawn.
    pub(super) fn draw_manifest(&mut self, id: &ObjectId) -> Value {
        let labels = json!({ "app": &*id.key.name });
        let kind = id.resource.kind().expect("clients apply what is served");
        let mut manifest = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": { "name": &*id.key.name, "namespace": &*id.key.namespace, "labels": labels },
            "spec": {},
        });
        let is_scaled = self.shape.workloads.contains(&HORIZONTAL_POD_AUTOSCALERS);
        let rng = &mut self.clients;
        let replicas = rng.random_range(0..=replicas_max(self.shape.nodes));
        let mut policy = None;
        let spec = &mut manifest["spec"];
        if ![keys::BUDGETS, HORIZONTAL_POD_AUTOSCALERS, JOBS, CRON_JOBS, SERVICES].contains(&id.resource) {
            spec["selector"] = json!({ "matchLabels": labels });
            spec["template"] = json!({ "metadata": {
                "labels": labels, "annotations": { "version": rng.random_range(0..VERSIONS).to_string() },
            } });
            spec["minReadySeconds"] = [0, 0, 0, 5][rng.random_range(0..4)].into();
        }
        let mut amount = |from: usize| draw_amount(from, &mut *rng);
        match id.resource {
            keys::BUDGETS => {
                // Guards the workload of the same number that its name stands for.
                let guarded = id.key.name.replacen('b', "d", 1);
                let guarded = if amount(0) == 0 { guarded.replacen('d', "s", 1) } else { guarded };
                let limit = if amount(0) == 1 { "minAvailable" } else { "maxUnavailable" };
                *spec = json!({ "selector": { "matchLabels": { "app": guarded } }, limit: amount(0) });
            }
            DEPLOYMENTS => {
                policy = Some(draw_deployment(spec, rng));
                if !is_scaled {
                    spec["replicas"] = replicas.into();
                }
            }
            HORIZONTAL_POD_AUTOSCALERS => *spec = draw_autoscaler(&id.key.name, rng),
            keys::STATEFUL_SETS => {
                spec["replicas"] = replicas.into();
                spec["serviceName"] = "none".into();
                // It cannot be changed, and the one before may still be there.
                let policy = if id.key.name.ends_with('1') { "Parallel" } else { "OrderedReady" };
                spec["podManagementPolicy"] = policy.into();
            }
            keys::DAEMON_SETS => {
                let rolling = match rng.random_range(0..3) {
                    0 => json!({ "maxSurge": 1, "maxUnavailable": 0 }),
                    1 => json!({ "maxUnavailable": "50%" }),
                    _ => json!({ "maxUnavailable": 1 }),
                };
                spec["updateStrategy"] = json!({ "type": "RollingUpdate", "rollingUpdate": rolling });
                policy = Some(ROLLBACKS[rng.random_range(0..3)]);
            }
            JOBS => *spec = draw_job(&labels, rng),
            CRON_JOBS => *spec = draw_cron_job(&id.key.name, &labels, rng),
            SERVICES => *spec = draw_service(&id.key.name, rng),
            _ => spec["replicas"] = replicas.into(),
        }
        match id.resource {
            keys::BUDGETS | SERVICES | HORIZONTAL_POD_AUTOSCALERS => {}
            CRON_JOBS => {
                manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"] = self.draw_pod_spec(id.resource);
            }
            _ => manifest["spec"]["template"]["spec"] = self.draw_pod_spec(id.resource),
        }
        if let Some(policy) = policy {
            manifest["metadata"]["annotations"] = json!({ "dunlin.dev/auto-rollback": policy });
        }
        manifest
    }

    fn draw_pod_spec(&mut self, resource: Resource) -> Value {
        let (room, care) = (self.shape.room, self.shape.care);
        let rng = &mut self.clients;
        let tolerated = rng.random_range(0..=120);
        let toleration = |key: &str| {
            json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": tolerated,
            })
        };
        let grace = [0, 1, 5][rng.random_range(0..3)];
        let mut spec = json!({
            "terminationGracePeriodSeconds": grace,
            "tolerations": [toleration("node.kubernetes.io/unreachable"), toleration("node.kubernetes.io/not-ready")],
            "containers": [{ "name": "c", "image": IMAGE }],
        });
        let is_task = resource == JOBS || resource == CRON_JOBS;
        if is_task {
            let restart = if rng.random_bool(0.5) { "Never" } else { "OnFailure" };
            spec["restartPolicy"] = restart.into();
            // The simulated runner ends it by itself.
            spec["containers"][0]["args"] = json!([crate::node::TASK]);
        } else if room == Room::Scarce {
            // What cannot be changed afterwards asks for so little that it fits in the end.
            let amounts: &[&str] = match resource {
                DEPLOYMENTS => &["500m", "1", "2"],
                keys::DAEMON_SETS => &["500m", "1"],
                _ => &["250m", "500m"],
            };
            let amount = amounts[rng.random_range(0..amounts.len())];
            spec["containers"][0]["resources"] = json!({ "requests": { "cpu": amount } });
            if let Some(worth) = [None, None, Some(100), Some(1000)][rng.random_range(0..4)] {
                spec["priorityClassName"] = format!("worth-{worth}").into();
            }
        }
        if care == Care::Probed && !is_task {
            let container = &mut spec["containers"][0];
            if rng.random_bool(0.5) {
                container["readinessProbe"] = draw_probe(READINESS_PORT, rng);
            }
            if rng.random_bool(0.3) {
                container["livenessProbe"] = draw_probe(LIVENESS_PORT, rng);
                container["livenessProbe"]["failureThreshold"] = LIVENESS_FAILURES.into();
            }
        }
        spec
    }
}

fn draw_probe(port: u16, rng: &mut SmallRng) -> Value {
    json!({
        "tcpSocket": { "port": port }, "periodSeconds": rng.random_range(8..=20),
        "failureThreshold": rng.random_range(1..=3), "initialDelaySeconds": rng.random_range(0..=3),
    })
}

/// What is special about a Deployment; answers when it is to be rolled back.
fn draw_deployment(spec: &mut Value, rng: &mut SmallRng) -> &'static str {
    let unavailable = draw_amount(0, rng);
    let surge = draw_amount(usize::from(unavailable == 0), rng);
    spec["strategy"] = if rng.random_bool(0.15) {
        json!({ "type": "Recreate" })
    } else {
        let rolling = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        json!({ "type": "RollingUpdate", "rollingUpdate": rolling })
    };
    spec["revisionHistoryLimit"] = rng.random_range(0..4).into();
    spec["progressDeadlineSeconds"] = [600, 20, 40][rng.random_range(0..3)].into();
    ROLLBACKS[rng.random_range(0..3)]
}

/// When to go back to a template that was stable.
const ROLLBACKS: [&str; 3] = ["true", "deadline", "false"];

fn draw_autoscaler(name: &str, rng: &mut SmallRng) -> Value {
    let aim = json!({ "type": "AverageValue", "averageValue": format!("{AIM_MILLI}m") });
    let down = json!({ "stabilizationWindowSeconds": rng.random_range(0..60) });
    json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name.replacen('h', "d", 1) },
        "minReplicas": rng.random_range(1..=2), "maxReplicas": rng.random_range(2..=6),
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": aim } }],
        "behavior": { "scaleDown": down },
    })
}

fn draw_cron_job(name: &str, labels: &Value, rng: &mut SmallRng) -> Value {
    // It is fixed, so that whoever looks at a Job knows what was asked for when it was made.
    let policy = if name.ends_with('1') { "Forbid" } else { "Replace" };
    let late = [Value::Null, json!(20), json!(200)][rng.random_range(0..3)].clone();
    json!({
        "schedule": "* * * * *", "concurrencyPolicy": policy,
        "successfulJobsHistoryLimit": rng.random_range(0..3), "failedJobsHistoryLimit": rng.random_range(0..2),
        "startingDeadlineSeconds": late,
        "jobTemplate": { "spec": draw_job(labels, rng) },
    })
}

fn draw_service(name: &str, rng: &mut SmallRng) -> Value {
    let kind = ["d", "r", "s", "a"][rng.random_range(0..4)];
    json!({
        "clusterIP": "None", "selector": { "app": name.replacen('v', kind, 1) },
        "publishNotReadyAddresses": rng.random_bool(0.2), "ports": [{ "port": 80 }],
    })
}

/// A number of pods, or so many of a hundred of them.
fn draw_amount(from: usize, rng: &mut SmallRng) -> Value {
    let amounts = [json!(0), json!(1), json!(2), json!("25%"), json!("50%")];
    amounts[rng.random_range(from..amounts.len())].clone()
}

/// What a Job is to do; its pods' containers are drawn apart.
fn draw_job(labels: &Value, rng: &mut SmallRng) -> Value {
    let mode = if rng.random_bool(0.5) { "Indexed" } else { "NonIndexed" };
    json!({
        "completions": rng.random_range(1..=5), "parallelism": rng.random_range(1..=3), "completionMode": mode,
        "backoffLimit": rng.random_range(0..4),
        "template": { "metadata": { "labels": labels } },
    })
}

/// What an autoscaler wants each pod to have to do.
pub(super) const AIM_MILLI: i64 = 500;

/// How many pods a workload of so many nodes may ask for.
pub(super) const fn replicas_max(nodes: usize) -> usize {
    if nodes < REPLICAS_MAX { nodes + 2 } else { REPLICAS_MAX }
}

const REPLICAS_MAX: usize = 8;
