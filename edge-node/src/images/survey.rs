//! What kind of thing an image holds, without bringing it here: by that a pod is given its sandbox.

use std::time::Duration;

use dunlin_edge_node_core::node::{PullSecret, SurveyedImage};
use dunlin_link::{Digest, reference::Reference};
use dunlin_registry::Kind as Found;

use super::{
    ImageContent, Images,
    meanings::Holds,
    own::Looked,
    pull::{keyring, platforms},
};
use crate::session::SessionHandle;

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A guest.
    Module,
    /// What an ordinary container runs.
    Linux,
}

impl Images {
    /// By what is here; `None` for an image that is not. `has_module` tells of modules, by which pods may name them, too.
    pub(crate) fn kind_here(
        &self,
        image: &SurveyedImage,
        has_module: impl Fn(&Digest) -> bool,
    ) -> Option<Kind> {
        match &image.digest {
            Some(digest) => match self.known().meanings.holds(digest) {
                Some(Holds::Linux { .. }) => Some(Kind::Linux),
                Some(Holds::Module(_) | Holds::Guest { .. }) => Some(Kind::Module),
                None => has_module(digest).then_some(Kind::Module),
            },
            None => match self.of(&image.reference.parse().ok()?)?.1 {
                ImageContent::Module(_) | ImageContent::Guest(_) => Some(Kind::Module),
                ImageContent::Linux(_) => Some(Kind::Linux),
            },
        }
    }

    /// By what its registry says, or the coordinator; `None` where that says nothing.
    pub(crate) async fn look(
        &self,
        image: &SurveyedImage,
        secrets: &[PullSecret],
        session: &SessionHandle,
    ) -> Option<Kind> {
        let name: Reference = image.reference.parse().ok()?;
        let resolved = match image.digest.filter(|_| name.is_local()) {
            Some(digest) => match self.look_at_own((&name, digest), session, Some(PATIENCE)).await.ok()? {
                Looked::Module => return Some(Kind::Module),
                Looked::Image(resolved) => *resolved,
            },
            None if name.is_local() => return None,
            None => {
                let platforms = platforms(&self.containers);
                self.client.resolve(&name, &keyring(secrets), &platforms).await.ok()?
            }
        };
        Some(match resolved.kind().await.ok()? {
            Found::Module(_) | Found::Wasm => Kind::Module,
            Found::Linux(_) => Kind::Linux,
        })
    }
}

/// How long a pod waits for a session before its sandbox is chosen without.
const PATIENCE: Duration = Duration::from_secs(10);
