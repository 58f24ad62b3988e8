//! Namespaces in the view, and what each of them holds.

use std::sync::Arc;

use super::{DecodeError, Labels, ObjectKey, Resource, View};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// Whether `spec.finalizers` still holds `kubernetes`.
    pub finalizer: bool,
}

impl View {
    /// Folds in a namespace as stored.
    ///
    /// # Errors
    /// When `json` is not a namespace; the view is then unchanged.
    pub fn apply_namespace(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        let info = NamespaceInfo::decode(json)?;
        self.snapshot.apply_namespace(name, &info.labels);
        self.namespaces.insert(name.into(), info);
        Ok(())
    }

    /// Forgets a namespace.
    pub fn delete_namespace(&mut self, name: &str) {
        self.snapshot.delete_namespace(name);
        self.namespaces.remove(name);
        self.contents.remove(name);
    }

    /// Counts an object that came to be in a namespace.
    pub fn object_created(&mut self, resource: Resource, key: &ObjectKey) {
        let kinds = self.contents.entry(Arc::clone(&key.namespace)).or_default();
        *kinds.entry(resource).or_default() += 1;
        if resource == SERVICE_ACCOUNTS && &*key.name == DEFAULT_ACCOUNT {
            self.default_accounts.insert(Arc::clone(&key.namespace));
        }
    }

    /// Counts an object that is gone from a namespace.
    pub fn object_deleted(&mut self, resource: Resource, key: &ObjectKey) {
        if let Some(kinds) = self.contents.get_mut(&key.namespace)
            && let Some(count) = kinds.get_mut(&resource)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                kinds.remove(&resource);
            }
        }
        if resource == SERVICE_ACCOUNTS && &*key.name == DEFAULT_ACCOUNT {
            self.default_accounts.remove(&key.namespace);
        }
    }

    /// Notes that the ConfigMap with the cluster's certificate is there, as it should be.
    pub fn root_ca_right(&mut self, namespace: &Arc<str>) {
        self.root_cas.insert(Arc::clone(namespace));
    }

    /// Notes that it is not there, or not as it should be.
    pub fn root_ca_wrong(&mut self, namespace: &str) {
        self.root_cas.remove(namespace);
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceInfo> {
        self.namespaces.get(name)
    }

    /// Every namespace, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Arc<str>, &NamespaceInfo)> {
        self.namespaces.iter()
    }

    /// The kinds that a namespace holds objects of, with their numbers.
    pub fn contents(&self, namespace: &str) -> impl Iterator<Item = (Resource, usize)> {
        self.contents.get(namespace).into_iter().flatten().map(|(resource, count)| (*resource, *count))
    }

    /// Whether a namespace has its `default` ServiceAccount.
    pub fn has_default_account(&self, namespace: &str) -> bool {
        self.default_accounts.contains(namespace)
    }

    /// Whether a namespace has the cluster's certificate.
    pub fn has_root_ca(&self, namespace: &str) -> bool {
        self.root_cas.contains(namespace)
    }
}

/// Plural of ServiceAccount.
const SERVICE_ACCOUNTS: Resource = Resource::core("serviceaccounts");

/// Name of the ServiceAccount that every namespace has.
pub(crate) const DEFAULT_ACCOUNT: &str = "default";
