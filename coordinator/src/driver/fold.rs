//! Hands changes of the store to the sessions' sets and to the reconciler.

use std::collections::BTreeMap;

use dunlin_api::Kind;
use dunlin_coordinator_core::{
    ObjectKey,
    controllers::root_ca,
    dispatch::{self, Change, ConfigKey, DesiredSets, Subject},
    reconciler::{Key, Needs, RootCa},
    scheduler::PLATFORMS_PREFIX,
    view::{DecodeError, Resource, workload},
};
use dunlin_link::{NodeName, Revision, pod::ConfigKind};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Control, DriverError, guard::guarded, load::json_of};
use crate::{service::stored::StoredKey, store::WatchEvent};

/// What of a kind's objects is kept in memory.
pub(super) enum Kept {
    Pod,
    Node,
    Namespace,
    /// Only when it expires.
    Event,
    Autoscaler,
    Budget,
    Claim,
    Service,
    Slice,
    Endpoints,
    Workload,
    /// Only where pods can use it.
    Storage(Stored),
    /// Only what bound pods name, and what the system keeps in them.
    Config(ConfigKind),
    /// Only that there was a change.
    ClusterRole,
    /// Only whether it is to be signed, and when it goes.
    CertificateRequest,
    /// Only how many there are.
    Nothing,
}

/// A kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Volume,
    Class,
}

impl Kept {
    pub(super) fn of(kind: &Kind) -> Self {
        if let Some(config) = dispatch::config_kind(kind) {
            return Self::Config(config);
        }
        match (kind.group, kind.plural) {
            ("", "pods") => Self::Pod,
            ("", "nodes") => Self::Node,
            ("", "namespaces") => Self::Namespace,
            ("", "events") => Self::Event,
            ("rbac.authorization.k8s.io", "clusterroles") => Self::ClusterRole,
            ("certificates.k8s.io", "certificatesigningrequests") => Self::CertificateRequest,
            ("autoscaling", "horizontalpodautoscalers") => Self::Autoscaler,
            ("policy", "poddisruptionbudgets") => Self::Budget,
            ("", "persistentvolumeclaims") => Self::Claim,
            ("", "services") => Self::Service,
            ("", "endpoints") => Self::Endpoints,
            ("discovery.k8s.io", "endpointslices") => Self::Slice,
            ("", "persistentvolumes") => Self::Storage(Stored::Volume),
            ("storage.k8s.io", "storageclasses") => Self::Storage(Stored::Class),
            _ if workload::is_workload(kind) => Self::Workload,
            _ => Self::Nothing,
        }
    }
}

impl Control {
    /// Folds in a batch: first what sessions wait for, then what controllers and scheduler look at.
    pub(super) async fn fold(&mut self, events: Vec<WatchEvent>) -> Result<(), DriverError> {
        let Some(revision) = events.last().map(|event| event.revision) else { return Ok(()) };
        self.tell_sessions(&events, revision).await?;
        let now = self.clock.now();
        for event in &events {
            guarded(&event.key, || self.fold_event(event, now));
        }
        self.reconciler.keys.seen(revision);
        Ok(())
    }

    fn fold_event(&mut self, event: &WatchEvent, now: Timestamp) {
        if let Some(image) = event.key.strip_prefix(PLATFORMS_PREFIX) {
            return self.reconciler.own_image(image, event.value.as_deref());
        }
        let Some(stored) = StoredKey::parse(&event.key) else { return };
        let key = ObjectKey::new(stored.namespace, stored.name);
        if event.previous.is_none() {
            self.count_created(stored.kind, &key);
        }
        match event.value.as_ref().and_then(|value| json_of(&event.key, value)) {
            Some(json) => {
                self.fold_owners(stored.kind, &key, &json);
                self.fold_object(stored.kind, &key, &json, now);
            }
            None => {
                let last = event.previous.as_ref().and_then(|(value, _)| json_of(&event.key, value));
                self.forget_owners(stored.kind, &key, last.as_deref());
                self.forget_object(stored.kind, &key, now);
            }
        }
    }

