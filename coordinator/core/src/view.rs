//! The cluster as the scheduler and the controllers see it: lean projections of pods, nodes and namespaces, fed by the watch.
//!
//! A reader folds changes in with `apply_*` and `delete_*` and starts over with a new view after a gap. Each `apply_*` decodes
//! only the fields that somebody here looks at, and answers what was known before, so that the caller can tell what changed.
//! The view never holds whole objects, and never decides anything.

mod affiliation;
pub(crate) mod autoscaler;
mod bootstrap_token;
mod budgets;
mod certificate_request;
pub(crate) mod claim;
mod daemon_failures;
mod decode;
mod entry;
pub mod job_pod;
mod namespaces;
mod node;
mod ownership;
mod pod;
mod pod_affinity;
mod pod_failures;
mod resource;
mod scheduling;
pub mod services;
mod template;
pub(crate) mod volumes;
pub mod workload;
pub mod zones;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use dunlin_link::NodeName;
use jiff::Timestamp;

pub use affiliation::{Affiliation, Controller, Labels};
pub use autoscaler::{Autoscaler, AutoscalerStatus};
pub use bootstrap_token::BootstrapToken;
pub use certificate_request::CertificateRequest;
pub use claim::{Claim, ClaimNotes, ClaimOwner, ClaimState, ClaimStatus};
pub use daemon_failures::DaemonFailures;
pub use decode::DecodeError;
pub use entry::{Liveness, NodeEntry, Usage};
pub use job_pod::JobPod;
pub(crate) use namespaces::DEFAULT_ACCOUNT;
pub use namespaces::NamespaceInfo;
pub use node::{Condition, Effect, NodeInfo, Taint};
pub use ownership::{Member, ObjectId, Owner, Ownership, WaitsFor};
pub use pod::{Deletion, HostName, Phase, PodInfo};
pub use pod_affinity::{
    AffinityTerm, PodAffinity, PodTerm, Policy, Selector, SpreadConstraint, WhenUnsatisfiable,
};
pub use pod_failures::PodFailures;
pub use resource::Resource;
pub use template::{
    HostPort, NamedPort, NodeTerm, Operator, PodClaim, PodTemplate, Requested, RequestedByContainer,
    Requirement, Toleration,
};
pub use volumes::{Asked, BindingMode, ClaimRef, ClassInfo, VolumeInfo};
pub use workload::{
    Deployment, DeploymentStatus, Job, JobStatus, ReplicaSet, ReplicaSetStatus, Strategy, Workload, Workloads,
};

use self::zones::Zones;
use crate::{
    budget::Budget,
    scheduler::{Losses, Snapshot},
};
use claim::Claims;
use volumes::Storage;

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

/// The whole projection.
#[derive(Debug)]
pub struct View {
    started: Timestamp,
    node_grace: Duration,
    pods: BTreeMap<ObjectKey, Arc<PodInfo>>,
    nodes: BTreeMap<NodeName, NodeEntry>,
    /// How many of them have an object.
    nodes_known: usize,
    zones: Zones,
    /// Those of them whose object says that nothing is heard of them.
    offline: BTreeSet<NodeName>,
    namespaces: BTreeMap<Arc<str>, NamespaceInfo>,
    /// Objects per namespace and kind, so that a namespace's end is known without holding them.
    contents: HashMap<Arc<str>, BTreeMap<Resource, usize>>,
    /// Namespaces whose `default` ServiceAccount exists.
    default_accounts: HashSet<Arc<str>>,
    /// Namespaces whose ConfigMap with the cluster's certificate is as it should be.
    root_cas: HashSet<Arc<str>>,
    /// By the name of their Secret.
    bootstrap_tokens: BTreeMap<String, BootstrapToken>,
    certificate_requests: BTreeMap<String, CertificateRequest>,
    /// One allocation per distinct pod template, however many pods were made from it.
    templates: HashSet<Arc<PodTemplate>>,
    /// The same for labels and controllers.
    affiliations: HashSet<Arc<Affiliation>>,
    autoscalers: BTreeMap<ObjectKey, Arc<Autoscaler>>,
    budgets: BTreeMap<ObjectKey, Budget>,
    daemon_failures: DaemonFailures,
    pod_failures: PodFailures,
    claims: Claims,
    /// Counts changes of budgets.
    budgets_changed: u64,
    storage: Storage,
    /// The fleet as the scheduler sees it.
    snapshot: Snapshot,
    /// What it would cost whom to make room.
    losses: Losses,
    /// Pods without controller, by namespace.
    orphans: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
    workloads: Workloads,
    services: services::Services,
    /// Pods that ended, oldest first, for the bound on how many are kept.
    finished: BTreeSet<(Timestamp, ObjectKey)>,
    /// Pods being deleted that no node holds.
    unassigned_deleting: BTreeSet<ObjectKey>,
    ownership: Ownership,
}

