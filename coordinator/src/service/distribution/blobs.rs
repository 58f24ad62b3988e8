//! Blobs: read whole or in part, pushed at once or in pieces, or taken over from another repository.

use dunlin_link::Digest;
use http::Method;

use super::{
    Asked, Desk,
    manifests::DIGEST_HEADER,
    refusal::{Code, Refusal},
};
use crate::{
    artifacts::{Artifacts, PutError},
    service::{
        body::Source,
        response::{Body, ByteStream, Response},
    },
};

impl Desk<'_> {
    pub(super) async fn blob(&self, asked: &Asked<'_>, digest: Digest) -> Result<Response, Refusal> {
        match *asked.method {
            Method::GET | Method::HEAD => {}
            _ => {
                return Err(Refusal::new(Code::Unsupported, "blobs go when no manifest names them any more"));
            }
        }
        // Nobody reads by its digest what only a repository has that they may not read.
        if !self.artifacts.has_blob(self.repository, digest).await? {
            return Err(unknown());
        }
        if let Some(config) = Artifacts::shown_config(digest) {
            return Ok(Response::bytes(200, OCTETS, config).with_header(DIGEST_HEADER, digest.to_string()));
        }
        let start = asked.header("range").and_then(start_of);
        let (bytes, file) = self.open(digest, start.unwrap_or(0)).await?.ok_or_else(unknown)?;
        let mut response = match start {
            Some(start) if start >= bytes => {
                return Err(Refusal::new(Code::RangeInvalid, format!("the blob has {bytes} bytes")));
            }
            Some(start) => {
                let mut response = Response::bytes(206, OCTETS, "")
                    .with_header("content-range", format!("bytes {start}-{}/{bytes}", bytes - 1))
                    .with_header("content-length", (bytes - start).to_string());
                response.body = Body::Parts(ByteStream::from_reader(file));
                response
            }
            None => Response::parts(OCTETS, ByteStream::from_reader(file))
                .with_header("content-length", bytes.to_string()),
        };
        response = response.with_header("accept-ranges", "bytes");
        Ok(response.with_header(DIGEST_HEADER, digest.to_string()))
    }

    /// Begins an upload, or is done with it at once.
    pub(super) async fn begin(&self, asked: &Asked<'_>, body: Source<'_>) -> Result<Response, Refusal> {
        if *asked.method != Method::POST {
            return Err(Refusal::new(Code::Unsupported, "an upload is begun by POST"));
        }
        if let (Some(digest), Some(from)) = (asked.parameter("mount"), asked.parameter("from"))
            && let Ok(digest) = digest.parse()
            && self.can_take_over(digest, from).await?
        {
            self.artifacts.blobs().give(self.repository, digest)?;
            return Ok(self.created(digest));
        }
        let digest = asked.parameter("digest").map(parse).transpose()?;
        let id = self.artifacts.blobs().begin(self.repository, &self.user.name).await?;
        let Some(digest) = digest else { return Ok(self.accepted(202, &id, 0)) };
        let completed = self.complete(&id, digest, (None, body)).await;
        if completed.is_err() {
            // Nobody was told its id.
            self.artifacts.blobs().forget(&id);
        }
        completed
    }

    /// Goes on with an upload, ends it, gives it up, or tells how far it is.
    pub(super) async fn upload(
        &self,
        asked: &Asked<'_>,
        id: &str,
        body: Source<'_>,
    ) -> Result<Response, Refusal> {
        let start =
            asked.header("content-range").and_then(|range| range.split('-').next()?.trim().parse().ok());
        match *asked.method {
            Method::GET => {
                let upload = self.artifacts.blobs().upload((self.repository, &self.user.name), id)?;
                Ok(self.accepted(204, id, upload.bytes()))
            }
            Method::PATCH => {
                let mut upload = self.artifacts.blobs().upload((self.repository, &self.user.name), id)?;
                upload.append(body, start).await?;
                Ok(self.accepted(202, id, upload.bytes()))
            }
            Method::PUT => {
                let digest = asked.parameter("digest").ok_or_else(|| {
                    Refusal::new(Code::DigestInvalid, "the digest of an upload ends it, and is missing")
                })?;
                self.complete(id, parse(digest)?, (start, body)).await
            }
            Method::DELETE => {
                drop(self.artifacts.blobs().upload((self.repository, &self.user.name), id)?);
                self.artifacts.blobs().forget(id);
                Ok(Response::bytes(204, "", ""))
            }
            _ => Err(Refusal::new(Code::Unsupported, "no such method for an upload")),
        }
    }

    async fn complete(
        &self,
        id: &str,
        digest: Digest,
        (start, body): (Option<u64>, Source<'_>),
    ) -> Result<Response, Refusal> {
        let mut upload = self.artifacts.blobs().upload((self.repository, &self.user.name), id)?;
        upload.append(body, start).await?;
        self.artifacts.blobs().finish(id, upload, digest).await?;
        Ok(self.created(digest))
    }

    /// Whether another repository has a blob that its reader may read.
    async fn can_take_over(&self, digest: Digest, from: &str) -> Result<bool, Refusal> {
        Ok(self.service.may(self.user, "get", from).await.is_ok()
            && self.artifacts.has_blob(from, digest).await?
            && (Artifacts::shown_config(digest).is_some() || self.open(digest, 0).await?.is_some()))
    }

    async fn open(&self, digest: Digest, offset: u64) -> Result<Option<(u64, tokio::fs::File)>, Refusal> {
        let failed = |error: std::io::Error| Refusal::from(PutError::from(error));
        if let Some(found) = self.artifacts.blobs().read(digest, offset).await.map_err(failed)? {
            return Ok(Some(found));
        }
        let module = self.artifacts.open_module(digest, offset).await.map_err(failed)?;
        Ok(module.map(|module| (module.bytes, module.content)))
    }

    fn created(&self, digest: Digest) -> Response {
        Response::bytes(201, "", "")
            .with_header("location", format!("/v2/{}/blobs/{digest}", self.repository))
            .with_header(DIGEST_HEADER, digest.to_string())
    }

    fn accepted(&self, status: u16, id: &str, bytes: u64) -> Response {
        Response::bytes(status, "", "")
            .with_header("location", format!("/v2/{}/blobs/uploads/{id}", self.repository))
            .with_header("docker-upload-uuid", id)
            .with_header("range", format!("0-{}", bytes.saturating_sub(1)))
    }
}

/// The start of a range without an end; other ranges are answered with the whole, as a server may.
fn start_of(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn parse(digest: &str) -> Result<Digest, Refusal> {
    digest.parse().map_err(|error| Refusal::new(Code::DigestInvalid, format!("`{digest}`: {error}")))
}

fn unknown() -> Refusal {
    Refusal::new(Code::BlobUnknown, "blob unknown to registry")
}

const OCTETS: &str = "application/octet-stream";
