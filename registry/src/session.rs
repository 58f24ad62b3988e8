//! One endpoint, asked for one repository or one file with one credential.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::{
    Digest,
    reference::{Reference, Source},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, RANGE},
};

use crate::{
    challenge,
    credentials::Credential,
    endpoint::Endpoint,
    error::PullError,
    exchange::{Answer, Ask, Target},
    manifest::MANIFEST_BYTES_MAX,
    media,
    origin::{Blob, ManifestText, Origin},
    token::{self, told},
};

/// One endpoint, asked for one repository with one credential.
pub(crate) struct Session {
    endpoint: Arc<Endpoint>,
    repository: String,
    /// Where that begins on the endpoint.
    base: String,
    /// The registry that a mirror stands for.
    stands_for: Option<String>,
    credential: Option<Credential>,
    /// What it wanted to be shown the last time.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session {
    pub(crate) fn new(endpoint: &Arc<Endpoint>, image: &Reference, credential: Option<Credential>) -> Self {
        let base = match image.source {
            Source::Registry => format!("/v2/{}/", image.repository),
            Source::Web | Source::Disk => format!("/{}", image.repository),
        };
        Self {
            endpoint: Arc::clone(endpoint),
            repository: image.repository.clone(),
            base,
            stands_for: endpoint.is_mirror.then(|| image.registry.clone()),
            credential,
            authorization: Mutex::default(),
        }
    }

    /// Asks for something of the repository; shows what is wanted, when something is.
    pub(crate) async fn get(
        &self,
        path: &str,
        headers: HeaderMap,
        image: &Reference,
    ) -> Result<Answer, PullError> {
        let mut answer = self.send(path, headers.clone()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let challenges = challenge::challenges(&answer.headers);
            let why = told(&mut answer).await;
            if challenges.is_empty() {
                return Err(token::refused(&self.endpoint, self.credential.as_ref(), why));
            }
            let shown =
                token::authorization(&self.endpoint, &self.repository, &challenges, self.credential.as_ref());
            let shown = shown.await?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
            answer = self.send(path, headers).await?;
        }
        let registry = answer.registry.clone();
        match answer.status.as_u16() {
            200..=299 | 416 => Ok(answer),
            401 => {
                let why = told(&mut answer).await;
                Err(token::refused(&self.endpoint, self.credential.as_ref(), why))
            }
            403 => {
                let repository = self.repository.clone();
                Err(PullError::Denied { registry, repository, why: told(&mut answer).await })
            }
            404 => Err(PullError::NotFound { image: image.to_string() }),
            429 => Err(PullError::TooManyRequests { registry, why: told(&mut answer).await }),
            status => Err(PullError::Answer { registry, status, why: told(&mut answer).await }),
        }
    }

    /// Content from `offset` on; from its beginning where it cannot be gone on with.
    pub(crate) async fn content(
        &self,
        path: &str,
        offset: u64,
        image: &Reference,
    ) -> Result<Blob, PullError> {
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            let range = range.expect("digits are visible characters");
            let answer = self.get(path, HeaderMap::from_iter([(RANGE, range)]), image).await?;
            if goes_on(&answer, offset) {
                return Ok(answer.into_blob(offset));
            }
            if answer.status == StatusCode::OK {
                return Ok(answer.into_blob(0));
            }
        }
        Ok(self.get(path, HeaderMap::new(), image).await?.into_blob(0))
    }

    async fn send(&self, path: &str, mut headers: HeaderMap) -> Result<Answer, PullError> {
        let shown = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(shown) = shown {
            headers.insert(AUTHORIZATION, shown);
        }
        let mut path = format!("{}{}{path}", self.endpoint.prefix, self.base);
        if let Some(registry) = &self.stands_for {
            let begins = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{begins}ns={registry}"));
        }
        let ask = Ask { method: Method::GET, headers, body: Bytes::new() };
        Target::of(&self.endpoint, path)?.ask(ask).await
    }
}

#[async_trait]
impl Origin for Session {
    async fn manifest(&self, asked: &str, image: &Reference) -> Result<ManifestText, PullError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(media::ACCEPTED));
        let mut answer = self.get(&format!("manifests/{asked}"), headers, image).await?;
        let media_type = header(&answer, "content-type").unwrap_or_default();
        let announced = header(&answer, "docker-content-digest").and_then(|text| text.parse().ok());
        let bytes = answer.whole("the manifest", MANIFEST_BYTES_MAX).await?;
        Ok(ManifestText { media_type, announced, bytes })
    }

    async fn blob(&self, digest: Digest, offset: u64, image: &Reference) -> Result<Blob, PullError> {
        self.content(&format!("blobs/{digest}"), offset, image).await
    }
}

/// Whether an answer is the rest of what is there.
fn goes_on(answer: &Answer, offset: u64) -> bool {
    let range = answer.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')).map(|(start, _)| start);
    answer.status == StatusCode::PARTIAL_CONTENT && start.is_some_and(|start| start.parse() == Ok(offset))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = (&self.endpoint.authority, &self.repository);
        f.debug_struct("Session")
            .field("place", &place)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name)?.to_str().ok().map(str::to_owned)
}
