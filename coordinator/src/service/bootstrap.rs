//! What a cluster has from its first start.

mod authority;
mod network;
mod policy;

use dunlin_api::{Status, kind};
use serde_json::json;

use super::{ApiService, ObjectRef, User};

/// What every cluster has could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// A namespace of the system, or its service account.
    #[error("failed to create the namespace `{namespace}`")]
    Namespace {
        /// Which.
        namespace: &'static str,
        /// Why.
        #[source]
        source: Status,
    },
    /// The range of addresses of Services, or the API's own Service.
    #[error("failed to create the Service of the API")]
    Network(#[source] Status),
    /// Roles, bindings, priority classes and what is of flow control.
    #[error("failed to bring the default roles up to date")]
    Policy(#[source] Status),
    /// The authority of users' certificates.
    #[error("failed to publish the authority of certificates")]
    Authority(#[source] Status),
}

impl ApiService {
    /// Makes the system's namespaces with their `default` service accounts, roles, bindings, priority classes, what is of flow control,
    /// and the API's own Service, where they are missing, and brings what an older release made up to date.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bootstrap(&self) -> Result<(), BootstrapError> {
        for namespace in SYSTEM_NAMESPACES {
            let ensured = self.ensure_namespace(namespace).await;
            ensured.map_err(|source| BootstrapError::Namespace { namespace, source })?;
        }
        self.ensure_policy().await.map_err(BootstrapError::Policy)?;
        self.ensure_network().await.map_err(BootstrapError::Network)
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
