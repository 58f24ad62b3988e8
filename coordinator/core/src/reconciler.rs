//! What the coordinator knows, and what of it is due: changes of the store go in, plans of controllers and placements come out.
//!
//! Fold changes in with `fold_*` and `forget_*` and sessions with [`Reconciler::heard`]; then, at one `now`, take the keys that are due,
//! ask [`Reconciler::plan`] about each, and place [`Reconciler::next_waiting`]. Carrying out is the caller's.

mod autoscalers;
mod budgets;
mod daemons;
mod hints;
mod keys;
mod placing;
mod services;
mod storage;
mod workloads;

use std::{collections::BTreeSet, sync::Arc};

use dunlin_link::NodeName;
use jiff::Timestamp;

use crate::{
    ObjectKey, View,
    controllers::{self, Action, Plan},
    scheduler::{Hint, Queue, Reason},
    view::{DecodeError, Liveness, ObjectId, PodInfo, Resource},
};

pub use self::{
    autoscalers::Memories,
    keys::{Failure, Key, Keys},
    placing::{Nomination, PLACEMENTS_PER_TURN, Placement},
};

/// The view, the pods that wait for a node, and what controllers have to be asked about.
#[derive(Debug)]
pub struct Reconciler {
    /// The cluster as it is known.
    pub view: View,
    /// Pods that wait for a node.
    pub queue: Queue,
    /// What controllers have to be asked about.
    pub keys: Keys,
    memories: Memories,
}

/// What a pod needs beyond what is noted already.
#[derive(Clone, Debug, PartialEq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// To say in its status that scheduling gates hold it.
    GatedMark(Arc<PodInfo>),
}

/// Whether a namespace has the cluster's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootCa {
    /// It is there, as it should be.
    Right,
    /// It is missing, or something else.
    Wrong,
}

impl Reconciler {
    /// Nothing is known but the view's own start.
    pub fn new(view: View) -> Self {
        Self { view, queue: Queue::default(), keys: Keys::default(), memories: Memories::default() }
    }

