//! Keeps the mirrors of a node's static pods in step with what the node states, as user `system:node:NAME`.
//!
//! [`StaticPods::tend`] compares what the node stated last with the mirrors that there are, removes what shows nothing any more, and
//! answers which pods the node has to be asked about; its answers become mirrors by [`StaticPods::told`]. It is called when the node
//! states something, when mirrors change, and after a while when something could not be done. Nothing of it is stored but the mirrors,
//! and where they are in step nothing is written and nobody is asked.

mod stated;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_api::{
    Status,
    pipeline::{self, FieldValidation},
};
use dunlin_coordinator_core::{ObjectKey, mirror};
use dunlin_link::{
    NodeName, PodUid,
    limits::STATIC_PODS_ASKED_MAX,
    statics::{StaticPod, StaticPodName},
    status::NodeEvent,
};
use serde_json::{Value, json};

use self::stated::{Refused, Stated};
use crate::{
    dispatch::Dispatch,
    events::Recorder,
    intake::{node_kind, occurrence, pod_kind},
    service::{ApiService, Clock, ObjectRef, User},
};

/// What nodes with a session have stated of their static pods, and how far their mirrors are.
pub(crate) struct StaticPods {
    service: ApiService,
    dispatch: Dispatch,
    recorder: Recorder,
    clock: Clock,
    nodes: Mutex<HashMap<NodeName, Stated>>,
}

/// What is left to do about a node's mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Static pods that the node has to be asked about.
    pub ask: Vec<PodUid>,
    /// Whether to look again after [`TEND_AGAIN`], although nothing changes.
    pub again: bool,
}

/// What stands in the way of a mirror.
enum Obstacle {
    /// It may go: look again.
    Passing(String),
    /// The node cannot tell what the pod is; its folder may be on a disk that comes later.
    Untold,
    /// It is there for as long as the pod.
    Lasting(String),
    /// None that anyone has to know of: look again.
    Unknown,
}

impl StaticPods {
    pub(crate) fn new(service: ApiService, dispatch: Dispatch, recorder: Recorder, clock: Clock) -> Self {
        Self { service, dispatch, recorder, clock, nodes: Mutex::default() }
    }

    /// The node's session says that these are all.
    pub(crate) fn stated(&self, node: &NodeName, pods: Vec<StaticPodName>) {
        let mut nodes = self.lock();
        nodes.entry(node.clone()).or_default().replace(pods);
    }

    /// The node has no session any more.
    pub(crate) fn forget(&self, node: &NodeName) {
        self.lock().remove(node);
    }

    /// Whether a pod of this uid is one of the node's own.
    pub(crate) fn has(&self, node: &NodeName, uid: &PodUid) -> bool {
        self.lock().get(node).is_some_and(|stated| stated.pod(uid).is_some())
    }

    /// Removes mirrors that show nothing, and finds out which are missing and can be made.
    pub(crate) async fn tend(&self, node: &NodeName) -> Tended {
        let Some(pods) = self.lock().get(node).map(|stated| stated.pods.clone()) else {
            return Tended::default();
        };
        let Some(known) = self.dispatch.mirrors(node) else {
            return Tended { again: true, ..Tended::default() };
        };
        let mirror::Plan { remove, missing } = mirror::plan(&pods, &known);
        let mut tended = Tended::default();
        for (key, uid) in remove {
            tended.again |= !self.remove(node, &key, &uid).await;
        }
        let now = self.clock.now();
        let (room, candidates) =
            self.lock().get_mut(node).map(|stated| stated.candidates(missing, now)).unwrap_or_default();
        // Those on their way may get lost, and those that find no room are looked at when one has arrived.
        tended.again |= room < STATIC_PODS_ASKED_MAX || self.awaits_untold(node);
        for pod in candidates {
            if tended.ask.len() == room {
                break;
            }
            match self.obstacle(node, &pod).await {
                None => tended.ask.push(pod.uid),
                Some(obstacle) => tended.again |= self.meet(node, &pod, obstacle),
            }
        }
        if let Some(stated) = self.lock().get_mut(node) {
            stated.under_way.extend(tended.ask.iter().map(|uid| (uid.clone(), now)));
        }
        tended.again |= !tended.ask.is_empty();
        tended
    }

    /// The node told what a static pod is: makes its mirror.
    pub(crate) async fn told(&self, node: &NodeName, told: StaticPod) {
        let StaticPod { uid, object } = told;
        let pod = self.lock().get(node).and_then(|stated| stated.pod(&uid).cloned());
        // It went while the answer was on its way.
        let Some(pod) = pod else { return };
        let made = match manifest(&object) {
            Ok(manifest) => self.make(node, &pod, &manifest).await,
            Err(obstacle) => Err(obstacle),
        };
        if let Err(obstacle) = made {
            if let Some(stated) = self.lock().get_mut(node) {
                stated.under_way.remove(&uid);
            }
            self.meet(node, &pod, obstacle);
        }
    }

    /// Whether the node is to be asked again about a pod that it could not tell.
    fn awaits_untold(&self, node: &NodeName) -> bool {
        let nodes = self.lock();
        let mut refused = nodes.get(node).into_iter().flat_map(|stated| stated.refused.values());
        refused.any(|refused| *refused != Refused::ForGood)
    }

