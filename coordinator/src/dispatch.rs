//! The desired set of each node, kept from the cluster view, for the node's session to carry over.

use dunlin_link::{NodeName, Revision, assignment::Desired};
use tokio::sync::watch;

/// Handle to every node's desired set; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatch;

impl Dispatch {
    /// The revision of `node`'s desired set, changing whenever the set does.
    pub fn subscribe(&self, node: &NodeName) -> watch::Receiver<Revision> {
        unimplemented!("{node}")
    }

    /// `node`'s desired set now.
    pub fn desired(&self, node: &NodeName) -> Desired {
        unimplemented!("{node}")
    }
}
