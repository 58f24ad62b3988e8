//! Reads everything once, and says from where to watch.

use dunlin_coordinator_core::{
    ObjectKey, View,
    dispatch::{self, Change, ConfigKey, DesiredSets, Subject},
    reconciler::{Key, Reconciler},
    scheduler::PLATFORMS_PREFIX,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Control, DriverError, fold::Kept};
use crate::{
    dispatch::Loading,
    service::stored::{self, StoredKey},
    store::{KeyValue, ListOptions, StoreError, Watch, value::StoredObject},
};

impl Control {
    /// Reads the whole store into the view and the desired sets, and starts to watch where the reading ended. After a gap in the
    /// watch everything is read again; what is known of sessions and images stays.
    pub(super) async fn load(&mut self) -> Result<Watch, DriverError> {
        let now = self.clock.now();
        let mut view = View::new(self.reconciler.view.started(), self.reconciler.view.node_grace());
        for (name, entry) in self.reconciler.view.nodes() {
            view.set_liveness(name, entry.liveness);
        }
        view.take_linux_images(&mut self.reconciler.view);
        let memories = self.reconciler.take_memories();
        self.reconciler = Reconciler::new(view);
        self.reconciler.remember(memories);
        let mut loading = self.dispatch.loading();
        let mut options =
            ListOptions { prefix: EVERYTHING.to_owned(), after: None, limit: Some(PAGE), at: None };
        let revision = loop {
            let page = self.store.list_part(options.clone()).await?;
            options.at = Some(page.revision);
            options.after = page.items.last().map(|item| item.key.clone());
            for item in page.items {
                self.load_one(&mut loading, item, now);
            }
            if !page.more {
                break page.revision;
            }
        };
        for key in loading.unread_config() {
            let change = self.read_config(key).await?;
            loading.apply(&change);
        }
        self.dispatch.replace(loading, revision);
        self.reconciler.keys.seen(revision);
        self.reconciler.keys.touch(Key::Pods);
        self.reconciler.keys.touch(Key::ClusterRoles);
        Ok(self.store.watch(EVERYTHING, revision).await?)
    }

    /// The current content of a ConfigMap or Secret.
    pub(super) async fn read_config(&self, key: ConfigKey) -> Result<Change, StoreError> {
        let kind = dispatch::config_resource(key.kind);
        let found = self.store.get(&stored::key(kind, &key.key.namespace, &key.key.name)).await?;
        // One that does not exist is known not to, as of now.
        let revision = found.as_ref().map_or_else(|| self.store.revision(), |found| found.mod_revision);
        let json = found.and_then(|found| json_of(&found.key, &found.value));
        Ok(Change { revision, subject: Subject::ConfigRead(key), json })
    }

    fn load_one(&mut self, loading: &mut Loading, item: KeyValue, now: Timestamp) {
        let KeyValue { key, value, mod_revision: revision } = item;
        if DesiredSets::wants(&key) {
            loading.apply(&Change { revision, subject: Subject::Record(key), json: Some(value) });
            return;
        }
        if let Some(image) = key.strip_prefix(PLATFORMS_PREFIX) {
            return self.reconciler.view.set_own_image(image, Some(&value));
        }
        let Some(stored) = StoredKey::parse(&key) else { return };
        let object = ObjectKey::new(stored.namespace, stored.name);
        let Some(json) = json_of(&key, &value) else { return };
        // A pod's assignment is as old as the last write of what it is made of; statuses come and go.
        let changed_at =
            StoredObject::from_value(&value).map_or(revision, |value| value.changed_at(revision));
        self.count_created(stored.kind, &object);
        self.fold_owners(stored.kind, &object, &json);
        match Kept::of(stored.kind) {
            Kept::Pod => {
                loading.apply(&Change {
                    revision: changed_at,
                    subject: Subject::Pod(object.clone()),
                    json: Some(json.clone()),
                });
                self.fold_pod(stored.kind, &object, &json, now);
            }
            Kept::Node => self.fold_node(stored.kind, &object, &json),
            Kept::Namespace => self.fold_namespace(stored.kind, &object, &json),
            Kept::CertificateRequest => self.fold_certificate_request(stored.kind, &object, &json),
            Kept::Event => self.recorder.stored(&object, last_seen(&json).unwrap_or(now)),
            Kept::Autoscaler => self.fold_autoscaler(stored.kind, &object, &json),
            Kept::Budget => self.fold_budget(stored.kind, &object, &json),
            Kept::Claim => self.fold_claim(stored.kind, &object, &json),
            Kept::Service | Kept::Slice | Kept::Endpoints => {
                self.fold_of_service(stored.kind, &object, &json);
            }
            Kept::Workload => self.fold_workload(stored.kind, &object, &json),
            Kept::Storage(storage) => self.fold_storage(stored.kind, storage, &object, &json),
            // Content for nodes is read below when a pod turns out to name it.
            Kept::Config(config) => self.fold_config(stored.kind, config, &object, Some(&json[..])),
            Kept::ClusterRole | Kept::Nothing => {}
        }
    }
}

/// The JSON of a stored object, without copying it.
pub(super) fn json_of(key: &str, value: &bytes::Bytes) -> Option<bytes::Bytes> {
    match StoredObject::from_value(value) {
        Ok(object) => Some(value.slice_ref(object.json())),
        Err(error) => {
            tracing::error!(key, %error, "a stored object is malformed");
            None
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventShape {
    #[serde(default)]
    last_timestamp: Option<Timestamp>,
    #[serde(default)]
    event_time: Option<Timestamp>,
    #[serde(default)]
    series: Option<SeriesShape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeriesShape {
    #[serde(default)]
    last_observed_time: Option<Timestamp>,
}

fn last_seen(json: &[u8]) -> Option<Timestamp> {
    let event: EventShape = serde_json::from_slice(json).ok()?;
    let in_series = event.series.and_then(|series| series.last_observed_time);
    [event.last_timestamp, in_series, event.event_time].into_iter().flatten().max()
}

/// The prefix of every key.
const EVERYTHING: &str = "/";

/// Keys read at once, which bounds what is in memory beside the view.
const PAGE: usize = 500;
