//! Asks registries what a reference means.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::{Digest, reference::Reference};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, RANGE},
};
use tokio::sync::OnceCell;
use tracing::debug;

use crate::{
    challenge,
    config::{ConfigError, RegistriesConfig},
    credentials::{Credential, Keyring},
    endpoint::{Endpoint, Endpoints},
    error::PullError,
    exchange::{Answer, Ask, Target},
    manifest::{ImageManifest, MANIFEST_BYTES_MAX, Manifest, Platform, choose},
    media,
    origin::{Blob, ManifestText, Origin},
    token::{self, told},
};

/// Pulls from registries; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Arc<Endpoints>,
}

/// What a reference meant when its registry was asked.
#[derive(Debug)]
pub struct Resolved {
    /// What was asked for.
    pub image: Reference,
    /// Of what the name points to: a manifest, or an index of several.
    pub digest: Digest,
    /// The manifest for the platform that was wanted.
    pub manifest: ImageManifest,
    /// The platform that an index says it is for.
    pub platform: Option<Platform>,
    /// What was wanted.
    pub(crate) wanted: Vec<Platform>,
    /// Its config, once it was asked for.
    pub(crate) config: OnceCell<Bytes>,
    pub(crate) origin: Arc<dyn Origin>,
}

/// What a name leads to, with the digest of what it points to itself.
struct Found {
    digest: Digest,
    manifest: ImageManifest,
    platform: Option<Platform>,
}

impl Resolved {
    /// Asks somebody else than a registry what an image is, for the first of `platforms` that it is there for.
    ///
    /// # Errors
    /// What it answered, or why it did not.
    pub async fn from(
        origin: Arc<dyn Origin>,
        image: &Reference,
        platforms: &[Platform],
    ) -> Result<Self, PullError> {
        let Found { digest, manifest, platform } = resolve(&*origin, image, platforms).await?;
        let (image, wanted) = (image.clone(), platforms.to_vec());
        Ok(Self { image, digest, manifest, platform, wanted, config: OnceCell::new(), origin })
    }
}

/// One endpoint, asked for one repository with one credential.
pub(crate) struct Session {
    endpoint: Arc<Endpoint>,
    repository: String,
    /// The registry that a mirror stands for.
    stands_for: Option<String>,
    credential: Option<Credential>,
    /// What it wanted to be shown the last time.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Client {
    /// A client of the registries that are configured, and of all others by TLS. Reads the files that the configuration names.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: &RegistriesConfig) -> Result<Self, ConfigError> {
        Ok(Self { endpoints: Arc::new(Endpoints::new(config)?) })
    }

    /// Asks what an image is, for the first of `platforms` that it is there for. The mirrors of its registry are asked first.
    ///
    /// # Errors
    /// What the registry itself answered, or why it did not.
    pub async fn resolve(
        &self,
        image: &Reference,
        keyring: &Keyring,
        platforms: &[Platform],
    ) -> Result<Resolved, PullError> {
        let mut last = None;
        for endpoint in self.endpoints.of(image) {
            match Self::resolve_at(&endpoint, image, keyring, platforms).await {
                Ok(resolved) => return Ok(resolved),
                Err(error) => {
                    debug!(%image, endpoint = endpoint.authority, %error, "an endpoint does not have an image");
                    last = Some(error);
                }
            }
        }
        Err(last.expect("a registry is an endpoint of its own"))
    }

    /// Tries all credentials in turn, as the kubelet does.
    async fn resolve_at(
        endpoint: &Arc<Endpoint>,
        image: &Reference,
        keyring: &Keyring,
        platforms: &[Platform],
    ) -> Result<Resolved, PullError> {
        // Those of the pod are for the registry that its image names, and for nobody who stands for it.
        let of_pod = if endpoint.is_mirror { Vec::new() } else { keyring.of(image) };
        let mut credentials: Vec<_> =
            of_pod.into_iter().chain(endpoint.credential.clone()).map(Some).take(CREDENTIALS_MAX).collect();
        if credentials.is_empty() {
            credentials.push(None);
        }
        let mut last = None;
        for credential in credentials {
            let session = Arc::new(Session::new(endpoint, image, credential));
            match Resolved::from(session, image, platforms).await {
                Err(error) if error.is_refusal() => last = Some(error),
                // Who may not see an image is told by some that there is none.
                Err(error @ PullError::NotFound { .. }) => last = last.or(Some(error)),
                Err(error) => return Err(error),
                Ok(resolved) => return Ok(resolved),
            }
        }
        Err(last.expect("some credential, or none, was shown"))
    }
}