impl ObjectKey {
    /// A key of a namespaced object.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl View {
    /// An empty view of a coordinator that started at `now` and lets nodes be silent for `node_grace`.
    pub fn new(now: Timestamp, node_grace: Duration) -> Self {
        Self {
            started: now,
            node_grace,
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            nodes_known: 0,
            zones: Zones::default(),
            offline: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            contents: HashMap::new(),
            default_accounts: HashSet::new(),
            root_cas: HashSet::new(),
            bootstrap_tokens: BTreeMap::new(),
            certificate_requests: BTreeMap::new(),
            templates: HashSet::new(),
            affiliations: HashSet::new(),
            autoscalers: BTreeMap::new(),
            budgets: BTreeMap::new(),
            daemon_failures: DaemonFailures::default(),
            pod_failures: PodFailures::default(),
            claims: Claims::default(),
            budgets_changed: 0,
            storage: Storage::default(),
            snapshot: Snapshot::default(),
            losses: Losses::default(),
            orphans: HashMap::new(),
            workloads: Workloads::default(),
            services: services::Services::default(),
            finished: BTreeSet::new(),
            unassigned_deleting: BTreeSet::new(),
            ownership: Ownership::default(),
        }
    }

    /// Folds in a pod as stored; answers the pod as it was known before.
    ///
    /// # Errors
    /// When `json` is not a pod; the view is then unchanged.
    pub fn apply_pod(
        &mut self,
        key: &ObjectKey,
        json: &[u8],
        now: Timestamp,
    ) -> Result<Option<Arc<PodInfo>>, DecodeError> {
        let mut pod = PodInfo::decode(json)?;
        pod.template = intern(&mut self.templates, pod.template);
        pod.affiliation = intern(&mut self.affiliations, pod.affiliation);
        let before = self.remove_pod(key);
        pod.ready_since = pod.ready_since.map(|since| ready_since(since, before.as_deref(), &pod, now));
        if let Some(before) = &before
            && before.assumed
            && before.uid == pod.uid
            && pod.node.is_none()
        {
            pod.node.clone_from(&before.node);
            pod.assumed = true;
        }
        if let Some(before) = &before
            && before.uid == pod.uid
            && before.nominated_stored == pod.nominated_stored
        {
            // What the scheduler decided and is not stored yet.
            pod.nominated.clone_from(&before.nominated);
        }
        self.insert_pod(key, Arc::new(pod), now);
        Ok(before)
    }

    /// Takes note that the clock was put back: nobody knows for how long a pod has been ready by a time that is still to come.
    pub(crate) fn clock_put_back(&mut self, now: Timestamp) {
        let ahead = self.pods.iter().filter(|(_, pod)| pod.ready_since.is_some_and(|since| since > now));
        let ahead: Vec<ObjectKey> = ahead.map(|(key, _)| key.clone()).collect();
        for key in ahead {
            // The snapshot knows a pod by its allocation.
            let Some(pod) = self.remove_pod(&key) else { continue };
            self.insert_pod(&key, Arc::new(PodInfo { ready_since: Some(now), ..PodInfo::clone(&pod) }), now);
        }
    }

    /// Forgets a pod; answers what was known of it.
    pub fn delete_pod(&mut self, key: &ObjectKey) -> Option<Arc<PodInfo>> {
        let before = self.remove_pod(key)?;
        // The set and `before` hold the last two references when no other pod uses the template.
        if Arc::strong_count(&before.template) <= 2 {
            self.templates.remove(&before.template);
        }
        if Arc::strong_count(&before.affiliation) <= 2 {
            self.affiliations.remove(&before.affiliation);
        }
        Some(before)
    }

