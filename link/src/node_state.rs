//! What a node tells of its state as a whole: what it runs short of, whether it is going down, and which modules it has. Since version 4.
//!
//! It is told when a session opens and when it changes, and never else.

use serde::{Deserialize, Serialize};

use crate::{
    Bytes,
    frame::{Kind, Message},
};

/// All of it, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Too little memory is left.
    pub memory_pressure: bool,
    /// Too little of the disk is left.
    pub disk_pressure: bool,
    /// Too few process ids are left.
    pub pid_pressure: bool,
    /// The machine is going down: its pods are being ended, and no pod is taken.
    pub shutting_down: bool,
    /// The largest modules that it has, at most [`crate::limits::NODE_IMAGES_MAX`].
    pub images: Vec<NodeImage>,
}

/// A module on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeImage {
    /// What pods of the node call it, with its digest and by its tag; at most [`crate::limits::NODE_IMAGE_NAMES_MAX`].
    pub names: Vec<String>,
    /// Its size.
    pub size: Bytes,
}

impl Message for NodeState {
    const KIND: Kind = Kind(0x0128);
}
