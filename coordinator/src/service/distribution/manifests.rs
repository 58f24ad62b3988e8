//! Manifests and tags.

use http::Method;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{
    Asked, Desk,
    refusal::{Code, Refusal},
    route::ManifestName,
};
use crate::{
    artifacts::{PUSHED_MANIFEST_BYTES_MAX, subject},
    service::{body::Source, response::Response},
};

impl Desk<'_> {
    pub(super) async fn manifest(
        &self,
        asked: &Asked<'_>,
        name: ManifestName<'_>,
        body: Source<'_>,
    ) -> Result<Response, Refusal> {
        match *asked.method {
            Method::GET | Method::HEAD => self.read_manifest(name).await,
            Method::PUT => self.put_manifest(asked, name, body).await,
            Method::DELETE => {
                let is_there = match name {
                    ManifestName::Tag(tag) => self.artifacts.remove_tag(self.repository, tag).await?,
                    ManifestName::Digest(digest) => {
                        self.artifacts.remove_manifest(self.repository, digest).await?
                    }
                };
                if is_there { Ok(Response::bytes(202, "", "")) } else { Err(unknown()) }
            }
            _ => Err(Refusal::new(Code::Unsupported, "a manifest is read, put or deleted")),
        }
    }

    async fn read_manifest(&self, name: ManifestName<'_>) -> Result<Response, Refusal> {
        let found = match name {
            ManifestName::Tag(tag) => self.artifacts.manifest_of_tag(self.repository, tag).await?,
            ManifestName::Digest(digest) => self.artifacts.manifest(self.repository, digest).await?,
        };
        let manifest = found.ok_or_else(unknown)?;
        Ok(Response::bytes(200, &manifest.media_type, manifest.text)
            .with_header(DIGEST_HEADER, manifest.digest.to_string()))
    }

    async fn put_manifest(
        &self,
        asked: &Asked<'_>,
        name: ManifestName<'_>,
        body: Source<'_>,
    ) -> Result<Response, Refusal> {
        let mut content = Vec::new();
        let most = PUSHED_MANIFEST_BYTES_MAX as u64;
        let read = body.take(most + 1).read_to_end(&mut content).await;
        read.map_err(|error| Refusal::new(Code::ManifestInvalid, error.to_string()))?;
        if content.len() as u64 > most {
            return Err(Refusal::new(Code::SizeInvalid, format!("a manifest has at most {most} bytes")));
        }
        let media_type = asked.header("content-type").unwrap_or_default();
        let names = match name {
            ManifestName::Tag(tag) => (Some(tag), None),
            ManifestName::Digest(digest) => (None, Some(digest)),
        };
        let subject = subject(&content);
        let digest = self.artifacts.put_manifest(self.repository, names, (media_type, content)).await?;
        tracing::info!(user = self.user.name, repository = self.repository, %digest, "a manifest was pushed");
        let response = Response::bytes(201, "", "")
            .with_header("location", format!("/v2/{}/manifests/{digest}", self.repository))
            .with_header(DIGEST_HEADER, digest.to_string());
        // Who attaches something is told so that it need not keep a list of its own.
        Ok(match subject {
            Some(subject) => response.with_header("oci-subject", subject.to_string()),
            None => response,
        })
    }

    /// All tags, or as many as asked for after one.
    pub(super) async fn tags(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let tags = self.artifacts.tags(self.repository).await?;
        if tags.is_empty() {
            return Err(Refusal::new(Code::NameUnknown, "nothing was pushed to this repository"));
        }
        let last = asked.parameter("last").unwrap_or_default();
        let most = match asked.parameter("n").map(str::parse) {
            None => TAGS_MAX,
            Some(Ok(most)) => TAGS_MAX.min(most),
            Some(Err(_)) => return Err(Refusal::new(Code::Unsupported, "`n` is a number")),
        };
        let mut left = tags.into_iter().filter(|tag| tag.as_str() > last);
        let page: Vec<_> = left.by_ref().take(most).collect();
        let response = Response::json(200, &json!({ "name": self.repository, "tags": page }));
        match (left.next(), page.last()) {
            (Some(_), Some(last)) => {
                let next = format!("</v2/{}/tags/list?n={most}&last={last}>; rel=\"next\"", self.repository);
                Ok(response.with_header("link", next))
            }
            _ => Ok(response),
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::ManifestUnknown, "manifest unknown")
}

/// Names the content that an answer has.
pub(super) const DIGEST_HEADER: &str = "docker-content-digest";
/// Tags of one answer.
const TAGS_MAX: usize = 1000;