    async fn tell_sessions(&self, events: &[WatchEvent], revision: Revision) -> Result<(), DriverError> {
        let mut changes: Vec<Change> = events.iter().filter_map(change).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let missing = self.dispatch.missing_config(&changes);
        if !missing.is_empty() {
            let mut read = Vec::with_capacity(missing.len());
            for key in missing {
                read.push(self.read_config(key).await?);
            }
            changes.splice(0..0, read);
        }
        self.publish(&changes, revision);
        Ok(())
    }

    fn fold_object(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8], now: Timestamp) {
        match Kept::of(kind) {
            Kept::Pod => self.fold_pod(kind, key, json, now),
            Kept::Node => self.fold_node(kind, key, json),
            Kept::Namespace => self.fold_namespace(kind, key, json),
            Kept::Event => self.recorder.stored(key, now),
            Kept::Autoscaler => self.fold_autoscaler(kind, key, json),
            Kept::Budget => self.fold_budget(kind, key, json),
            Kept::Claim => self.fold_claim(kind, key, json),
            Kept::Service | Kept::Slice | Kept::Endpoints => self.fold_of_service(kind, key, json),
            Kept::Workload => self.fold_workload(kind, key, json),
            Kept::Storage(storage) => self.fold_storage(kind, storage, key, json),
            Kept::ClusterRole => self.reconciler.keys.touch(Key::ClusterRoles),
            Kept::CertificateRequest => self.fold_certificate_request(kind, key, json),
            Kept::Config(config) => self.fold_config(kind, config, key, Some(json)),
            Kept::Nothing => {}
        }
    }

    fn forget_object(&mut self, kind: &Kind, key: &ObjectKey, now: Timestamp) {
        match Kept::of(kind) {
            Kept::Pod => self.reconciler.forget_pod(key),
            Kept::Node => self.reconciler.forget_node(&NodeName::new(&*key.name), now),
            Kept::Namespace => self.reconciler.view.delete_namespace(&key.name),
            Kept::Event => self.recorder.removed(key),
            Kept::Autoscaler => self.reconciler.forget_autoscaler(key),
            Kept::Budget => self.reconciler.view.delete_budget(key),
            Kept::Claim => self.reconciler.forget_claim(key),
            Kept::Service => self.reconciler.forget_service(key),
            Kept::Slice => self.reconciler.forget_slice(key),
            Kept::Endpoints => self.reconciler.forget_endpoints(key),
            Kept::Workload => {
                self.reconciler.forget_workload(Resource::of(kind), key);
            }
            Kept::Storage(Stored::Volume) => self.reconciler.forget_volume(&key.name),
            Kept::Storage(Stored::Class) => self.reconciler.view.delete_storage_class(&key.name),
            Kept::ClusterRole => self.reconciler.keys.touch(Key::ClusterRoles),
            Kept::CertificateRequest => self.reconciler.view.delete_certificate_request(&key.name),
            Kept::Config(config) => self.fold_config(kind, config, key, None),
            Kept::Nothing => {}
        }
        if kind.namespaced {
            self.reconciler.count_deleted(Resource::of(kind), key);
        }
    }

    /// Folds in what the system keeps in ConfigMaps and Secrets: the cluster's certificate and bootstrap tokens.
    pub(super) fn fold_config(
        &mut self,
        kind: &Kind,
        config: ConfigKind,
        key: &ObjectKey,
        json: Option<&[u8]>,
    ) {
        match config {
            ConfigKind::ConfigMap if &*key.name == root_ca::NAME => {
                let is_right = json.is_some_and(|json| holds_only(json, root_ca::KEY, &self.root_ca));
                let state = if is_right { RootCa::Right } else { RootCa::Wrong };
                self.reconciler.fold_root_ca(&key.namespace, state);
            }
            ConfigKind::Secret if &*key.namespace == BOOTSTRAP_TOKENS => match json {
                Some(json) => {
                    let folded = self.reconciler.fold_bootstrap_token(&key.name, json);
                    log_malformed(kind, key, folded);
                }
                None => self.reconciler.view.delete_bootstrap_token(&key.name),
            },
            ConfigKind::ConfigMap | ConfigKind::Secret => {}
        }
    }

    pub(super) fn fold_owners(&mut self, kind: &'static Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_owners(Resource::of(kind), key, json);
        log_malformed(kind, key, folded);
    }

    fn forget_owners(&mut self, kind: &'static Kind, key: &ObjectKey, last: Option<&[u8]>) {
        if let Some(last) = last {
            let folded = self.reconciler.forget_owners(Resource::of(kind), key, last);
            log_malformed(kind, key, folded);
        }
    }

    pub(super) fn count_created(&mut self, kind: &Kind, key: &ObjectKey) {
        if kind.namespaced {
            self.reconciler.count_created(Resource::of(kind), key);
        }
    }

    pub(super) fn fold_pod(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8], now: Timestamp) {
        match self.reconciler.fold_pod(key, json, now) {
            Ok(Needs::Nothing) => {}
            Ok(Needs::GatedMark(pod)) => self.mark_gated(key, &pod, now),
            Err(error) => log_malformed(kind, key, Err(error)),
        }
    }

    pub(super) fn fold_node(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_node(&NodeName::new(&*key.name), json);
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_autoscaler(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_autoscaler(key, json);
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_budget(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_budget(key, json);
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_claim(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_claim(key, json);
        log_malformed(kind, key, folded);
    }

    /// Folds in a Service, or what is written of the pods behind one.
    pub(super) fn fold_of_service(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = match Kept::of(kind) {
            Kept::Service => self.reconciler.fold_service(key, json),
            Kept::Slice => self.reconciler.fold_slice(key, json),
            _ => self.reconciler.fold_endpoints(key, json),
        };
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_workload(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_workload(Resource::of(kind), key, json);
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_storage(&mut self, kind: &Kind, storage: Stored, key: &ObjectKey, json: &[u8]) {
        let folded = match storage {
            Stored::Volume => self.reconciler.fold_volume(&key.name, json),
            Stored::Class => self.reconciler.fold_storage_class(&key.name, json),
        };
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_certificate_request(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_certificate_request(&key.name, json);
        log_malformed(kind, key, folded);
    }

    pub(super) fn fold_namespace(&mut self, kind: &Kind, key: &ObjectKey, json: &[u8]) {
        let folded = self.reconciler.fold_namespace(&key.name, json);
        log_malformed(kind, key, folded);
    }
}

/// Whether a ConfigMap holds this and nothing else.
fn holds_only(json: &[u8], key: &str, text: &str) -> bool {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(default)]
        data: BTreeMap<String, String>,
    }
    let shape: Result<Shape, _> = serde_json::from_slice(json);
    shape.is_ok_and(|shape| shape.data.len() == 1 && shape.data.get(key).is_some_and(|held| held == text))
}

/// The namespace of bootstrap tokens.
const BOOTSTRAP_TOKENS: &str = "kube-system";

fn log_malformed(kind: &Kind, key: &ObjectKey, folded: Result<(), DecodeError>) {
    if let Err(error) = folded {
        tracing::error!(kind = kind.kind, %key, %error, "a stored object cannot be decoded");
    }
}

/// The change of the desired sets' inputs that an event is, if any.
fn change(event: &WatchEvent) -> Option<Change> {
    let revision = event.revision;
    if DesiredSets::wants(&event.key) {
        return Some(Change {
            revision,
            subject: Subject::Record(event.key.clone()),
            json: event.value.clone(),
        });
    }
    let stored = StoredKey::parse(&event.key)?;
    let key = ObjectKey::new(stored.namespace, stored.name);
    let subject = match Kept::of(stored.kind) {
        Kept::Pod => Subject::Pod(key),
        Kept::Config(kind) => Subject::Config(ConfigKey { kind, key }),
        _ => return None,
    };
    let json = event.value.as_ref().and_then(|value| json_of(&event.key, value));
    Some(Change { revision, subject, json })
}
