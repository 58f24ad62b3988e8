//! Where what nodes say enters the cluster: facts, liveness, pod statuses, events and refusals, each through the API service as
//! user `system:node:NAME`.
//!
//! A report that comes here is the newest of its pod: a session keeps its own in order, and a node's sessions follow each other.
//! Liveness stays in memory: it goes to the driver, which decides what silence means. Nothing that a node repeats is written.

mod tokens;

use std::{fmt, sync::Arc};

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::{
    dispatch::tombstone_key, node_identity, node_lease, node_status, pod_status, view::Liveness,
};
use dunlin_link::{
    NodeName, PodUid,
    assignment::Refusal,
    node_network::NodeNetwork,
    node_state::NodeState,
    session::registry::CloneNews,
    statics::{StaticPod, StaticPodName},
    status::{NodeEvent, NodeFacts, PodStatusReport},
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

pub use dunlin_link::session::coordinator::Recorded;

use crate::{
    dispatch::Dispatch,
    events::{Occurrence, Recorder, Regarding, Severity},
    mirrors::{StaticPods, Tended},
    service::{ApiService, Clock, ModifyError, ObjectRef, User},
    store::{Compare, Store, StoreError, Txn, Write},
};

/// Handle used by node sessions; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    service: ApiService,
    store: Store,
    dispatch: Dispatch,
    recorder: Recorder,
    clock: Clock,
    statics: StaticPods,
    /// Where the driver hears of sessions.
    liveness: mpsc::Sender<(NodeName, Liveness)>,
}

/// What an intake is made of.
pub(crate) struct Parts {
    pub(crate) service: ApiService,
    pub(crate) store: Store,
    pub(crate) dispatch: Dispatch,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) liveness: mpsc::Sender<(NodeName, Liveness)>,
}

