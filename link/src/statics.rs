//! What a node tells of its static pods, those that it runs from manifests on its own disk, so that the API can show them.
//!
//! The node states all of them by uid, which is the digest of their content; the coordinator asks for what it does not show yet. So a
//! node that comes back with the pods that it left with costs one small frame. What a pod is travels as the object of the API that its
//! manifest holds: neither side's machine looks into it.

use serde::{Deserialize, Serialize};

use crate::{
    PodUid,
    frame::{Kind, Message},
    limits::{STATIC_NAME_BYTES_MAX, STATIC_NAMESPACE_BYTES_MAX},
};

/// A static pod by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StaticPodName {
    /// Follows from its manifest: another manifest is another pod.
    pub uid: PodUid,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`, with the node's name at its end.
    pub name: String,
}

/// All static pods of the node, those included that are being stopped. Sent from protocol version 2 on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPods {
    /// At most [`crate::limits::STATIC_PODS_MAX`], in any order.
    pub pods: Vec<StaticPodName>,
}

/// What one static pod is: the answer to [`StaticPodsWanted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPod {
    /// Which.
    pub uid: PodUid,
    /// The Pod of its manifest in JSON, at most [`crate::limits::STATIC_POD_BYTES_MAX`]; empty when the node cannot tell it.
    pub object: Vec<u8>,
}

/// The coordinator asks what these static pods are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPodsWanted {
    /// Which.
    pub uids: Vec<PodUid>,
}

impl StaticPodName {
    /// Whether the API could show a pod of this name; others are not stated.
    pub fn is_tellable(&self) -> bool {
        self.namespace.len() <= STATIC_NAMESPACE_BYTES_MAX && self.name.len() <= STATIC_NAME_BYTES_MAX
    }
}

impl Message for StaticPods {
    const KIND: Kind = Kind(0x0125);
}

impl Message for StaticPod {
    const KIND: Kind = Kind(0x0126);
}

impl Message for StaticPodsWanted {
    const KIND: Kind = Kind(0x0127);
}
