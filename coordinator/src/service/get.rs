//! Reading one object.

use dunlin_api::Status;
use serde_json::Value;

use super::{
    ApiService, ObjectRef, User,
    authorize::{self, Grant},
    path::{ResourceRequest, Verb},
    stored,
};
use crate::store::ListOptions;

impl ApiService {
    /// Reads an object.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn get(&self, user: &User, object: ObjectRef<'_>) -> Result<Value, Status> {
        let request = object.request(Verb::Get, "");
        let grant = authorize::authorize(user, &request)?;
        self.get_granted(user, &request, &grant).await
    }

    pub(super) async fn get_granted(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
    ) -> Result<Value, Status> {
        if let Grant::NamedConfig(node) = grant
            && !self.names_config(node.as_str(), request).await?
        {
            return Err(authorize::refuse(user, request, &authorize::no_relation(node)));
        }
        let object = self.read(request.object()).await?;
        grant.check_current(user, request, &object)?;
        Ok(object)
    }

    /// Whether a pod bound to `node` names the ConfigMap or Secret asked for.
    async fn names_config(&self, node: &str, request: &ResourceRequest) -> Result<bool, Status> {
        let pods = stored::prefix(pod_kind(), &request.namespace);
        let options = ListOptions { prefix: pods, after: None, limit: None, at: None };
        let page = self.store().list(options).await.map_err(super::store_failed)?;
        for item in &page.items {
            let pod = super::change::decode(item)?;
            if pod["spec"]["nodeName"] == node && authorize::names_config(&pod, request.kind, &request.name) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<'a> ObjectRef<'a> {
    /// The attributes of a request about this object.
    pub(super) fn request(&self, verb: Verb, subresource: &str) -> ResourceRequest {
        ResourceRequest {
            verb,
            kind: self.kind,
            namespace: self.namespace.to_owned(),
            name: self.name.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}

impl ResourceRequest {
    /// The object asked about.
    pub(super) fn object(&self) -> ObjectRef<'_> {
        ObjectRef { kind: self.kind, namespace: &self.namespace, name: &self.name }
    }
}

/// The kind of pods.
pub(super) fn pod_kind() -> &'static dunlin_api::Kind {
    dunlin_api::kind::by_kind("v1", "Pod").expect("the registry has pods")
}
