//! What kind of thing an image holds, without bringing it here: by that a pod is given its sandbox.

use dunlin_edge_node_core::node::PullSecret;
use dunlin_link::{Digest, reference::Reference};
use dunlin_registry::Kind as Found;

use super::{ImageContent, Images, keyring, platforms};

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A guest.
    Module,
    /// What an ordinary container runs.
    Linux,
}

impl Images {
    /// By what is here; `None` for an image that is not. `digest` is what the pod has for it.
    pub(crate) fn kind_here(&self, reference: &str, digest: Option<&Digest>) -> Option<Kind> {
        let content = match digest {
            Some(digest) => self.content_of(digest),
            None => self.of(&reference.parse().ok()?)?.1,
        };
        Some(match content {
            ImageContent::Module(_) => Kind::Module,
            ImageContent::Linux(_) => Kind::Linux,
        })
    }

    /// By what its registry says; `None` where that says nothing.
    pub(crate) async fn look(&self, reference: &str, secrets: &[PullSecret]) -> Option<Kind> {
        let image: Reference = reference.parse().ok()?;
        let resolved = self.client.resolve(&image, &keyring(secrets), &platforms(&self.containers)).await;
        Some(match resolved.ok()?.kind().await.ok()? {
            Found::Module(_) | Found::Wasm => Kind::Module,
            Found::Linux(_) => Kind::Linux,
        })
    }
}
