//! What every object says of itself, as far as controllers look at it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use super::super::{Controller, affiliation::Labels};

/// `metadata` of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `uid`.
    pub uid: Arc<str>,
    /// `generation`.
    pub generation: i64,
    /// `creationTimestamp`.
    pub created: Timestamp,
    /// Whether it has a deletion timestamp.
    pub deleting: bool,
    /// `labels`.
    pub labels: Labels,
    /// `annotations`, without what `kubectl apply` keeps for itself.
    pub annotations: BTreeMap<String, String>,
    /// The owner that controls it.
    pub controller: Option<Controller>,
}

/// A condition of a status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    #[serde(default)]
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// Since when its status is what it is.
    #[serde(default)]
    pub last_transition_time: Option<Timestamp>,
    /// When it was last looked at and found changed; only Deployments have it.
    #[serde(default)]
    pub last_update_time: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct MetaShape {
    uid: String,
    generation: i64,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    labels: Labels,
    annotations: BTreeMap<String, String>,
    owner_references: Vec<OwnerReference>,
}

impl Meta {
    /// What an annotation says.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// What an annotation says, when it is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.annotation(name)?.parse().ok()
    }

    /// Whether an object of this uid is its controller.
    pub fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller.as_ref().is_some_and(|controller| controller.uid == uid)
    }
}

impl From<MetaShape> for Meta {
    fn from(shape: MetaShape) -> Self {
        let mut annotations = shape.annotations;
        annotations.remove(LAST_APPLIED);
        Self {
            uid: shape.uid.into(),
            generation: shape.generation,
            created: shape.creation_timestamp.unwrap_or_default(),
            deleting: shape.deletion_timestamp.is_some(),
            labels: shape.labels,
            annotations,
            controller: Controller::among(shape.owner_references),
        }
    }
}

/// Where `kubectl apply` keeps what was applied last; as large as the object.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