    /// Says whether the mirror is gone, or nothing that is to be removed.
    async fn remove(&self, node: &NodeName, key: &ObjectKey, uid: &PodUid) -> bool {
        let object = ObjectRef { kind: pod_kind(), namespace: &key.namespace, name: &key.name };
        let options = json!({ "preconditions": { "uid": uid.as_str() } });
        match self.service.delete(&User::node(node), object, options).await {
            Err(status) if status.code() != NOT_FOUND && status.code() != CONFLICT => {
                tracing::warn!(%node, pod = %key, error = status.message(), "a mirror pod cannot be removed");
                false
            }
            _ => true,
        }
    }

    /// What keeps a mirror from being made, as far as can be told before its manifest is here.
    async fn obstacle(&self, node: &NodeName, pod: &StaticPodName) -> Option<Obstacle> {
        let StaticPodName { namespace, name, .. } = pod;
        if let Err(status) = self.service.check_takes_pods(namespace).await {
            return Some(refusal(&status));
        }
        let object = ObjectRef { kind: pod_kind(), namespace, name };
        match self.service.get(&User::node(node), object).await {
            Err(status) if status.code() == NOT_FOUND => None,
            // One that is not folded in yet.
            Ok(found) if dunlin_api::kind::pod::mirror_of(&found).is_some() => Some(Obstacle::Unknown),
            Ok(_) => Some(taken(pod)),
            Err(status) if status.code() == FORBIDDEN => Some(taken(pod)),
            Err(status) => Some(refusal(&status)),
        }
    }

    async fn make(&self, node: &NodeName, pod: &StaticPodName, manifest: &Value) -> Result<(), Obstacle> {
        let user = User::node(node);
        let own = ObjectRef { kind: node_kind(), namespace: "", name: node.as_str() };
        let owner = self.service.get(&user, own).await.map_err(|status| refusal(&status))?;
        let owner = owner["metadata"]["uid"].as_str().unwrap_or_default();
        let mirror = mirror::object(pod, node, owner, manifest);
        // What came over the link is looked at as what a client posts.
        let accepted = pipeline::accept(pod_kind(), mirror, FieldValidation::Ignore);
        let mirror = accepted.map_err(|status| refusal(&status))?.object;
        let made = self.service.create(&user, pod_kind(), &pod.namespace, mirror).await;
        let Err(status) = made else { return Ok(()) };
        match status.code() {
            CONFLICT => Err(taken(pod)),
            // Either what was true when the node was asked is so no more, or it is about what the manifest holds.
            FORBIDDEN => {
                let lasting = || Obstacle::Lasting(status.message().to_owned());
                Err(self.obstacle(node, pod).await.unwrap_or_else(lasting))
            }
            _ => Err(refusal(&status)),
        }
    }

    /// Takes note of what keeps a mirror from being made, and tells it once. Says whether it may go away by itself.
    fn meet(&self, node: &NodeName, pod: &StaticPodName, obstacle: Obstacle) -> bool {
        let (why, refused) = match obstacle {
            Obstacle::Passing(why) => (why, None),
            Obstacle::Untold => (UNTOLD.to_owned(), Some(Refused::Since(self.clock.now()))),
            Obstacle::Lasting(why) => (why, Some(Refused::ForGood)),
            Obstacle::Unknown => return true,
        };
        let mut nodes = self.lock();
        let Some(stated) = nodes.get_mut(node) else { return false };
        if let Some(refused) = refused {
            stated.refused.insert(pod.uid.clone(), refused);
        }
        let is_news = stated.complained.insert(pod.uid.clone());
        drop(nodes);
        if is_news {
            let StaticPodName { namespace, name, .. } = pod;
            tracing::warn!(%node, namespace, name, why, "a static pod has no mirror");
            let event = NodeEvent {
                pod: None,
                warning: true,
                reason: NO_MIRROR.to_owned(),
                message: format!("Static pod {namespace}/{name} runs without a mirror pod: {why}"),
                at: self.clock.now_millis(),
            };
            self.recorder.record(occurrence(node, event, 0));
        }
        refused != Some(Refused::ForGood)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeName, Stated>> {
        // Every change is complete before anything in it can panic.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node told, or why it is none.
fn manifest(object: &[u8]) -> Result<Value, Obstacle> {
    if object.is_empty() {
        return Err(Obstacle::Untold);
    }
    serde_json::from_slice(object)
        .map_err(|error| Obstacle::Lasting(format!("what the node tells is no JSON: {error}")))
}

fn taken(pod: &StaticPodName) -> Obstacle {
    Obstacle::Passing(format!("there is another pod of the name {}/{}", pod.namespace, pod.name))
}

/// A refusal of what was said lasts; one of the moment does not.
fn refusal(status: &Status) -> Obstacle {
    let why = status.message().to_owned();
    match status.code() {
        BAD_REQUEST | INVALID => Obstacle::Lasting(why),
        _ => Obstacle::Passing(why),
    }
}

/// After this a node's mirrors are looked at again when something was left to do. Looking costs a few reads of the store.
pub(crate) const TEND_AGAIN: Duration = Duration::from_secs(10);

/// Why there is no mirror of such a pod.
const UNTOLD: &str = "the node cannot tell its manifest, which is too large or not there now";

/// Reason of the event.
const NO_MIRROR: &str = "FailedMirrorPod";

const BAD_REQUEST: u16 = 400;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const INVALID: u16 = 422;