impl Intake {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { service, store, dispatch, recorder, clock, liveness } = parts;
        let statics = StaticPods::new(service.clone(), dispatch.clone(), recorder.clone(), clock.clone());
        Self { inner: Arc::new(Inner { service, store, dispatch, recorder, clock, statics, liveness }) }
    }

    /// A node's session opened: registers or updates its Node object and marks it Ready.
    pub async fn connected(&self, node: &NodeName, facts: NodeFacts) {
        self.inner.service.contacts().opened(node);
        self.tell(node, Liveness::Live).await;
        if let Err(status) = self.inner.register(node, &facts).await {
            tracing::error!(%node, error = status.message(), "a node cannot be registered");
        }
    }

    /// The node tells what it runs short of, whether it goes down, and which images it has.
    pub async fn state(&self, node: &NodeName, state: NodeState) {
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let now = self.inner.clock.now();
        let merge = |stored: &mut Value| node_status::merge_state(stored, &state, now);
        let merged = self.inner.service.modify(&User::node(node), object, "status", None, merge).await;
        if let Err(error @ ModifyError::Refused(_)) = merged {
            tracing::warn!(%node, %error, "a node's state cannot be stored");
        }
    }

    /// The node tells whether its pods get a network.
    pub async fn network(&self, node: &NodeName, network: NodeNetwork) {
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let now = self.inner.clock.now();
        let merge = |stored: &mut Value| node_status::merge_network(stored, &network, now);
        let merged = self.inner.service.modify(&User::node(node), object, "status", None, merge).await;
        if let Err(error @ ModifyError::Refused(_)) = merged {
            tracing::warn!(%node, %error, "what a node says of its network cannot be stored");
        }
    }

    /// The node does not tell whether its pods get a network: what it told before counts no more.
    pub async fn no_network(&self, node: &NodeName) {
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let forgotten = self
            .inner
            .service
            .modify(&User::node(node), object, "status", None, node_status::forget_network)
            .await;
        if let Err(error @ ModifyError::Refused(_)) = forgotten {
            tracing::warn!(%node, %error, "what a node said of its network cannot be taken away");
        }
    }

    /// The node's current session ended or fell silent.
    pub async fn disconnected(&self, node: &NodeName) {
        self.inner.statics.forget(node);
        let now = self.inner.clock.now();
        self.inner.service.contacts().closed(node, now);
        self.tell(node, Liveness::Silent(now)).await;
    }

    /// The node says which static pods it has.
    pub fn static_pods(&self, node: &NodeName, pods: Vec<StaticPodName>) {
        self.inner.statics.stated(node, pods);
    }

    /// The node says what a static pod is that it was asked about.
    pub async fn static_pod(&self, node: &NodeName, pod: StaticPod) {
        self.inner.statics.told(node, pod).await;
    }

    /// Brings the mirrors of a node's static pods into step with what it stated, as far as that goes without asking it.
    pub async fn tend_mirrors(&self, node: &NodeName) -> Tended {
        self.inner.statics.tend(node).await
    }

    /// Two machines use the node's key, or only one again: a condition and an event say so.
    pub async fn cloned(&self, node: &NodeName, news: CloneNews) {
        let now = self.inner.clock.now();
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let mark = |stored: &mut Value| match news {
            CloneNews::Cloned => node_identity::mark_cloned(stored, now),
            CloneNews::Single => node_identity::unmark_cloned(stored),
        };
        let marked = self.inner.service.modify(&User::node(node), object, "status", None, mark).await;
        if let Err(error @ ModifyError::Refused(_)) = marked {
            tracing::warn!(%node, %error, "a cloned node cannot be marked");
        }
        let event = NodeEvent {
            pod: None,
            warning: news == CloneNews::Cloned,
            reason: node_identity::event_reason(news).to_owned(),
            message: node_identity::event_message(news, node),
            at: self.inner.clock.now_millis(),
        };
        self.inner.recorder.record(occurrence(node, event, 0));
    }

    /// Whether the node's object says that the node was cloned.
    pub async fn is_cloned(&self, node: &NodeName) -> bool {
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        // A node that does not exist, or that cannot be read now, is not marked as far as anyone knows.
        self.inner
            .service
            .get(&User::node(node), object)
            .await
            .is_ok_and(|node| node_identity::is_marked_cloned(&node))
    }

    /// Stores pod statuses; `clock_offset_ms` is added to every time in them. Answers in the order of `reports`.
    pub async fn pod_statuses(
        &self,
        node: &NodeName,
        reports: Vec<PodStatusReport>,
        clock_offset_ms: i64,
    ) -> Vec<(PodUid, Recorded)> {
        stream::iter(reports)
            .map(|report| async move {
                let recorded = self.inner.pod_status(node, &report, clock_offset_ms).await;
                (report.uid, recorded)
            })
            .buffered(WRITES_IN_FLIGHT_MAX)
            .collect()
            .await
    }

    /// Records events that a node saw.
    #[expect(clippy::unused_async, reason = "sessions await every intake; this one only hands over")]
    pub async fn events(&self, node: &NodeName, events: Vec<NodeEvent>, clock_offset_ms: i64) {
        let desired = self.inner.dispatch.desired(node);
        for event in events {
            let list = event.pod.as_ref().and_then(|pod| {
                let assignment = &desired.pods.get(&pod.uid)?.assignment;
                Some((assignment.list_of(&pod.container)?, pod.container.clone()))
            });
            let mut occurrence = occurrence(node, event, clock_offset_ms);
            if let Some((list, container)) = list {
                occurrence.regarding.field_path = format!("spec.{list}{{{container}}}");
            }
            self.inner.recorder.record(occurrence);
        }
    }

    /// The node refused to run pods: they become Failed with the reason.
    pub async fn refused(&self, node: &NodeName, refusals: Vec<Refusal>) {
        stream::iter(refusals)
            .for_each_concurrent(WRITES_IN_FLIGHT_MAX, |refusal| async move {
                self.inner.refused(node, &refusal).await;
            })
            .await;
    }

    /// The node confirmed that these tombstoned pods are stopped and that it has been told to forget them.
    pub async fn buried(&self, node: &NodeName, uids: Vec<PodUid>) {
        stream::iter(uids)
            .for_each_concurrent(WRITES_IN_FLIGHT_MAX, |uid| async move {
                self.inner.forget(node, &uid).await;
            })
            .await;
    }

    async fn tell(&self, node: &NodeName, liveness: Liveness) {
        // The driver is gone only when the coordinator shuts down, and then nobody asks any more.
        let _ = self.inner.liveness.send((node.clone(), liveness)).await;
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Intake")
    }
}

