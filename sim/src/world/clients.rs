//! What clients ask: pods that come and go under few names, as a StatefulSet's do, content that changes, nodes that are cordoned.

use dunlin_coordinator_core::{ObjectKey, controllers::autoscaler::HORIZONTAL_POD_AUTOSCALERS};
use dunlin_link::pod::ConfigKind;
use rand::Rng;
use serde_json::{Value, json};

use super::{Phase, World, manifests::AIM_MILLI, workloads::is_broken};
use crate::{context::Event, coordinator::Request, keys, oracle::RequestId, trace::Note};

impl World {
    /// A client asks for something, and the next one is on its way.
    pub(super) fn client(&mut self) {
        if !matches!(self.phase, Phase::Active) {
            return;
        }
        let next = Self::after(&mut self.clients, self.shape.request_every);
        self.context.agenda.at(self.context.now + next, Event::Client);
        if let Some(request) = self.draw_request()
            && self.coordinator.is_up()
        {
            self.ask(request);
        }
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.requests += 1;
        let id = RequestId(self.requests);
        if let Request::Apply(object, manifest) = &request
            && is_broken(&manifest["spec"])
        {
            self.context.oracle.workloads.breaks(object, self.context.now);
        }
        let (verb, key) = match &request {
            Request::Create(key, _) => ("creates", key.clone()),
            Request::Put(key, _) => ("puts", key.clone()),
            Request::DeletePod(pod, Some(0)) => ("deletes at once", keys::pod(pod)),
            Request::DeletePod(pod, _) => ("deletes", keys::pod(pod)),
            Request::Delete(object) => ("deletes", keys::object(object)),
            Request::Apply(object, _) => ("applies", keys::object(object)),
            Request::Evict(pod) => ("evicts", keys::pod(pod)),
            Request::Cordon(node, true) => ("cordons", keys::node(node)),
            Request::Cordon(node, false) => ("uncordons", keys::node(node)),
        };
        self.context.trace.note(self.context.now, Note::Client(verb, key.clone()));
        self.context.oracle.asked(id, key);
        self.coordinator.request(id, request, &mut self.context);
    }

    fn draw_request(&mut self) -> Option<Request> {
        let has_workloads = !self.shape.workloads.is_empty();
        Some(match self.clients.random_range(0..100) {
            0..=39 if has_workloads => return self.draw_workload_request(),
            0..=79 => self.draw_pod_request(),
            80..=87 => {
                let number = self.clients.random_range(0..CONTENTS);
                let value = self.clients.random_range(0..1_000_000);
                let object = json!({ "metadata": {}, "data": { "k": value.to_string() } });
                Request::Put(keys::config(ConfigKind::ConfigMap, &content(number)), object)
            }
            88..=95 => {
                let number = self.clients.random_range(0..CONTENTS);
                let secret = ["dg==", "dw==", "eA=="][self.clients.random_range(0..3)];
                let object = json!({ "metadata": {}, "data": { "k": secret } });
                Request::Put(keys::config(ConfigKind::Secret, &content(number)), object)
            }
            96 if self.shape.workloads.contains(&HORIZONTAL_POD_AUTOSCALERS) => {
                self.context.load_milli = self.clients.random_range(0..8 * AIM_MILLI);
                return None;
            }
            _ => {
                let node = self.clients.random_range(0..self.shape.nodes);
                Request::Cordon(self.nodes[node].name.clone(), self.clients.random_bool(0.4))
            }
        })
    }

    fn draw_pod_request(&mut self) -> Request {
        let key =
            ObjectKey::new("s", &format!("web-{}", self.clients.random_range(0..self.shape.identities)));
        let exists = self.coordinator.store.get(&keys::pod(&key)).is_some();
        if exists && self.clients.random_bool(0.4) {
            let grace = [None, None, Some(1), Some(30), Some(0)][self.clients.random_range(0..5)];
            return Request::DeletePod(key, grace);
        }
        let pod = self.draw_pod(&key);
        Request::Create(keys::pod(&key), pod)
    }

    fn draw_pod(&mut self, key: &ObjectKey) -> Value {
        self.uids += 1;
        let tolerates = |seconds: u32| {
            json!([{
                "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": seconds,
            }])
        };
        let tolerations = match self.clients.random_range(0..4) {
            0 => json!([{ "operator": "Exists" }]),
            1 => json!([]),
            _ => tolerates(self.clients.random_range(0..=300)),
        };
        let source =
            |reference: &str, number: u32| json!({ reference: { "name": name(number), "optional": true } });
        let env = match self.clients.random_range(0..4) {
            0 => json!([source("configMapRef", self.clients.random_range(0..CONTENTS))]),
            1 => json!([source("secretRef", self.clients.random_range(0..CONTENTS))]),
            _ => json!([]),
        };
        let grace = [0, 1, 5, 30][self.clients.random_range(0..4)];
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": &*key.name, "namespace": &*key.namespace, "uid": format!("u{}", self.uids), "generation": 1,
                "creationTimestamp": self.context.wall().to_string(),
            },
            "spec": {
                "schedulerName": "default-scheduler", "restartPolicy": "Always",
                "terminationGracePeriodSeconds": grace,
                "tolerations": tolerations,
                "containers": [{ "name": "c", "image": IMAGE, "envFrom": env }],
            },
            "status": { "phase": "Pending" },
        })
    }
}

fn name(number: u32) -> String {
    format!("content-{number}")
}

fn content(number: u32) -> ObjectKey {
    ObjectKey::new("s", &name(number))
}

/// ConfigMaps and Secrets that pods choose from.
const CONTENTS: u32 = 3;

/// Named by digest, so that it needs no record.
pub(super) const IMAGE: &str =
    "dunlin.local/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
