//! The API service: verbs on resources, the one path that every front, controller and node session takes to the store.

use dunlin_api::{Kind, Status};
use serde_json::Value;

/// Handle to the service; cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiService;

/// Who asks: from a client certificate's subject (CN is the name, O are groups), or a component of the coordinator itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// For instance `system:node:n1`, `admin`, `system:kube-scheduler`.
    pub name: String,
    /// For instance `system:masters`, `system:nodes`.
    pub groups: Vec<String>,
}

/// Names one object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectRef<'a> {
    /// Its kind.
    pub kind: &'static Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
}

impl ApiService {
    /// Creates an object after authorization, defaulting and validation; answers it as stored.
    pub async fn create(
        &self,
        user: &User,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Status> {
        unimplemented!("{user:?} {kind:?} {namespace} {object}")
    }

    /// Reads an object.
    pub async fn get(&self, user: &User, object: ObjectRef<'_>) -> Result<Value, Status> {
        unimplemented!("{user:?} {object:?}")
    }

    /// Reads, changes and writes an object (or its `status` subresource) again until no other writer came between.
    /// `change` returns false when nothing is to be written. With `uid`, an object of another uid answers Conflict.
    pub async fn modify(
        &self,
        user: &User,
        object: ObjectRef<'_>,
        subresource: &str,
        uid: Option<&str>,
        change: impl FnMut(&mut Value) -> bool + Send,
    ) -> Result<Value, Status> {
        let _ = change;
        unimplemented!("{user:?} {object:?} {subresource} {uid:?}")
    }

    /// Deletes an object: `options` is a `metav1.DeleteOptions`.
    pub async fn delete(&self, user: &User, object: ObjectRef<'_>, options: Value) -> Result<Value, Status> {
        unimplemented!("{user:?} {object:?} {options}")
    }
}