impl Inner {
    async fn register(&self, node: &NodeName, facts: &NodeFacts) -> Result<(), Status> {
        let user = User::node(node);
        let now = self.clock.now();
        let object = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let merge_status = |stored: &mut Value| node_status::merge_status(stored, facts, now);
        match self.service.modify(&user, object, "status", None, merge_status).await {
            Err(ModifyError::Gone(_)) => {
                let fresh = node_status::new_node(node, facts, now);
                self.service.create(&user, node_kind(), "", fresh).await?;
                let stored = self.service.modify(&user, object, "status", None, merge_status).await?;
                self.lease(node, &stored).await
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                let merge_labels = |stored: &mut Value| node_status::merge_labels(stored, node, facts);
                let stored = self.service.modify(&user, object, "", None, merge_labels).await?;
                self.lease(node, &stored).await
            }
        }
    }

    /// Sees to it that the node has its Lease, as kubelets have theirs. It is written once; reading it renews it.
    async fn lease(&self, node: &NodeName, stored: &Value) -> Result<(), Status> {
        let (user, kind, now) = (User::node(node), node_lease::kind(), self.clock.now());
        let uid = stored["metadata"]["uid"].as_str().unwrap_or_default();
        let object = ObjectRef { kind, namespace: node_lease::NAMESPACE, name: node.as_str() };
        match self.service.get(&user, object).await {
            Ok(lease) if node_lease::is_of(&lease, uid) => Ok(()),
            Ok(_) => {
                let claim = |lease: &mut Value| node_lease::claim(lease, node, uid, now);
                self.service.modify(&user, object, "", None, claim).await.map(drop).map_err(Status::from)
            }
            Err(status) if status.code() == NOT_FOUND => {
                let lease = node_lease::of(node, uid, now);
                self.service.create(&user, kind, node_lease::NAMESPACE, lease).await.map(drop)
            }
            Err(status) => Err(status),
        }
    }

    async fn pod_status(&self, node: &NodeName, report: &PodStatusReport, clock_offset_ms: i64) -> Recorded {
        let uid = &report.uid;
        let user = User::node(node);
        let object = ObjectRef { kind: pod_kind(), namespace: &report.namespace, name: &report.name };
        let merge = |pod: &mut Value| pod_status::merge(pod, report, clock_offset_ms);
        let stored = match self.service.modify(&user, object, "status", Some(uid.as_str()), merge).await {
            Ok(stored) => stored,
            Err(error) => return self.not_stored(node, report, &error).await,
        };
        self.service.held_pods().ended(node, uid);
        // Only now it is sure that the pod is this node's.
        self.service.endpoints().set(node, uid, report.local_endpoints.clone());
        if !report.stopped || stored["metadata"]["deletionTimestamp"].is_null() {
            return Recorded::Done;
        }
        let (namespace, name) = (&report.namespace, &report.name);
        match self.service.remove_stopped_pod(&user, namespace, name, uid.as_str()).await {
            Ok(()) => {
                self.service.endpoints().set(node, uid, Vec::new());
                Recorded::Done
            }
            Err(error) => self.not_stored(node, report, &error).await,
        }
    }

