//! Manifests and indexes, OCI's and Docker's: as much of them as is acted on.

use dunlin_link::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::media;
pub use crate::platform::Platform;

/// What a name or digest leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image or artifact.
    Image(ImageManifest),
    /// The same image for several platforms.
    Index(Vec<Descriptor>),
}

/// One image or artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// `artifactType`, or empty.
    pub artifact_type: String,
    /// What describes the layers.
    pub config: Descriptor,
    /// The content, lowest layer first.
    pub layers: Vec<Descriptor>,
}

/// Content, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Of the content.
    #[serde(deserialize_with = "digest_of", serialize_with = "text_of")]
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Of an index: what it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON of that shape.
    #[error("it is not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// Of the format before digests.
    #[error(
        "it is of Docker's first schema, which says nothing of its layers that could be verified; push the image anew"
    )]
    SchemaOne,
    /// Of another kind.
    #[error("its media type `{0}` is none that Dunlin knows")]
    MediaType(String),
    /// What it says and what its sender says differ, or it is two things in one.
    #[error("it says to be `{inside}` and was sent as `{outside}`")]
    Ambiguous {
        /// By its own word.
        inside: String,
        /// By the answer's header, or its shape.
        outside: String,
    },
    /// Too many parts.
    #[error("it has {count} parts; at most {max} are read")]
    TooMany {
        /// Of them.
        count: usize,
        /// The bound.
        max: usize,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// Reads a manifest; `outside` is the media type that it was sent with, or empty.
    ///
    /// # Errors
    /// When it is none, or could be read in two ways.
    pub fn parse(bytes: &[u8], outside: &str) -> Result<Self, ManifestError> {
        let outside = outside.split(';').next().unwrap_or_default().trim();
        let shape: Shape = serde_json::from_slice(bytes)?;
        if shape.schema_version == 1 {
            return Err(ManifestError::SchemaOne);
        }
        let declared = if shape.media_type.is_empty() { outside } else { &shape.media_type };
        // Many servers send manifests as mere JSON or bytes; what they say otherwise has to be the same.
        if outside.starts_with("application/vnd.") && outside != declared {
            return Err(ManifestError::Ambiguous {
                inside: declared.to_owned(),
                outside: outside.to_owned(),
            });
        }
        let ambiguous = |outside: &str| ManifestError::Ambiguous {
            inside: declared.to_owned(),
            outside: outside.to_owned(),
        };
        let is_index = match declared {
            media::MANIFEST | media::DOCKER_MANIFEST => false,
            media::INDEX | media::DOCKER_LIST => true,
            other if other.starts_with("application/vnd.") => {
                return Err(ManifestError::MediaType(other.to_owned()));
            }
            _ => shape.manifests.is_some(),
        };
        match (is_index, shape.config, shape.layers, shape.manifests) {
            (false, Some(config), layers, None) => {
                let layers = bounded(layers.unwrap_or_default(), LAYERS_MAX)?;
                Ok(Self::Image(ImageManifest { artifact_type: shape.artifact_type, config, layers }))
            }
            (true, None, None, Some(manifests)) => Ok(Self::Index(bounded(manifests, MANIFESTS_MAX)?)),
            (_, _, _, Some(_)) => Err(ambiguous("an index")),
            _ => Err(ambiguous("a manifest without its config")),
        }
    }

    /// All content that it names.
    pub fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config).chain(&image.layers).collect(),
            Self::Index(manifests) => manifests.iter().collect(),
        }
    }
}

impl ImageManifest {
    /// The manifest as it is written, always the same way.
    pub fn text(&self, media_type: &str) -> Vec<u8> {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "config": self.config, "layers": self.layers,
        });
        manifest.to_string().into_bytes()
    }
}

/// The entry of an index for the first of `wanted` that there is one for.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &[Platform]) -> Option<&'a Descriptor> {
    let of = |platform: &Platform| {
        let runs = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|it| platform.runs(it));
        let is_same = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|it| platform.is(it));
        manifests.iter().find(is_same).or_else(|| manifests.iter().find(runs))
    };
    // What names no platform runs on each.
    let any = || manifests.iter().find(|entry| entry.platform.is_none() && is_manifest(&entry.media_type));
    wanted.iter().find_map(of).or_else(any)
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, media::MANIFEST | media::DOCKER_MANIFEST)
}

fn bounded<T>(list: Vec<T>, max: usize) -> Result<Vec<T>, ManifestError> {
    if list.len() > max { Err(ManifestError::TooMany { count: list.len(), max }) } else { Ok(list) }
}

fn digest_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn text_of<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

/// Largest manifest that is read: what registries take at most.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Most layers of an image: several times what any tool makes.
pub const LAYERS_MAX: usize = 512;
/// Most platforms of an index.
pub const MANIFESTS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
