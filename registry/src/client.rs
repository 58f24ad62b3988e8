//! Asks registries what a reference means.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_link::{
    Digest,
    reference::{Reference, Source},
};
use tokio::sync::OnceCell;
use tracing::debug;

use crate::{
    config::{ConfigError, RegistriesConfig},
    credentials::Keyring,
    endpoint::{Endpoint, Endpoints},
    error::PullError,
    manifest::{ImageManifest, Manifest, Platform, choose},
    origin::{ManifestText, Origin},
    session::Session,
    web,
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
            let session = Session::new(endpoint, image, credential);
            let resolved = match image.source {
                Source::Registry => Resolved::from(Arc::new(session), image, platforms).await,
                Source::Web => web::resolve(session, image, platforms).await,
                Source::Disk => {
                    Err(PullError::Refused { why: format!("{image} is a file of the machine that runs it") })
                }
            };
            match resolved {
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

/// Credentials that are tried for one image at one endpoint.
const CREDENTIALS_MAX: usize = 8;
/// Platforms that a message names.
const PLATFORMS_NAMED_MAX: usize = 12;