    async fn not_stored(&self, node: &NodeName, report: &PodStatusReport, error: &ModifyError) -> Recorded {
        if let ModifyError::Refused(_) = error {
            let (namespace, name) = (&report.namespace, &report.name);
            tracing::warn!(%node, namespace, name, %error, "a pod's status cannot be stored");
            return Recorded::Retry;
        }
        // A pod of the node's own: its mirror is still to be made, or cannot be. The node reports again what it is asked about.
        if self.statics.has(node, &report.uid) {
            return Recorded::Gone;
        }
        if report.stopped {
            self.forget(node, &report.uid).await;
        } else {
            self.service.held_pods().heard(node, report);
        }
        Recorded::Gone
    }

    async fn refused(&self, node: &NodeName, refusal: &Refusal) {
        let desired = self.dispatch.desired(node);
        let Some(pod) = desired.pods.get(&refusal.uid) else { return };
        let (namespace, name) = (&pod.assignment.namespace, &pod.assignment.name);
        let object = ObjectRef { kind: pod_kind(), namespace, name };
        let now = self.clock.now();
        let refuse = |pod: &mut Value| pod_status::refuse(pod, &refusal.reason, &refusal.message, now);
        let uid = refusal.uid.as_str();
        let stored = self.service.modify(&User::node(node), object, "status", Some(uid), refuse).await;
        if let Err(error @ ModifyError::Refused(_)) = stored {
            tracing::warn!(%node, namespace, name, %error, "a refusal cannot be stored");
        }
    }

    /// Forgets a pod that is gone and has stopped, its tombstone's record included.
    async fn forget(&self, node: &NodeName, uid: &PodUid) {
        self.service.held_pods().ended(node, uid);
        self.service.endpoints().set(node, uid, Vec::new());
        if let Err(error) = self.delete_tombstone(node, uid).await {
            tracing::warn!(%node, %uid, %error, "a tombstone cannot be removed");
        }
    }

    async fn delete_tombstone(&self, node: &NodeName, uid: &PodUid) -> Result<(), StoreError> {
        let Some(found) = self.store.get(&tombstone_key(node, uid)).await? else { return Ok(()) };
        let compares = vec![Compare::ModRevision(found.key.clone(), found.mod_revision)];
        // Whoever else changed it meanwhile removed it.
        self.store.txn(Txn { compares, writes: vec![Write::Delete(found.key)] }).await.map(drop)
    }
}

pub(crate) fn occurrence(node: &NodeName, event: NodeEvent, clock_offset_ms: i64) -> Occurrence {
    let at = Timestamp::from_millisecond(event.at.0.saturating_add(clock_offset_ms)).unwrap_or_default();
    let regarding = match event.pod {
        Some(pod) => Regarding {
            api_version: "v1".into(),
            kind: "Pod",
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid.as_str().to_owned(),
            field_path: match pod.container.as_str() {
                "" => String::new(),
                container => format!("spec.containers{{{container}}}"),
            },
        },
        // Events about a node carry its name as uid, which is what `kubectl describe node` looks for.
        None => Regarding {
            api_version: "v1".into(),
            kind: "Node",
            namespace: String::new(),
            name: node.as_str().to_owned(),
            uid: node.as_str().to_owned(),
            field_path: String::new(),
        },
    };
    Occurrence {
        user: User::node(node),
        regarding,
        severity: if event.warning { Severity::Warning } else { Severity::Normal },
        reason: event.reason,
        message: event.message,
        component: "kubelet",
        host: node.as_str().to_owned(),
        at,
    }
}

pub(crate) fn pod_kind() -> &'static Kind {
    kind::by_kind("v1", "Pod").expect("the registry has pods")
}

pub(crate) fn node_kind() -> &'static Kind {
    kind::by_kind("v1", "Node").expect("the registry has nodes")
}

/// Code of a status.
const NOT_FOUND: u16 = 404;

/// Writes of one batch under way at once: enough to share the store's flushes, few enough to leave room for others.
const WRITES_IN_FLIGHT_MAX: usize = 128;
