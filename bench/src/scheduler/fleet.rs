//! A fleet in memory: the coordinator's view, filled with what is stored for nodes and pods.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use dunlin_coordinator_core::{
    ObjectKey, View,
    scheduler::{self, Unschedulable},
};
use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::shapes::{self, HOSTNAME, Kind, Shape, ZONE};

/// A fleet.
pub(super) struct Fleet {
    view: View,
    nodes: usize,
    zones: usize,
}

impl Fleet {
    /// Nodes with the pods that are there before.
    pub(super) fn new(shape: &Shape, nodes: usize) -> Result<Self> {
        let view = View::new(NOW, Duration::from_secs(40));
        let mut fleet = Self { view, nodes, zones: shapes::zones(shape.kind) };
        for namespace in NAMESPACES {
            let object = json!({ "metadata": { "name": namespace, "uid": namespace } });
            fleet.view.apply_namespace(namespace, object.to_string().as_bytes())?;
        }
        for number in 0..nodes {
            fleet.apply_node(number)?;
        }
        let before = shape.before() * nodes / 1000;
        for number in 0..before {
            let key = ObjectKey::new(NAMESPACES[1], &format!("before-{number}"));
            let pod = pod(&key, &shape.spec(None, nodes));
            fleet.view.apply_pod(&key, pod.as_bytes(), NOW)?;
            fleet.settle(&key)?;
        }
        Ok(fleet)
    }

    /// A pod that is to be placed.
    pub(super) fn create(&mut self, shape: &Shape, number: usize) -> Result<ObjectKey> {
        let key = ObjectKey::new(NAMESPACES[0], &format!("pod-{number}"));
        let pod = pod(&key, &shape.spec(Some(number), self.nodes));
        self.view.apply_pod(&key, pod.as_bytes(), NOW)?;
        Ok(key)
    }

    /// What happens beside, for shapes in which something does: for every tenth pod.
    pub(super) fn disturb(&mut self, shape: &Shape, number: usize) -> Result<()> {
        if !number.is_multiple_of(10) {
            return Ok(());
        }
        match shape.kind {
            Kind::MixedChurn => {
                self.try_unschedulable(number)?;
                let node = NodeName::new(format!("node-churn-{}", number % 1000));
                self.view.delete_node(&node, NOW);
                self.apply_node_named(node.as_str(), number)?;
            }
            Kind::Unschedulable => self.try_unschedulable(number)?,
            _ => {}
        }
        Ok(())
    }

    /// Places it, with the end of others when those have to go.
    pub(super) fn place(&mut self, shape: &Shape, key: &ObjectKey) -> Result<()> {
        let Err(why) = self.try_place(key)? else { return Ok(()) };
        let Some(preemption) = why.preemption.as_ref().filter(|_| shape.kind == Kind::Preemption) else {
            bail!("a pod of {} was not placed: {why}", shape.name)
        };
        self.view.nominate(key, &preemption.node, NOW);
        for victim in &preemption.victims {
            self.view.delete_pod(&victim.key);
        }
        self.settle(key)
    }

    fn settle(&mut self, key: &ObjectKey) -> Result<()> {
        match self.try_place(key)? {
            Ok(()) => Ok(()),
            Err(why) => bail!("{key} was not placed: {why}"),
        }
    }

    fn try_place(&mut self, key: &ObjectKey) -> Result<Result<(), Box<Unschedulable>>> {
        let pod = self.view.pod(key).cloned().context("the pod is not there")?;
        Ok(scheduler::place(&mut self.view, key, &pod).map(|node| {
            self.view.assume(key, &node, NOW);
        }))
    }

    fn try_unschedulable(&mut self, number: usize) -> Result<()> {
        let key = ObjectKey::new(NAMESPACES[0], &format!("large-{number}"));
        let containers = json!([{ "name": "c", "resources": { "requests": { "cpu": "9" } } }]);
        let pod = pod(&key, &json!({ "containers": containers, "priority": 10 }));
        self.view.apply_pod(&key, pod.as_bytes(), NOW)?;
        if self.try_place(&key)?.is_ok() {
            bail!("a pod that fits nowhere was placed");
        }
        self.view.delete_pod(&key);
        Ok(())
    }

    fn apply_node(&mut self, number: usize) -> Result<()> {
        self.apply_node_named(&format!("node-{number}"), number)
    }

    fn apply_node_named(&mut self, name: &str, number: usize) -> Result<()> {
        let zone = format!("zone-{}", number % self.zones);
        let node = json!({
            "metadata": { "name": name, "uid": name, "labels": { HOSTNAME: name, ZONE: zone } },
            "status": { "allocatable": { "cpu": "4", "memory": "32Gi", "pods": "110" } },
        });
        self.view.apply_node(&NodeName::new(name), node.to_string().as_bytes())?;
        Ok(())
    }
}

fn pod(key: &ObjectKey, spec: &Value) -> String {
    json!({
        "metadata": { "namespace": key.namespace, "name": key.name, "uid": key.to_string(), "labels": { "color": "blue" } },
        "spec": spec,
    })
    .to_string()
}

const NAMESPACES: [&str; 2] = ["sched-0", "sched-1"];

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