impl Session {
    fn new(endpoint: &Arc<Endpoint>, image: &Reference, credential: Option<Credential>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            repository: image.repository.clone(),
            stands_for: endpoint.is_mirror.then(|| image.registry.clone()),
            credential,
            authorization: Mutex::default(),
        }
    }

    /// Asks for something of the repository; shows what is wanted, when something is.
    async fn get(&self, path: &str, headers: HeaderMap, image: &Reference) -> Result<Answer, PullError> {
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

    async fn send(&self, path: &str, mut headers: HeaderMap) -> Result<Answer, PullError> {
        let shown = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(shown) = shown {
            headers.insert(AUTHORIZATION, shown);
        }
        let namespace =
            self.stands_for.iter().map(|registry| format!("?ns={registry}")).next().unwrap_or_default();
        let path = format!("{}/v2/{}/{path}{namespace}", self.endpoint.prefix, self.repository);
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
        let path = format!("blobs/{digest}");
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            let range = range.expect("digits are visible characters");
            let answer = self.get(&path, HeaderMap::from_iter([(RANGE, range)]), image).await?;
            if goes_on(&answer, offset) {
                return Ok(answer.into_blob(offset));
            }
            if answer.status == StatusCode::OK {
                return Ok(answer.into_blob(0));
            }
        }
        Ok(self.get(&path, HeaderMap::new(), image).await?.into_blob(0))
    }
}

async fn resolve(origin: &dyn Origin, image: &Reference, platforms: &[Platform]) -> Result<Found, PullError> {
    let asked = image.digest.map_or_else(|| image.tag_or_latest().to_owned(), |digest| digest.to_string());
    let (digest, manifest) = manifest(origin, image, &asked, image.digest).await?;
    let manifests = match manifest {
        Manifest::Image(manifest) => return Ok(Found { digest, manifest, platform: None }),
        Manifest::Index(manifests) => manifests,
    };
    let Some(entry) = choose(&manifests, platforms) else {
        let offered: Vec<_> = manifests.iter().filter_map(|entry| entry.platform.as_ref()).collect();
        return Err(no_platform(image, &offered, platforms));
    };
    match self::manifest(origin, image, &entry.digest.to_string(), Some(entry.digest)).await? {
        (_, Manifest::Image(manifest)) => Ok(Found { digest, manifest, platform: entry.platform.clone() }),
        (_, Manifest::Index(_)) => Err(no_platform(image, &[], platforms)),
    }
}

async fn manifest(
    origin: &dyn Origin,
    image: &Reference,
    asked: &str,
    expected: Option<Digest>,
) -> Result<(Digest, Manifest), PullError> {
    let ManifestText { media_type, announced, bytes } = origin.manifest(asked, image).await?;
    let actual = Digest::of(&bytes);
    if let Some(expected) = expected.or(announced)
        && expected != actual
    {
        return Err(PullError::OtherDigest { what: "the manifest", expected, actual });
    }
    let manifest = Manifest::parse(&bytes, &media_type)
        .map_err(|why| PullError::Manifest { image: image.to_string(), why })?;
    Ok((actual, manifest))
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

/// There is nothing for this machine; `offered` is what there is.
pub(crate) fn no_platform(image: &Reference, offered: &[&Platform], wanted: &[Platform]) -> PullError {
    let named = |platforms: Vec<String>| {
        if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") }
    };
    // Attestations are in the index, too.
    let offered = offered.iter().filter(|platform| platform.os != "unknown").take(PLATFORMS_NAMED_MAX);
    PullError::Platform {
        image: image.to_string(),
        offered: named(offered.map(ToString::to_string).collect()),
        wanted: named(wanted.iter().map(ToString::to_string).collect()),
    }
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Credentials that are tried for one image at one endpoint.
const CREDENTIALS_MAX: usize = 8;
/// Platforms that a message names.
const PLATFORMS_NAMED_MAX: usize = 12;