    /// Counts a pod as bound to `node` before the store confirms it. False when the pod is gone or bound already.
    pub fn assume(&mut self, key: &ObjectKey, node: &NodeName, now: Timestamp) -> bool {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.node.is_none()) else { return false };
        let assumed = PodInfo { node: Some(node.clone()), assumed: true, ..PodInfo::clone(pod) };
        self.remove_pod(key);
        self.insert_pod(key, Arc::new(assumed), now);
        true
    }

    /// Takes an assumption back, because the binding failed.
    pub fn unassume(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(pod) = self.pods.get(key).filter(|pod| pod.assumed) else { return };
        let unbound = PodInfo { node: None, assumed: false, ..PodInfo::clone(pod) };
        self.remove_pod(key);
        self.insert_pod(key, Arc::new(unbound), now);
    }

    /// Folds in a node as stored; answers the node as it was known before.
    ///
    /// # Errors
    /// When `json` is not a node; the view is then unchanged.
    pub fn apply_node(&mut self, name: &NodeName, json: &[u8]) -> Result<Option<Arc<NodeInfo>>, DecodeError> {
        let info = Arc::new(NodeInfo::decode(name.clone(), json)?);
        self.snapshot.apply_node(&info);
        if info.is_offline() {
            self.offline.insert(name.clone());
        } else {
            self.offline.remove(name);
        }
        let mut before = None;
        self.change_entry(name, |entry| {
            entry.missing_since = None;
            before = entry.info.replace(info);
        });
        self.nodes_known += usize::from(before.is_none());
        Ok(before)
    }

    /// Forgets a node; its pods stay, bound to a name without a node since `now`.
    pub fn delete_node(&mut self, name: &NodeName, now: Timestamp) -> Option<Arc<NodeInfo>> {
        self.snapshot.delete_node(name);
        self.offline.remove(name);
        let entry = self.nodes.get_mut(name)?;
        self.zones.remove(name, entry);
        let before = entry.info.take();
        self.nodes_known -= usize::from(before.is_some());
        if !entry.pods.is_empty() {
            entry.missing_since = Some(now);
        } else if entry.liveness != Liveness::Live {
            self.nodes.remove(name);
        }
        before
    }

    /// Sets what is known of a node's session.
    pub fn set_liveness(&mut self, name: &NodeName, liveness: Liveness) {
        self.change_entry(name, |entry| entry.liveness = liveness);
    }

    /// Objects that controllers look after, to fold changes in.
    pub fn workloads_mut(&mut self) -> &mut Workloads {
        &mut self.workloads
    }

    /// Objects that controllers look after.
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// Services and their endpoints, to fold changes in.
    pub fn services_mut(&mut self) -> &mut services::Services {
        &mut self.services
    }

    /// Services and their endpoints.
    pub fn services(&self) -> &services::Services {
        &self.services
    }

    /// Failures of DaemonSets' pods, to note more.
    pub fn daemon_failures_mut(&mut self) -> &mut DaemonFailures {
        &mut self.daemon_failures
    }

    /// Failures of DaemonSets' pods.
    pub fn daemon_failures(&self) -> &DaemonFailures {
        &self.daemon_failures
    }

    /// Failures of other workloads' pods, to note more.
    pub fn pod_failures_mut(&mut self) -> &mut PodFailures {
        &mut self.pod_failures
    }

    /// Failures of other workloads' pods.
    pub fn pod_failures(&self) -> &PodFailures {
        &self.pod_failures
    }

    /// Pods whose controller is the object of this uid, by name.
    pub fn pods_controlled_by<'a>(
        &'a self,
        uid: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Arc<PodInfo>)> {
        let dependents = self.ownership.dependents(uid).filter(|id| id.resource == PODS);
        dependents.filter_map(|id| self.pods.get_key_value(&id.key)).filter(move |(_, pod)| {
            pod.affiliation.controller.as_ref().is_some_and(|controller| controller.uid == uid)
        })
    }

    /// Pods of a namespace that no controller looks after, by name.
    pub fn orphans(&self, namespace: &str) -> impl Iterator<Item = (&ObjectKey, &Arc<PodInfo>)> {
        let keys = self.orphans.get(namespace).into_iter().flatten();
        keys.filter_map(|key| self.pods.get_key_value(key))
    }

    /// Who owns whom, to fold changes in.
    pub fn ownership_mut(&mut self) -> &mut Ownership {
        &mut self.ownership
    }

    /// Who owns whom.
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// When the coordinator started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// How long a node's session may be gone before the node counts as unreachable.
    pub fn node_grace(&self) -> Duration {
        self.node_grace
    }

    /// A pod.
    pub fn pod(&self, key: &ObjectKey) -> Option<&Arc<PodInfo>> {
        self.pods.get(key)
    }

    /// The pods of a namespace, by name.
    pub fn pods_of(&self, namespace: &Arc<str>) -> impl Iterator<Item = (&ObjectKey, &Arc<PodInfo>)> {
        let first = ObjectKey { namespace: Arc::clone(namespace), name: "".into() };
        self.pods.range(first..).take_while(|(key, _)| key.namespace == *namespace)
    }

    /// A node, or a name that pods are bound to.
    pub fn node(&self, name: &NodeName) -> Option<&NodeEntry> {
        self.nodes.get(name)
    }

    /// Every node and every name that pods are bound to, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeName, &NodeEntry)> {
        self.nodes.iter()
    }

    /// How many nodes there are.
    pub fn nodes_known(&self) -> usize {
        self.nodes_known
    }

    /// Nodes by zone.
    pub fn zones(&self) -> &Zones {
        &self.zones
    }

    /// Whether a node's object says that nothing is heard of it.
    pub fn is_offline(&self, name: &NodeName) -> bool {
        self.offline.contains(name)
    }

    /// Whether that is so of any node.
    pub fn has_offline_nodes(&self) -> bool {
        !self.offline.is_empty()
    }

    /// The nodes of which it is so, by name.
    pub fn offline_nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.offline.iter()
    }

    /// Pods that ended, the oldest first.
    pub fn finished(&self) -> &BTreeSet<(Timestamp, ObjectKey)> {
        &self.finished
    }

    /// Pods being deleted that were never bound.
    pub fn unassigned_deleting(&self) -> impl Iterator<Item = &ObjectKey> {
        self.unassigned_deleting.iter()
    }

    /// Changes what is known of a node itself, in step with what is known of its zone.
    fn change_entry(&mut self, name: &NodeName, change: impl FnOnce(&mut NodeEntry)) {
        let started = self.started;
        let entry = self.nodes.entry(name.clone()).or_insert_with(|| NodeEntry::unverified(started));
        self.zones.remove(name, entry);
        change(entry);
        self.zones.add(name, entry);
    }

    fn entry(&mut self, name: &NodeName) -> &mut NodeEntry {
        let started = self.started;
        self.nodes.entry(name.clone()).or_insert_with(|| NodeEntry::unverified(started))
    }

    fn insert_pod(&mut self, key: &ObjectKey, pod: Arc<PodInfo>, now: Timestamp) {
        if let Some(node) = &pod.node {
            let entry = self.entry(node);
            if entry.info.is_none() && entry.missing_since.is_none() {
                entry.missing_since = Some(now);
            }
            entry.pods.insert(key.clone());
            if !pod.phase.finished() {
                self.snapshot.add_pod(node, key, &pod);
            }
        } else if pod.deletion.is_some() {
            self.unassigned_deleting.insert(key.clone());
        } else if let Some(nominated) = &pod.nominated {
            self.snapshot.nominate(nominated, key, &pod);
        }
        if pod.affiliation.controller.is_none() {
            self.orphans.entry(Arc::clone(&key.namespace)).or_default().insert(key.clone());
        }
        if pod.phase.finished() {
            self.finished.insert((pod.created, key.clone()));
        }
        self.pods.insert(key.clone(), pod);
    }

    fn remove_pod(&mut self, key: &ObjectKey) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.unassigned_deleting.remove(key);
        if pod.nominated.is_some() {
            self.snapshot.withdraw(key);
        }
        self.finished.remove(&(pod.created, key.clone()));
        if let Some(orphans) = self.orphans.get_mut(&key.namespace) {
            orphans.remove(key);
            if orphans.is_empty() {
                self.orphans.remove(&key.namespace);
            }
        }
        if let Some(node) = &pod.node
            && let Some(entry) = self.nodes.get_mut(node)
        {
            entry.pods.remove(key);
            if !pod.phase.finished() {
                self.snapshot.remove_pod(node, &pod);
            }
            if entry.info.is_none() && entry.pods.is_empty() && entry.liveness != Liveness::Live {
                self.nodes.remove(node);
            }
        }
        Some(pod)
    }
}

/// The one allocation of what is equal to `value`.
fn intern<T: Eq + Hash>(known: &mut HashSet<Arc<T>>, value: Arc<T>) -> Arc<T> {
    if let Some(known) = known.get(&value) {
        return Arc::clone(known);
    }
    known.insert(Arc::clone(&value));
    value
}

/// Since when a pod counts as ready that says so since then. A time that is still to come is from a clock that was put back meanwhile, or
/// from another's: nobody waits until it comes.
fn ready_since(since: Timestamp, before: Option<&PodInfo>, pod: &PodInfo, now: Timestamp) -> Timestamp {
    match before.filter(|before| before.uid == pod.uid) {
        Some(before) if before.ready_changed_at == pod.ready_changed_at => {
            before.ready_since.unwrap_or_else(|| since.min(now))
        }
        _ => since.min(now),
    }
}

/// Plural of Pod.
const PODS: Resource = Resource::core("pods");
