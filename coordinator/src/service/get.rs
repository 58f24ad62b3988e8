//! Reading one object.

use dunlin_api::Status;
use serde_json::Value;

use super::{
    ApiService, ObjectRef, User,
    authorize::Grant,
    path::{ResourceRequest, Verb},
    served,
};

impl ApiService {
    /// Reads an object.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn get(&self, user: &User, object: ObjectRef<'_>) -> Result<Value, Status> {
        let request = object.request(Verb::Get, "");
        let grant = self.authorize(user, &request).await?;
        served::serve(object.kind, self.get_granted(user, &request, &grant).await?)
    }

    pub(super) async fn get_granted(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
    ) -> Result<Value, Status> {
        let object = self.read(request.object()).await?;
        grant.check_current(user, request, &object)?;
        Ok(object)
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