    /// Folds in a pod as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_pod(&mut self, key: &ObjectKey, json: &[u8], now: Timestamp) -> Result<Needs, DecodeError> {
        let before = self.view.apply_pod(key, json, now)?;
        let Some(after) = self.view.pod(key).cloned() else { return Ok(Needs::Nothing) };
        let needs = self.enqueue(key, before.as_deref(), &after);
        self.note_daemon_failure(key, before.as_deref(), &after, now);
        self.note_failure(key, before.as_deref(), &after, now);
        self.touch_controllers_of(key, before.as_deref(), Some(&after));
        if controllers::job::is_orphan(&self.view, key, &after) {
            self.keys.touch(Key::OrphanPod(key.clone()));
        }
        self.hint_pod(key, before.as_ref(), Some(&after));
        if let Some(node) = &after.node {
            self.touch_node_of_pod(node);
        }
        if after.phase.finished() || (after.deletion.is_some() && after.node.is_none()) {
            self.keys.touch(Key::Pods);
        }
        self.touch_budgets(key, before.as_deref(), Some(&after));
        self.touch_services_of(key, before.as_deref(), Some(&after));
        self.touch_claims_of(key, before.as_deref(), Some(&after));
        Ok(needs)
    }

    /// Folds in a node as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_node(&mut self, node: &NodeName, json: &[u8]) -> Result<(), DecodeError> {
        let was_offline = self.view.is_offline(node);
        let before = self.view.apply_node(node, json)?;
        if was_offline != self.view.is_offline(node) {
            self.touch_rollouts();
        }
        // Whoever is the next of its zone to be given up may be now.
        let info = self.view.node(node).and_then(|entry| entry.info.as_ref());
        if let Some(next) = info.and_then(|info| self.view.zones().of(info).next()) {
            self.keys.touch(Key::Node(next.clone()));
        }
        let after = self.view.node(node).and_then(|entry| entry.info.clone());
        self.touch_services_on(node, before.as_deref(), after.as_deref());
        if let Some(after) = &after {
            self.hint_node(before.as_deref(), after);
        }
        self.touch_daemon_sets(before.as_deref(), after.as_deref());
        self.keys.touch(Key::Node(node.clone()));
        Ok(())
    }

    /// Folds in a namespace as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; the namespace is looked at all the same.
    pub fn fold_namespace(&mut self, name: &Arc<str>, json: &[u8]) -> Result<(), DecodeError> {
        self.touch_namespace(name);
        self.view.apply_namespace(name, json)
    }

    /// Notes whether a namespace's ConfigMap with the cluster's certificate is there, as it should be.
    pub fn fold_root_ca(&mut self, namespace: &Arc<str>, state: RootCa) {
        match state {
            RootCa::Right => self.view.root_ca_right(namespace),
            RootCa::Wrong => {
                self.view.root_ca_wrong(namespace);
                self.touch_namespace(namespace);
            }
        }
    }

    /// Folds in a Secret in the namespace of bootstrap tokens, as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as no token then.
    pub fn fold_bootstrap_token(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        self.keys.touch(Key::BootstrapTokens);
        self.view.apply_bootstrap_token(name, json)
    }

    /// Folds in a request for a certificate, as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as none then.
    pub fn fold_certificate_request(&mut self, name: &Arc<str>, json: &[u8]) -> Result<(), DecodeError> {
        self.keys.touch(Key::CertificateRequest(Arc::clone(name)));
        self.view.apply_certificate_request(name, json)
    }

    /// Folds in who owns an object.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_owners(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        json: &[u8],
    ) -> Result<(), DecodeError> {
        if resource.takes_part() {
            let id = ObjectId { resource, key: key.clone() };
            let touched = self.view.ownership_mut().apply(&id, json)?;
            self.touch_objects(touched);
        }
        Ok(())
    }

    /// Counts a namespaced object that came to be.
    pub fn count_created(&mut self, resource: Resource, key: &ObjectKey) {
        self.view.object_created(resource, key);
        if self.view.namespace(&key.namespace).is_some_and(|namespace| namespace.deleting) {
            self.touch_namespace(&key.namespace);
        }
    }

    /// Counts a namespaced object that is gone.
    pub fn count_deleted(&mut self, resource: Resource, key: &ObjectKey) {
        self.view.object_deleted(resource, key);
        self.touch_namespace(&key.namespace);
    }

    /// Forgets a pod.
    pub fn forget_pod(&mut self, key: &ObjectKey) {
        self.queue.remove(key);
        let Some(before) = self.view.delete_pod(key) else { return };
        self.touch_budgets(key, Some(&before), None);
        self.touch_controllers_of(key, Some(&before), None);
        self.touch_services_of(key, Some(&before), None);
        self.touch_claims_of(key, Some(&before), None);
        self.hint_pod(key, Some(&before), None);
    }

    /// Forgets a node.
    pub fn forget_node(&mut self, node: &NodeName, now: Timestamp) {
        let was_offline = self.view.is_offline(node);
        let before = self.view.delete_node(node, now);
        if was_offline {
            self.touch_rollouts();
        }
        self.touch_services_on(node, before.as_deref(), None);
        self.forget_daemons_of(node, before.as_deref());
        // One domain less may be all that spreading waits for.
        self.queue.changed(Hint::NodeChanged, |_, reasons| reasons.contains(&Reason::TopologySpread));
        self.keys.touch(Key::Node(node.clone()));
    }

    /// Forgets who owned an object, whose last state is given.
    ///
    /// # Errors
    /// When that cannot be decoded; nothing changes then.
    pub fn forget_owners(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        last: &[u8],
    ) -> Result<(), DecodeError> {
        if resource.takes_part() {
            let id = ObjectId { resource, key: key.clone() };
            let touched = self.view.ownership_mut().delete(&id, last)?;
            self.touch_objects(touched);
        }
        Ok(())
    }

    /// A node's session opened, or ended.
    pub fn heard(&mut self, node: NodeName, liveness: Liveness) {
        self.view.set_liveness(&node, liveness);
        self.keys.touch(Key::Node(node));
    }

    /// Takes out the keys to ask about now.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        if self.keys.is_before(now) {
            self.view.clock_put_back(now);
        }
        self.keys.take_due(now)
    }

    /// What the controllers want for a key.
    pub fn plan(&mut self, key: &Key, now: Timestamp) -> Plan {
        match key {
            Key::Node(node) => {
                let mut plan = controllers::node_lifecycle::reconcile(&self.view, node, now);
                let garbage = controllers::pod_gc::reconcile_node(&self.view, node, now);
                plan.actions.extend(garbage.actions);
                plan.actions.extend(controllers::ttl::reconcile(&self.view, node).actions);
                plan.again_at = [plan.again_at, garbage.again_at].into_iter().flatten().min();
                plan
            }
            Key::Namespace(name) => {
                let mut plan = controllers::namespace::reconcile(&self.view, name);
                plan.actions.extend(controllers::service_account::reconcile(&self.view, name).actions);
                plan.actions.extend(controllers::root_ca::reconcile(&self.view, name).actions);
                plan
            }
            Key::Pods => controllers::pod_gc::reconcile(&self.view),
            // What they are made of is looked at where they are stored: it is read only when one changes.
            Key::ClusterRoles => Plan { actions: vec![Action::AggregateRoles], again_at: None },
            Key::BootstrapTokens => controllers::bootstrap_token::reconcile(&self.view, now),
            Key::CertificateRequest(name) => {
                controllers::certificate_request::reconcile(&self.view, name, now)
            }
            Key::Budget(key) => controllers::disruption::reconcile(&self.view, key, now),
            Key::Autoscaler(key) => self.plan_autoscaler(key, now),
            Key::Service(service) => {
                controllers::endpoints::reconcile(&self.view, service, self.keys.failure(key))
            }
            Key::Claim(key) => controllers::storage::reconcile_claim(&self.view, key),
            Key::Volume(name) => controllers::storage::reconcile_volume(&self.view, name),
            Key::Object(id) => controllers::garbage::reconcile(&self.view, id),
            Key::Workload(id) => self.plan_workload(id, self.keys.failure(key), now),
            Key::OrphanPod(pod) => controllers::job::reconcile_orphan(&self.view, pod),
        }
    }

    fn enqueue(&mut self, key: &ObjectKey, before: Option<&PodInfo>, after: &Arc<PodInfo>) -> Needs {
        let same_pod = before.filter(|before| before.uid == after.uid);
        if before.is_some() && same_pod.is_none() {
            self.queue.remove(key);
        }
        if after.assumed {
            return Needs::Nothing;
        }
        if !after.awaits_scheduling() {
            self.queue.remove(key);
        } else if after.gated {
            self.queue.remove(key);
            if !after.marked_gated {
                return Needs::GatedMark(Arc::clone(after));
            }
        } else if same_pod.is_some_and(|before| !Arc::ptr_eq(&before.template, &after.template)) {
            // What it asks for is new, so what refused it may not any more.
            self.queue.remove(key);
            self.queue.add(key, after.template.priority, after.created);
        } else {
            self.queue.add(key, after.template.priority, after.created);
        }
        Needs::Nothing
    }

    fn touch_objects(&mut self, touched: BTreeSet<ObjectId>) {
        touched.into_iter().for_each(|id| self.keys.touch(Key::Object(id)));
    }

    /// A pod on a node that is not well may have to be moved; on any other it concerns no controller.
    fn touch_node_of_pod(&mut self, node: &NodeName) {
        let well = self.view.node(node).is_some_and(|entry| {
            entry.liveness == Liveness::Live && entry.info.as_ref().is_some_and(|info| info.taints.is_empty())
        });
        if !well {
            self.keys.touch(Key::Node(node.clone()));
        }
    }

    fn touch_namespace(&mut self, name: &Arc<str>) {
        self.keys.touch(Key::Namespace(Arc::clone(name)));
    }
}
