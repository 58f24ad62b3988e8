//! A connection by itself: bytes both ways, and their ends.

use tokio::io::copy_bidirectional;
use tracing::debug;

use crate::{service::upgrade::Duplex, sessions::NodeStream};

/// Passes bytes on until both sides have ended, or one breaks off. Dropping the node's stream tells it of that.
pub(super) async fn relay(mut client: Box<dyn Duplex>, mut node: NodeStream) {
    if let Err(error) = copy_bidirectional(&mut client, &mut node).await {
        debug!(%error, "a forwarded connection broke off");
    }
}
