//! Amounts of resources: what pods request and nodes offer, as plain numbers, and how Kubernetes adds up a pod's containers.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_api::Quantity;
use dunlin_link::{Bytes, MilliCpu};
use k8s_openapi::apimachinery::pkg::api::resource;

/// A vector of resources. The number of pods is not among them, for a pod is always exactly one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts {
    /// `cpu`.
    pub cpu: MilliCpu,
    /// `memory`.
    pub memory: Bytes,
    /// `ephemeral-storage`.
    pub ephemeral_storage: Bytes,
    /// Every other resource, for instance `example.com/gpu`; never holds a zero.
    pub extended: BTreeMap<Arc<str>, u64>,
}

impl Amounts {
    /// Reads a resource list. A quantity that does not parse counts as zero: the API has refused it before.
    pub(crate) fn of(list: &BTreeMap<String, resource::Quantity>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list {
            match name.as_str() {
                "cpu" => amounts.cpu = milli_cpu(quantity),
                "memory" => amounts.memory = bytes(quantity),
                "ephemeral-storage" => amounts.ephemeral_storage = bytes(quantity),
                "pods" => {}
                other => {
                    let count = whole(quantity);
                    if count > 0 {
                        amounts.extended.insert(other.into(), count);
                    }
                }
            }
        }
        amounts
    }

    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.cpu.0 = self.cpu.0.saturating_add(other.cpu.0);
        self.memory.0 = self.memory.0.saturating_add(other.memory.0);
        self.ephemeral_storage.0 = self.ephemeral_storage.0.saturating_add(other.ephemeral_storage.0);
        for (name, count) in &other.extended {
            let sum = self.extended.entry(Arc::clone(name)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Takes back what [`Self::add`] added.
    pub fn remove(&mut self, other: &Self) {
        self.cpu.0 = self.cpu.0.saturating_sub(other.cpu.0);
        self.memory.0 = self.memory.0.saturating_sub(other.memory.0);
        self.ephemeral_storage.0 = self.ephemeral_storage.0.saturating_sub(other.ephemeral_storage.0);
        for (name, count) in &other.extended {
            if let Some(sum) = self.extended.get_mut(name) {
                *sum = sum.saturating_sub(*count);
            }
        }
        self.extended.retain(|_, sum| *sum > 0);
    }

    /// Raises every resource to at least what `other` has of it.
    pub fn raise_to(&mut self, other: &Self) {
        self.cpu = self.cpu.max(other.cpu);
        self.memory = self.memory.max(other.memory);
        self.ephemeral_storage = self.ephemeral_storage.max(other.ephemeral_storage);
        for (name, count) in &other.extended {
            let most = self.extended.entry(Arc::clone(name)).or_default();
            *most = (*most).max(*count);
        }
    }

    /// How much of an extended resource there is.
    pub fn extended(&self, name: &str) -> u64 {
        self.extended.get(name).copied().unwrap_or(0)
    }
}

/// One container's part in a pod's requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerRequest {
    /// Its own requests.
    pub(crate) amounts: Amounts,
    /// Whether it is an init container that keeps running beside the others.
    pub(crate) sidecar: bool,
}

/// What a pod needs at once: the larger of all long-running containers together, and of each init container together with the
/// sidecars that started before it.
pub(crate) fn pod_requests(init: &[ContainerRequest], containers: &[ContainerRequest]) -> Amounts {
    let mut running = Amounts::default();
    for container in containers {
        running.add(&container.amounts);
    }
    let mut sidecars = Amounts::default();
    let mut init_peak = Amounts::default();
    for container in init {
        if container.sidecar {
            running.add(&container.amounts);
            sidecars.add(&container.amounts);
            init_peak.raise_to(&sidecars);
        } else {
            let mut step = container.amounts.clone();
            step.add(&sidecars);
            init_peak.raise_to(&step);
        }
    }
    running.raise_to(&init_peak);
    running
}

/// CPU in thousandths, rounded up.
pub(crate) fn milli_cpu(quantity: &resource::Quantity) -> MilliCpu {
    MilliCpu(parsed(quantity).map_or(0, |parsed| parsed.milli()).try_into().unwrap_or(0))
}

/// Bytes, rounded up.
pub(crate) fn bytes(quantity: &resource::Quantity) -> Bytes {
    Bytes(whole(quantity))
}

/// A whole number, rounded up; negative ones count as zero.
pub(crate) fn whole(quantity: &resource::Quantity) -> u64 {
    parsed(quantity).map_or(0, |parsed| parsed.value()).try_into().unwrap_or(0)
}

fn parsed(quantity: &resource::Quantity) -> Option<Quantity> {
    quantity.0.parse().ok()
}
