//! What servers beside this one need to know of who may ask it: whose certificates are good.

use dunlin_api::{Status, kind};
use serde_json::{Value, json};

use super::BootstrapError;
use crate::service::{ApiService, ObjectRef, User};

impl ApiService {
    /// Publishes the authority of users' certificates (PEM) where Kubernetes' extension servers look for it, and puts it right there. What
    /// else is published stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn publish_authority(&self, certificate: &str) -> Result<(), BootstrapError> {
        self.ensure_authority(certificate).await.map_err(BootstrapError::Authority)
    }

    async fn ensure_authority(&self, certificate: &str) -> Result<(), Status> {
        let user = User::controller_manager();
        let kind = kind::by_kind("v1", "ConfigMap").expect("the registry has config maps");
        let object = ObjectRef { kind, namespace: NAMESPACE, name: NAME };
        if self.read_value(object).await?.is_none() {
            let map = json!({"metadata": {"name": NAME}, "data": {KEY: certificate}});
            return self.create(&user, kind, NAMESPACE, map).await.map(drop);
        }
        let put = |map: &mut Value| {
            let is_changed = map["data"][KEY] != certificate;
            map["data"][KEY] = certificate.into();
            is_changed
        };
        self.modify(&user, object, "", None, put).await.map(drop).map_err(Status::from)
    }
}

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";
const KEY: &str = "client-ca-file";
