//! All workloads, and where to find them: by kind and name, by namespace, by controller.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

use super::{
    super::{DecodeError, ObjectId, ObjectKey, Resource},
    CONTROLLER_REVISIONS, CRON_JOBS, CronJob, DAEMON_SETS, DEPLOYMENTS, DaemonSet, Deployment, JOBS, Job,
    ReplicaSet, Revision, STATEFUL_SETS, StatefulSet, Workload, decoder,
};

/// All of them.
#[derive(Debug, Default)]
pub struct Workloads {
    objects: HashMap<ObjectId, Workload>,
    /// By namespace, for the question whom a pod without controller belongs to.
    by_namespace: HashMap<Arc<str>, BTreeSet<ObjectId>>,
    /// By the uid of their controller.
    controlled: HashMap<String, BTreeSet<ObjectId>>,
    /// Those that a change of a node may concern.
    daemon_sets: BTreeSet<ObjectId>,
}

impl Workloads {
    /// Folds in an object as stored; answers what was known before.
    ///
    /// # Errors
    /// When `json` is not an object of the kind; nothing changes then.
    pub fn apply(&mut self, id: &ObjectId, json: &[u8]) -> Result<Option<Workload>, DecodeError> {
        let Some(decode) = decoder(id.resource) else { return Ok(None) };
        let workload = decode(json)?;
        let before = self.delete(id);
        if let Some(controller) = &workload.meta().controller {
            self.controlled.entry(controller.uid.clone()).or_default().insert(id.clone());
        }
        self.by_namespace.entry(Arc::clone(&id.key.namespace)).or_default().insert(id.clone());
        if id.resource == DAEMON_SETS {
            self.daemon_sets.insert(id.clone());
        }
        self.objects.insert(id.clone(), workload);
        Ok(before)
    }

    /// Forgets an object; answers what was known of it.
    pub fn delete(&mut self, id: &ObjectId) -> Option<Workload> {
        let before = self.objects.remove(id)?;
        remove_from(&mut self.by_namespace, &id.key.namespace, id);
        self.daemon_sets.remove(id);
        if let Some(controller) = &before.meta().controller {
            remove_from(&mut self.controlled, &controller.uid, id);
        }
        Some(before)
    }

    /// One of them.
    pub fn get(&self, id: &ObjectId) -> Option<&Workload> {
        self.objects.get(id)
    }

    /// A Deployment.
    pub fn deployment(&self, key: &ObjectKey) -> Option<&Arc<Deployment>> {
        match self.get(&ObjectId { resource: DEPLOYMENTS, key: key.clone() })? {
            Workload::Deployment(deployment) => Some(deployment),
            _ => None,
        }
    }

    /// A ReplicaSet or a ReplicationController.
    pub fn replica_set(&self, id: &ObjectId) -> Option<&Arc<ReplicaSet>> {
        match self.get(id)? {
            Workload::ReplicaSet(set) => Some(set),
            _ => None,
        }
    }

    /// A Job.
    pub fn job(&self, key: &ObjectKey) -> Option<&Arc<Job>> {
        match self.get(&ObjectId { resource: JOBS, key: key.clone() })? {
            Workload::Job(job) => Some(job),
            _ => None,
        }
    }

    /// A CronJob.
    pub fn cron_job(&self, key: &ObjectKey) -> Option<&Arc<CronJob>> {
        match self.get(&ObjectId { resource: CRON_JOBS, key: key.clone() })? {
            Workload::CronJob(cron) => Some(cron),
            _ => None,
        }
    }

    /// A StatefulSet.
    pub fn stateful_set(&self, key: &ObjectKey) -> Option<&Arc<StatefulSet>> {
        match self.get(&ObjectId { resource: STATEFUL_SETS, key: key.clone() })? {
            Workload::StatefulSet(set) => Some(set),
            _ => None,
        }
    }

    /// A DaemonSet.
    pub fn daemon_set(&self, key: &ObjectKey) -> Option<&Arc<DaemonSet>> {
        match self.get(&ObjectId { resource: DAEMON_SETS, key: key.clone() })? {
            Workload::DaemonSet(set) => Some(set),
            _ => None,
        }
    }

    /// All DaemonSets of all namespaces.
    pub fn daemon_sets(&self) -> impl Iterator<Item = (&ObjectId, &Arc<DaemonSet>)> {
        self.daemon_sets.iter().filter_map(|id| match self.objects.get(id)? {
            Workload::DaemonSet(set) => Some((id, set)),
            _ => None,
        })
    }

    /// A ControllerRevision.
    pub fn revision(&self, key: &ObjectKey) -> Option<&Arc<Revision>> {
        match self.get(&ObjectId { resource: CONTROLLER_REVISIONS, key: key.clone() })? {
            Workload::Revision(revision) => Some(revision),
            _ => None,
        }
    }

    /// Those of one kind in a namespace, by name.
    pub fn of_kind(
        &self,
        namespace: &str,
        resource: Resource,
    ) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let first = ObjectId { resource, key: ObjectKey::new(namespace, "") };
        let ids =
            self.by_namespace.get(namespace).into_iter().flat_map(move |ids| ids.range(first.clone()..));
        let ids = ids.take_while(move |id| id.resource == resource);
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    /// Those that have to be looked at when a node goes offline or comes back, in no order.
    pub fn looking_at_nodes(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.iter().filter(|(_, workload)| workload.looks_at_nodes()).map(|(id, _)| id)
    }

    /// Those of a namespace, by kind and name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let ids = self.by_namespace.get(namespace).into_iter().flatten();
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    /// Those that the object of this uid controls, by kind and name.
    pub fn controlled_by(&self, uid: &str) -> impl Iterator<Item = (&ObjectId, &Workload)> {
        let ids = self.controlled.get(uid).into_iter().flatten();
        ids.filter_map(|id| Some((id, self.objects.get(id)?)))
    }
}

fn remove_from<K>(map: &mut HashMap<K, BTreeSet<ObjectId>>, key: &str, id: &ObjectId)
where
    K: Eq + Hash + Borrow<str>,
{
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
