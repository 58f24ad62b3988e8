//! What autoscalers ask about their targets, and what they want of them, as the driver answers and does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dunlin_api::{Kind, kind, pipeline::Target};
use dunlin_coordinator_core::{
    ObjectKey,
    controllers::autoscaler::{ContainerUse, HORIZONTAL_POD_AUTOSCALERS, Measured, PodUse, Rescale, Scale},
    view::{ObjectId, Resource},
};
use jiff::Timestamp;

use super::{
    Coordinator, api,
    ops::{Op, Then, Verdict},
    workloads::write_status,
};
use crate::{context::Context, keys, store::Store};

impl Coordinator {
    /// Finds out about the target of an autoscaler. Its pods share the load of the world.
    pub(super) fn measure(&mut self, key: &ObjectKey, target: (&str, &str, &str), context: &Context) {
        let (kind, id) = target_of(key, target);
        let Some(stored) = self.store.get(&keys::object(&id)) else {
            let scale = Err("not found".to_owned());
            return self.hand_on(key, Measured { scale, used: Ok(HashMap::new()) });
        };
        let told = kind.scale_of(&stored.value).expect("what is scaled here has a scale");
        let scale = Scale {
            replicas: told["spec"]["replicas"].as_i64().unwrap_or_default(),
            selector: told["status"]["selector"].as_str().unwrap_or_default().to_owned(),
        };
        let pods = running_pods(&self.store, &id);
        let each = context.load_milli / i64::try_from(pods.len().max(1)).unwrap_or(1);
        let at = context.wall();
        let used = pods.into_iter().map(|name| (name, use_of(each, at))).collect();
        self.hand_on(key, Measured { scale: Ok(scale), used: Ok(used) });
    }

    fn hand_on(&mut self, key: &ObjectKey, measured: Measured) {
        if let Some(process) = &mut self.process {
            process.reconciler.measured(key, measured);
        }
    }

    /// Sets a target to its size, and has the autoscaler's status say how that ended.
    pub(super) fn rescale(&self, rescale: &Rescale, then: &dyn Fn() -> Then, now: Timestamp) -> Vec<Op> {
        let Rescale { key, uid, api_version, kind, name, replicas, .. } = rescale;
        let (kind, id) = target_of(key, (api_version, kind, name));
        let is_there = self.store.get(&keys::object(&id)).is_some();
        let outcome = rescale.ended(if is_there { Ok(()) } else { Err("not found") });
        let autoscaler = ObjectId { resource: HORIZONTAL_POD_AUTOSCALERS, key: key.clone() };
        let replicas = *replicas;
        let resize = Op::new(keys::object(&id), then(), move |current| {
            let Some(current) = current else { return Verdict::Gone };
            let mut new = current.clone();
            kind.set_replicas(&mut new, replicas);
            match api::update(kind, current, new, Target::Object, now) {
                Ok(new) => Verdict::Put(new),
                Err(status) => Verdict::Invalid(status.message().to_owned()),
            }
        });
        vec![resize, write_status(&autoscaler, uid, outcome.change, then(), now)]
    }
}

fn target_of(key: &ObjectKey, (api_version, kind, name): (&str, &str, &str)) -> (&'static Kind, ObjectId) {
    let kind = kind::by_kind(api_version, kind).expect("autoscalers here are for what is served");
    (kind, ObjectId { resource: Resource::of(kind), key: ObjectKey::new(&key.namespace, name) })
}

fn running_pods(store: &Store, id: &ObjectId) -> Vec<Arc<str>> {
    let pods = store.list(keys::PODS).map(|(_, stored)| &*stored.value);
    let running = pods.filter(|pod| {
        pod["status"]["phase"] == "Running" && pod["metadata"]["labels"]["app"] == *id.key.name
    });
    running.filter_map(|pod| pod["metadata"]["name"].as_str().map(Arc::from)).collect()
}

fn use_of(cpu_milli: i64, at: Timestamp) -> PodUse {
    let container = ContainerUse { name: "c".to_owned(), cpu_milli, memory: 1 << 20 };
    PodUse { at, window: Duration::from_secs(30), containers: vec![container] }
}
