//! What admission has to know of the cluster: a pod's service account and runtime class, priority classes, and what Pod Security asks for.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_api::{
    Status,
    admission::{
        self, PriorityClass, Surroundings,
        pod_security::{self, Around, Concern, Policy},
    },
    pipeline::Target,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    ApiService,
    change::decode,
    followed::Projection,
    get::pod_kind,
    path::{ResourceRequest, Verb},
    store_failed,
    stored::{self, StoredKey},
};

/// All priority classes, by name.
#[derive(Debug, Default)]
pub(super) struct PriorityClasses(BTreeMap<Box<str>, Class>);

#[derive(Debug)]
struct Class {
    class: PriorityClass,
    is_default: bool,
}

impl ApiService {
    /// What is around an object that is about to be created.
    ///
    /// # Errors
    /// 403 when a pod names an account that is not there.
    pub(super) async fn surroundings(
        &self,
        request: &ResourceRequest,
        object: &Value,
    ) -> Result<Surroundings, Status> {
        let around = self.around(request, Target::Object).await?;
        let Some(needs) = admission::needs(request.kind, object) else {
            return Ok(Surroundings { around, ..Surroundings::default() });
        };
        let service_account = match needs.service_account {
            Some(name) => Some(self.account_of(request, object, name).await?),
            None => None,
        };
        let classes = &self.inner.priority_classes;
        let priority_class = classes.look(self.store(), |classes| classes.find(needs.priority_class)).await;
        let runtime_class = match needs.runtime_class {
            Some(name) => self.find_of("node.k8s.io/v1", "RuntimeClass", ("", name)).await?,
            None => None,
        };
        Ok(Surroundings {
            service_account,
            priority_class: priority_class.map_err(store_failed)?,
            runtime_class,
            around,
        })
    }

    /// What Pod Security holds an object against that is written.
    pub(super) async fn around(&self, request: &ResourceRequest, target: Target) -> Result<Around, Status> {
        match pod_security::concern(request.kind) {
            Some(Concern::Policy) if matches!(target, Target::Object | Target::Ephemeral) => {
                let namespace = self.find_core("Namespace", "", &request.namespace).await?;
                let labels = namespace.map(|namespace| namespace["metadata"]["labels"].clone());
                let policy = Policy::of_labels(&labels.unwrap_or_default()).0;
                Ok(if policy.asks_for_something() { Around::Policy(policy) } else { Around::Nothing })
            }
            Some(Concern::Pods) if target == Target::Object && request.verb != Verb::Create => {
                Ok(Around::Pods(self.pods_of(&request.name).await?))
            }
            _ => Ok(Around::Nothing),
        }
    }

    async fn pods_of(&self, namespace: &str) -> Result<Arc<[Value]>, Status> {
        let pods = self.all_below(&stored::prefix(pod_kind(), namespace)).await?;
        pods.iter().map(decode).collect()
    }

    async fn account_of(&self, request: &ResourceRequest, pod: &Value, name: &str) -> Result<Value, Status> {
        let namespace = &request.namespace;
        let found = self.find_core("ServiceAccount", namespace, name).await?;
        found.ok_or_else(|| {
            let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
            let detail = format!(
                "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
            );
            Status::forbidden(request.kind, pod, &detail)
        })
    }

    /// Refuses a second class for pods that name none.
    pub(super) async fn check_default_class(
        &self,
        request: &ResourceRequest,
        class: &Value,
    ) -> Result<(), Status> {
        if request.kind.kind != "PriorityClass" || class["globalDefault"] != true {
            return Ok(());
        }
        let name = class["metadata"]["name"].as_str().unwrap_or_default();
        let classes = &self.inner.priority_classes;
        let other = classes.look(self.store(), |classes| classes.default_but_for(name)).await;
        match other.map_err(store_failed)? {
            None => Ok(()),
            Some(other) => {
                let detail =
                    format!("PriorityClass {other} is already marked as default. Only one default can exist");
                Err(Status::forbidden(request.kind, name, &detail))
            }
        }
    }
}

impl PriorityClasses {
    /// The class of this name; of several defaults the lowest counts, when the name is empty.
    fn find(&self, name: &str) -> Option<PriorityClass> {
        let found = match name {
            "" => self.0.values().filter(|class| class.is_default).min_by_key(|class| class.class.value),
            name => self.0.get(name),
        };
        found.map(|class| class.class.clone())
    }

    fn default_but_for(&self, name: &str) -> Option<String> {
        let mut defaults = self.0.values().filter(|class| class.is_default && class.class.name != name);
        defaults.next().map(|class| class.class.name.clone())
    }
}

impl Projection for PriorityClasses {
    fn put(&mut self, key: StoredKey<'_>, json: &[u8]) {
        match serde_json::from_slice::<Shape>(json) {
            Ok(Shape { value, global_default, preemption_policy }) => {
                let class = PriorityClass { name: key.name.to_owned(), value, preemption_policy };
                self.0.insert(key.name.into(), Class { class, is_default: global_default });
            }
            Err(error) => {
                tracing::error!(name = key.name, %error, "a stored priority class cannot be decoded");
                self.remove(key);
            }
        }
    }

    fn remove(&mut self, key: StoredKey<'_>) {
        self.0.remove(key.name);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    value: i64,
    #[serde(default)]
    global_default: bool,
    #[serde(default = "preempts")]
    preemption_policy: String,
}

fn preempts() -> String {
    "PreemptLowerPriority".to_owned()
}
