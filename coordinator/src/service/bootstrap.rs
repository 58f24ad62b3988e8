//! What a cluster has from its first start.

use dunlin_api::{Status, kind};
use serde_json::json;

use super::{ApiService, ObjectRef, User};

/// The system's namespaces or service accounts could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to create the namespace `{namespace}`")]
pub struct BootstrapError {
    /// Which.
    pub namespace: &'static str,
    /// Why.
    #[source]
    pub source: Status,
}

impl ApiService {
    /// Makes the system's namespaces with their `default` service accounts, where they are missing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        for namespace in SYSTEM_NAMESPACES {
            self.ensure_namespace(namespace).await.map_err(|source| BootstrapError { namespace, source })?;
        }
        Ok(())
    }

    async fn ensure_namespace(&self, name: &str) -> Result<(), Status> {
        let user = User::controller_manager();
        let namespaces = kind::by_kind("v1", "Namespace").expect("the registry has namespaces");
        if self.read_value(ObjectRef { kind: namespaces, namespace: "", name }).await?.is_none() {
            self.create(&user, namespaces, "", json!({"metadata": {"name": name}})).await?;
        }
        let accounts = kind::by_kind("v1", "ServiceAccount").expect("the registry has service accounts");
        if self.read_value(ObjectRef { kind: accounts, namespace: name, name: "default" }).await?.is_none() {
            self.create(&user, accounts, name, json!({"metadata": {"name": "default"}})).await?;
        }
        Ok(())
    }
}

const SYSTEM_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
