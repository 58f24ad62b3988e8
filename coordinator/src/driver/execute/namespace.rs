//! What is left of a namespace that is being deleted, told in its status.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    namespace_status::{Remains, tell_remains},
    view::Resource,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{DELETED_AT_ONCE, Executor, NAMESPACES, by_kind};
use crate::{
    service::{ObjectRef, User, stored},
    store::{ListOptions, StoreError},
};

impl Executor {
    /// Looks at what is left of these kinds. Of a namespace that is empty by now the next plan takes the finalizer.
    pub(super) async fn tell_remains(
        &self,
        name: &str,
        uid: &str,
        resources: &[Resource],
        now: Timestamp,
    ) -> Result<(), Status> {
        let mut remains = Remains::default();
        for resource in resources {
            self.count_remains(name, *resource, &mut remains).await?;
        }
        if remains.is_empty() {
            return Ok(());
        }
        let object = ObjectRef { kind: by_kind("Namespace"), namespace: "", name };
        let tell = |namespace: &mut Value| tell_remains(namespace, &remains, now);
        let user = User::controller(NAMESPACES);
        self.service.modify(&user, object, "status", Some(uid), tell).await.map(drop).map_err(Status::from)
    }

    async fn count_remains(
        &self,
        namespace: &str,
        resource: Resource,
        remains: &mut Remains,
    ) -> Result<(), Status> {
        let Some(kind) = resource.kind() else { return Ok(()) };
        let prefix = stored::prefix(kind, namespace);
        let mut options = ListOptions { prefix, after: None, limit: Some(DELETED_AT_ONCE), at: None };
        loop {
            let unavailable = |error: StoreError| Status::service_unavailable(error.to_string());
            let page = self.store.list_part(options.clone()).await.map_err(unavailable)?;
            options.after = page.items.last().map(|item| item.key.clone());
            for item in &page.items {
                let object = stored::decode(&item.value, item.mod_revision).map_err(Status::internal)?;
                remains.add(format!("{}.{}", resource.plural, resource.group), &object);
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}
