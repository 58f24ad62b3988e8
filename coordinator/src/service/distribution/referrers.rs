//! Manifests that refer to another one: signatures, bills of materials, whatever is attached to an image.

use dunlin_link::Digest;
use dunlin_registry::media;
use http::Method;
use serde_json::json;

use super::{
    Asked, Desk,
    refusal::{Code, Refusal},
};
use crate::service::response::Response;

impl Desk<'_> {
    /// An index of what refers to `subject`, which need not be here; of one kind only where one is asked for.
    pub(super) async fn referrers(&self, asked: &Asked<'_>, subject: Digest) -> Result<Response, Refusal> {
        if !matches!(*asked.method, Method::GET | Method::HEAD) {
            return Err(Refusal::new(Code::Unsupported, "referrers are read"));
        }
        let mut manifests = self.artifacts.referrers(self.repository, subject).await?;
        let kind = asked.parameter("artifactType");
        if let Some(kind) = kind {
            manifests.retain(|descriptor| descriptor["artifactType"] == kind);
        }
        manifests.truncate(REFERRERS_MAX);
        let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": manifests });
        let response = Response::bytes(200, media::INDEX, index.to_string());
        Ok(match kind {
            Some(_) => response.with_header("oci-filters-applied", "artifactType"),
            None => response,
        })
    }
}

/// Far more than anybody attaches, and an answer stays below what clients read of an index.
const REFERRERS_MAX: usize = 1000;
