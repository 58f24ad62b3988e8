//! Which Services a change concerns.

use std::collections::BTreeSet;

use super::{Key, Reconciler};
use crate::view::{DecodeError, NodeInfo, ObjectKey, PodInfo};
use dunlin_link::NodeName;

impl Reconciler {
    /// Folds in a Service as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_service(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.view.services_mut().apply(key, json)?;
        self.keys.touch(Key::Service(key.clone()));
        Ok(())
    }

    /// Folds in an EndpointSlice as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as gone then.
    pub fn fold_slice(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        let concerned = self.view.services_mut().apply_slice(key, json)?;
        self.touch_services(concerned);
        Ok(())
    }

    /// Folds in Endpoints as stored.
    ///
    /// # Errors
    /// When they cannot be decoded; nothing changes then.
    pub fn fold_endpoints(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.view.services_mut().apply_endpoints(key, json)?;
        self.keys.touch(Key::Service(key.clone()));
        Ok(())
    }

    /// Forgets a Service.
    pub fn forget_service(&mut self, key: &ObjectKey) {
        self.view.services_mut().delete(key);
        self.keys.touch(Key::Service(key.clone()));
    }

    /// Forgets an EndpointSlice.
    pub fn forget_slice(&mut self, key: &ObjectKey) {
        let concerned = self.view.services_mut().delete_slice(key);
        self.touch_services(concerned);
    }

    /// Forgets Endpoints.
    pub fn forget_endpoints(&mut self, key: &ObjectKey) {
        self.view.services_mut().delete_endpoints(key);
        self.keys.touch(Key::Service(key.clone()));
    }

    /// A pod concerns the Services that select or selected it, if it changed in what they say of it.
    pub(super) fn touch_services_of(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: Option<&PodInfo>,
    ) {
        if before.map(published) == after.map(published) {
            return;
        }
        let Self { view, keys, .. } = self;
        for pod in before.into_iter().chain(after) {
            for service in view.services().selecting(&key.namespace, &pod.affiliation.labels) {
                keys.touch(Key::Service(service.clone()));
            }
        }
    }

    /// A node that came, went or is in another zone concerns the Services of its pods.
    pub(super) fn touch_services_on(
        &mut self,
        node: &NodeName,
        before: Option<&NodeInfo>,
        after: Option<&NodeInfo>,
    ) {
        if before.map(NodeInfo::zone) == after.map(NodeInfo::zone) {
            return;
        }
        let Self { view, keys, .. } = self;
        let Some(entry) = view.node(node) else { return };
        for key in &entry.pods {
            let Some(pod) = view.pod(key) else { continue };
            for service in view.services().selecting(&key.namespace, &pod.affiliation.labels) {
                keys.touch(Key::Service(service.clone()));
            }
        }
    }

    fn touch_services(&mut self, services: impl IntoIterator<Item = ObjectKey>) {
        let services: BTreeSet<_> = services.into_iter().collect();
        services.into_iter().for_each(|service| self.keys.touch(Key::Service(service)));
    }
}

/// What of a pod is said of it in slices and Endpoints.
fn published(pod: &PodInfo) -> impl PartialEq + use<'_> {
    (
        (&pod.uid, &pod.affiliation, &pod.template.named_ports),
        (&pod.addresses, &pod.node, &pod.host_name),
        (pod.is_ready(), pod.deletion.is_some(), pod.phase.finished()),
    )
}
