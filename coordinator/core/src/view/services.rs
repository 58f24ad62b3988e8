//! Services and what is written of the pods behind them: EndpointSlices and Endpoints.
//!
//! Of what a controller here wrote only digests are kept: whatever stays in a slice is made of pods again, so that it is enough to know
//! which endpoints are in which slice, and whether they say what they should.

mod digest;
mod endpoints;
mod service;
mod slice;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

pub use self::{
    digest::EndpointDigest,
    endpoints::{Endpoints, subsets_digest},
    service::{Distribution, Family, Service, ServicePort, TargetPort},
    slice::{Manager, Slice},
};
pub(crate) use self::{
    endpoints::{CONTROLLER, MANAGED_BY as ENDPOINTS_MANAGED_BY},
    slice::{MANAGED_BY, SERVICE_NAME},
};
use super::{DecodeError, Labels, ObjectKey, Resource};

/// All of them.
#[derive(Debug, Default)]
pub struct Services {
    services: BTreeMap<ObjectKey, Arc<Service>>,
    /// Slices that controllers here look after, by their Service and name.
    slices: BTreeMap<(ObjectKey, Arc<str>), Arc<Slice>>,
    /// By slice, the Service that its label names.
    service_of: HashMap<ObjectKey, ObjectKey>,
    endpoints: BTreeMap<ObjectKey, Arc<Endpoints>>,
    /// Endpoints whose Service went before them.
    left_over: BTreeSet<ObjectKey>,
}

impl Services {
    /// Folds in a Service; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not one; nothing changes then.
    pub fn apply(&mut self, key: &ObjectKey, json: &[u8]) -> Result<Option<Arc<Service>>, DecodeError> {
        let service = Service::decode(json)?;
        self.left_over.remove(key);
        Ok(self.services.insert(key.clone(), Arc::new(service)))
    }

    /// Forgets a Service. Its Endpoints have to go with it.
    pub fn delete(&mut self, key: &ObjectKey) {
        self.services.remove(key);
        if self.endpoints.contains_key(key) {
            self.left_over.insert(key.clone());
        }
    }

    /// Folds in an EndpointSlice; answers the Services that it concerns: the one that it named before and the one that it names now.
    ///
    /// # Errors
    /// When `json` is not one; it counts as gone then.
    pub fn apply_slice(&mut self, key: &ObjectKey, json: &[u8]) -> Result<BTreeSet<ObjectKey>, DecodeError> {
        let mut concerned: BTreeSet<_> = self.delete_slice(key).into_iter().collect();
        let Some(slice) = Slice::decode(json)? else { return Ok(concerned) };
        let service = ObjectKey {
            namespace: Arc::clone(&key.namespace),
            name: slice.service().unwrap_or_default().into(),
        };
        self.service_of.insert(key.clone(), service.clone());
        self.slices.insert((service.clone(), Arc::clone(&key.name)), Arc::new(slice));
        concerned.insert(service);
        Ok(concerned)
    }

    /// Forgets an EndpointSlice; answers the Service that it concerns.
    pub fn delete_slice(&mut self, key: &ObjectKey) -> Option<ObjectKey> {
        let service = self.service_of.remove(key)?;
        self.slices.remove(&(service.clone(), Arc::clone(&key.name)));
        Some(service)
    }

    /// Folds in Endpoints.
    ///
    /// # Errors
    /// When `json` is none; nothing changes then.
    pub fn apply_endpoints(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.endpoints.insert(key.clone(), Arc::new(Endpoints::decode(json)?));
        Ok(())
    }

    /// Forgets Endpoints.
    pub fn delete_endpoints(&mut self, key: &ObjectKey) {
        self.endpoints.remove(key);
        self.left_over.remove(key);
    }

    /// A Service.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// Services of a namespace that select pods with these labels.
    pub fn selecting<'a>(
        &'a self,
        namespace: &Arc<str>,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        let namespace = Arc::clone(namespace);
        let first = ObjectKey { namespace: Arc::clone(&namespace), name: "".into() };
        let all = self.services.range(first..).take_while(move |(key, _)| key.namespace == namespace);
        all.filter(|(_, service)| service.selects(labels)).map(|(key, _)| key)
    }

    /// Slices of a Service that `manager` looks after, by name.
    pub fn slices_of(&self, service: &ObjectKey, manager: Manager) -> Vec<(ObjectKey, Arc<Slice>)> {
        let first = Bound::Included((service.clone(), Arc::from("")));
        let all = self.slices.range((first, Bound::Unbounded)).take_while(|((owner, _), _)| owner == service);
        all.filter(|(_, slice)| slice.manager == manager)
            .map(|((owner, name), slice)| {
                let key = ObjectKey { namespace: Arc::clone(&owner.namespace), name: Arc::clone(name) };
                (key, Arc::clone(slice))
            })
            .collect()
    }

    /// The Endpoints of this name.
    pub fn endpoints(&self, key: &ObjectKey) -> Option<&Arc<Endpoints>> {
        self.endpoints.get(key)
    }

    /// Whether the Service of these Endpoints went before them.
    pub fn is_left_over(&self, key: &ObjectKey) -> bool {
        self.left_over.contains(key)
    }
}

/// Services.
pub const SERVICES: Resource = Resource::core("services");

/// Endpoints.
pub const ENDPOINTS: Resource = Resource::core("endpoints");

/// EndpointSlices.
pub const ENDPOINT_SLICES: Resource = Resource { group: "discovery.k8s.io", plural: "endpointslices" };
