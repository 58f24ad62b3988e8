//! Which namespaces there are: asked by a node that keeps something for namespaces, so that it goes with them. Since version 7.
//!
//! That a namespace is not there proves nothing: a cluster that was restored may have forgotten it, and a static pod's needs none. So the
//! answer names the restore generation: what was there and is not any more in the same generation was deleted.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// Asks the coordinator on a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacesOpen {
    /// At most [`crate::limits::NAMESPACES_ASKED_MAX`].
    pub names: Vec<String>,
}

/// The answer; nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacesAnswer {
    /// In which it is so.
    pub restore_generation: u64,
    /// For each name in the order of the question, the namespace's uid; `None` where there is none.
    pub uids: Vec<Option<String>>,
}

impl Message for NamespacesOpen {
    const KIND: Kind = Kind(0x0360);
}

impl Message for NamespacesAnswer {
    const KIND: Kind = Kind(0x0361);
}
