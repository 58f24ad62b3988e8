//! What the desired sets read of a pod before it is lowered: enough to see whether lowering it again would change anything.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use dunlin_api::kind::pod::MIRROR;
use dunlin_link::{Digest, NodeName, PodUid, UnixMillis, assignment::Tombstone, pod::PodAssignment};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{mirror::Mirror, scheduler::REASON_NODE_AFFINITY};

/// Stands for everything of a pod that its assignment or tombstone is made of; statuses change much more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

#[derive(Deserialize)]
pub(super) struct PodShape<'a> {
    #[serde(borrow)]
    metadata: MetaShape<'a>,
    #[serde(borrow)]
    spec: &'a RawValue,
    #[serde(default)]
    status: StatusShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaShape<'a> {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    generation: i64,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    #[serde(default)]
    deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    deletion_grace_period_seconds: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusShape {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    init_container_statuses: Vec<ContainerShape>,
    #[serde(default)]
    container_statuses: Vec<ContainerShape>,
    #[serde(default)]
    ephemeral_container_statuses: Vec<ContainerShape>,
}

#[derive(Deserialize)]
struct ContainerShape {
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeNameShape {
    #[serde(default)]
    node_name: String,
}

impl PodShape<'_> {
    /// The node that the pod is bound to.
    pub(super) fn node(&self) -> Option<NodeName> {
        let spec: NodeNameShape = serde_json::from_str(self.spec.get()).ok()?;
        (!spec.node_name.is_empty()).then(|| NodeName::new(spec.node_name))
    }

    /// Whether the pod must not be on its node, which was known from the start.
    pub(super) fn is_misplaced(&self) -> bool {
        let status = &self.status;
        status.phase == "Failed"
            && status.reason == REASON_NODE_AFFINITY
            && status.container_statuses.is_empty()
    }

    /// What the pod is as a mirror, if it is one.
    pub(super) fn mirror(&self) -> Option<Mirror> {
        let annotations = self.metadata.annotations?.get();
        // Almost no pod is one, and telling that costs no decoding.
        if !annotations.contains(MIRROR) {
            return None;
        }
        let mut annotations: BTreeMap<String, String> = serde_json::from_str(annotations).ok()?;
        let of = PodUid::new(annotations.remove(MIRROR)?);
        let uid = PodUid::new(&*self.metadata.uid);
        Some(Mirror { uid, of, deleting: self.metadata.deletion_timestamp.is_some() })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        let meta = &self.metadata;
        meta.uid.hash(&mut hasher);
        meta.generation.hash(&mut hasher);
        meta.labels.map(RawValue::get).hash(&mut hasher);
        meta.annotations.map(RawValue::get).hash(&mut hasher);
        meta.deletion_timestamp.hash(&mut hasher);
        meta.deletion_grace_period_seconds.hash(&mut hasher);
        self.spec.get().hash(&mut hasher);
        Fingerprint(hasher.finish())
    }

    /// False when the pod certainly names neither a ConfigMap nor a Secret, told without decoding it.
    pub(super) fn may_name_config(&self) -> bool {
        let spec = self.spec.get();
        spec.contains("\"envFrom\"")
            || spec.contains("KeyRef\"")
            || spec.contains("\"secret\"")
            || spec.contains("\"imagePullSecrets\"")
            || spec.contains("\"configMap\"")
    }

    /// Digests that containers run or ran, by image as written.
    pub(super) fn pinned(&self) -> BTreeMap<String, Digest> {
        let status = &self.status;
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
        containers
            .chain(&status.ephemeral_container_statuses)
            .filter_map(|container| {
                let (_, digest) = container.image_id.rsplit_once('@')?;
                Some((container.image.clone(), digest.parse().ok()?))
            })
            .collect()
    }

    /// The order to stop the pod, if it is being deleted.
    pub(super) fn tombstone(&self, assignment: &PodAssignment) -> Option<Tombstone> {
        let ends = self.metadata.deletion_timestamp?;
        let grace = self.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0);
        Some(Tombstone {
            uid: assignment.uid.clone(),
            namespace: assignment.namespace.clone(),
            name: assignment.name.clone(),
            grace_seconds: u32::try_from(grace).unwrap_or(u32::MAX),
            requested_at: UnixMillis(ends.as_millisecond().saturating_sub(grace.saturating_mul(1000))),
        })
    }
}
