//! Which workloads a change concerns.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Failure, Key, Reconciler};
use crate::{
    ObjectKey,
    controllers::{self, Plan, auto_rollback},
    view::{
        Controller, DecodeError, Labels, ObjectId, Phase, PodInfo, Resource, Workload,
        workload::{
            CONTROLLER_REVISIONS, CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, JOBS, REPLICA_SETS,
            REPLICATION_CONTROLLERS, STATEFUL_SETS,
        },
    },
};

impl Reconciler {
    /// Folds in an object that a controller looks after.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_workload(
        &mut self,
        resource: Resource,
        key: &ObjectKey,
        json: &[u8],
    ) -> Result<(), DecodeError> {
        let id = ObjectId { resource, key: key.clone() };
        let before = self.view.workloads_mut().apply(&id, json)?;
        let after = self.view.workloads().get(&id).cloned();
        if before.as_ref().and_then(Workload::replicas) != after.as_ref().and_then(Workload::replicas) {
            self.touch_budgets_by_scale(&key.namespace);
        }
        self.touch_owners_of(&id, before.as_ref(), after.as_ref());
        self.touch_orphans(before.as_ref(), after.as_ref());
        self.keys.touch(Key::Workload(id));
        Ok(())
    }

    /// Forgets an object that a controller looked after.
    pub fn forget_workload(&mut self, resource: Resource, key: &ObjectKey) {
        let id = ObjectId { resource, key: key.clone() };
        let before = self.view.workloads_mut().delete(&id);
        self.touch_owners_of(&id, before.as_ref(), None);
        self.touch_orphans(before.as_ref(), None);
        if let Some(Workload::DaemonSet(set)) = &before {
            self.view.daemon_failures_mut().forget_set(&set.meta.uid);
        }
        if let Some(workload) = &before {
            self.view.pod_failures_mut().forget(&workload.meta().uid);
        }
        self.touch_budgets_by_scale(&key.namespace);
    }

    pub(super) fn plan_workload(&self, id: &ObjectId, failure: Option<&Failure>, now: Timestamp) -> Plan {
        match id.resource {
            DEPLOYMENTS => controllers::deployment::reconcile(&self.view, &id.key, failure, now),
            REPLICA_SETS | REPLICATION_CONTROLLERS => {
                controllers::replica_set::reconcile(&self.view, id, failure, now)
            }
            STATEFUL_SETS => controllers::stateful_set::reconcile(&self.view, &id.key, now),
            DAEMON_SETS => controllers::daemon_set::reconcile(&self.view, &id.key, now),
            CRON_JOBS => controllers::cron_job::reconcile(&self.view, &id.key, now),
            JOBS => controllers::job::reconcile(&self.view, &id.key, now),
            _ => Plan::nothing(),
        }
    }

    /// Notes when a pod of a ReplicaSet or a StatefulSet has failed, so that the next does not come at once every time.
    pub(super) fn note_failure(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: &PodInfo,
        now: Timestamp,
    ) {
        if !has_just_failed(before, after) {
            return;
        }
        let Some(owner) = &after.affiliation.controller else { return };
        let kinds = [REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS];
        let Some(resource) = owner.resource().filter(|resource| kinds.contains(resource)) else { return };
        let key = ObjectKey { namespace: key.namespace.clone(), name: owner.name.as_str().into() };
        let workload = self.view.workloads().get(&ObjectId { resource, key });
        let Some(generation) =
            workload.map(Workload::meta).filter(|meta| *meta.uid == *owner.uid).map(|meta| meta.generation)
        else {
            return;
        };
        let lived = now.duration_since(after.created);
        self.view.pod_failures_mut().note(&owner.uid, generation, lived, now);
    }

    /// A pod concerns whoever controls or controlled it; one that nobody controls, whoever selects it.
    pub(super) fn touch_controllers_of(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: Option<&PodInfo>,
    ) {
        let is_broken = |pod: &PodInfo| auto_rollback::keeps_crashing(pod);
        let is_broken_now = after.is_some_and(is_broken) && !before.is_some_and(is_broken);
        for pod in before.into_iter().chain(after) {
            match &pod.affiliation.controller {
                Some(controller) => {
                    self.touch_controller(&key.namespace, controller);
                    if is_broken_now {
                        self.touch_controller_of(&key.namespace, controller);
                    }
                }
                None => self.touch_adopters(&key.namespace, &pod.affiliation.labels),
            }
        }
    }

    /// A node went offline or came back: that concerns workloads that lack pods, or wait for some that are deferred.
    pub(super) fn touch_rollouts(&mut self) {
        let concerned: Vec<_> = self.view.workloads().looking_at_nodes().cloned().collect();
        concerned.into_iter().for_each(|id| self.keys.touch(Key::Workload(id)));
    }

    /// Pods of a Job that is gone are counted by none, whoever has its name by now.
    fn touch_orphans(&mut self, before: Option<&Workload>, after: Option<&Workload>) {
        let Some(Workload::Job(gone)) = before else { return };
        let uid = &gone.meta.uid;
        if after.is_some_and(|after| after.meta().uid == *uid) {
            return;
        }
        for (key, _) in self.view.pods_controlled_by(uid) {
            self.keys.touch(Key::OrphanPod(key.clone()));
        }
    }

    /// The same for what Deployments, StatefulSets and CronJobs are made up of.
    fn touch_owners_of(&mut self, id: &ObjectId, before: Option<&Workload>, after: Option<&Workload>) {
        if ![REPLICA_SETS, CONTROLLER_REVISIONS, JOBS].contains(&id.resource) {
            return;
        }
        for meta in before.into_iter().chain(after).map(Workload::meta) {
            match &meta.controller {
                Some(controller) => self.touch_controller(&id.key.namespace, controller),
                None if id.resource == JOBS => {}
                None => {
                    let adopters: Vec<_> = self
                        .view
                        .workloads()
                        .in_namespace(&id.key.namespace)
                        .filter(|(_, workload)| workload.adopts_part(id.resource, &meta.labels))
                        .map(|(id, _)| id.clone())
                        .collect();
                    adopters.into_iter().for_each(|id| self.keys.touch(Key::Workload(id)));
                }
            }
        }
    }

    fn touch_controller(&mut self, namespace: &Arc<str>, controller: &Controller) {
        let Some(resource) = controller.resource() else { return };
        let key = ObjectKey { namespace: Arc::clone(namespace), name: controller.name.as_str().into() };
        let id = ObjectId { resource, key };
        // Pods of a Job that is gone have to be let go.
        if resource == JOBS || self.view.workloads().get(&id).is_some() {
            self.keys.touch(Key::Workload(id));
        }
    }

    /// StatefulSets whose claim one of this name may be: their pods may have waited for its end.
    pub(super) fn touch_claimants(&mut self, key: &ObjectKey) {
        let sets = self.view.workloads().of_kind(&key.namespace, STATEFUL_SETS);
        let claims = |id: &ObjectId, workload: &Workload| matches!(workload, Workload::StatefulSet(set) if set.may_claim(&id.key.name, &key.name));
        let claimants: Vec<_> =
            sets.filter(|(id, workload)| claims(id, workload)).map(|(id, _)| id.clone()).collect();
        claimants.into_iter().for_each(|id| self.keys.touch(Key::Workload(id)));
    }

    /// Whoever looks after the ReplicaSet that a pod belongs to, which does not change when the pod keeps crashing.
    fn touch_controller_of(&mut self, namespace: &Arc<str>, controller: &Controller) {
        let Some(resource) = controller.resource() else { return };
        let key = ObjectKey { namespace: Arc::clone(namespace), name: controller.name.as_str().into() };
        let set = self.view.workloads().get(&ObjectId { resource, key });
        if let Some(owner) = set.and_then(|set| set.meta().controller.clone()) {
            self.touch_controller(namespace, &owner);
        }
    }

    fn touch_adopters(&mut self, namespace: &Arc<str>, labels: &Labels) {
        let selects =
            |workload: &Workload| workload.adopts().is_some_and(|selector| selector.matches_labels(labels));
        let adopters: Vec<_> = self
            .view
            .workloads()
            .in_namespace(namespace)
            .filter(|(_, workload)| selects(workload))
            .map(|(id, _)| id.clone())
            .collect();
        adopters.into_iter().for_each(|id| self.keys.touch(Key::Workload(id)));
    }
}

/// Whether a pod has failed of which that was not known.
pub(super) fn has_just_failed(before: Option<&PodInfo>, after: &PodInfo) -> bool {
    let is_known = before.is_some_and(|before| before.uid == after.uid && before.phase == Phase::Failed);
    after.phase == Phase::Failed && !is_known
}
