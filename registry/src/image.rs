//! What an image is: a WASM artifact, an ordinary image that holds WASM, or a container.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::{
    manifest::{Descriptor, ImageManifest, Platform},
    media,
};

/// What a manifest says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The layer is the module.
    Module(&'a Descriptor),
    /// Archives; the config says for which platform.
    Archives,
}

/// What an image's config says, as far as it is acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How it runs.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    /// What its layers unpack to.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
}

/// What an image's layers unpack to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// The digest of each layer's archive when it is no longer compressed, the lowest first; as the config has them.
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// How an image runs where a pod says nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments.
    pub cmd: Option<Vec<String>>,
    /// Variables, each `NAME=VALUE`.
    pub env: Option<Vec<String>>,
    /// Where it runs.
    pub working_dir: Option<String>,
    /// As whom: names or numbers, `USER[:GROUP]`.
    pub user: Option<String>,
    /// What asks it to end, `SIGTERM` or a number.
    pub stop_signal: Option<String>,
    /// Paths that are to outlive what is written to the image.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// Where it listens, each `PORT[/PROTOCOL]`.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
}

/// Why an image cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// More than one module, as some application formats have them.
    #[error("it holds {0} WASM modules; an image of a container has one")]
    Modules(usize),
    /// A WASM artifact without a module.
    #[error(
        "it says to be a WASM artifact and has no layer of media type `application/wasm`; its layers are {0}"
    )]
    NoModule(String),
    /// Neither WASM nor an image.
    #[error("it is no image: its config is `{config}`, its layers are {layers}")]
    Unknown {
        /// Media type of the config.
        config: String,
        /// Media types of the layers.
        layers: String,
    },
    /// Its config says nothing that could be read.
    #[error("its config is none: {0}")]
    Config(String),
    /// Manifest and config disagree.
    #[error("its manifest names {layers} layers, and its config what {diff_ids} unpack to")]
    Layers {
        /// Of the manifest.
        layers: usize,
        /// Of the config.
        diff_ids: usize,
    },
    /// What a layer unpacks to is named in a way that is not known.
    #[error("its config names a layer `{0}`; a digest is `sha256:` and 64 hexadecimal digits")]
    DiffId(String),
    /// A layer that is no archive.
    #[error("a layer is `{0}`, which is no archive that is known")]
    Layer(String),
}

impl<'a> Content<'a> {
    /// What `manifest` describes.
    ///
    /// # Errors
    /// When it is nothing that runs.
    pub fn of(manifest: &'a ImageManifest) -> Result<Self, ImageError> {
        let modules: Vec<_> =
            manifest.layers.iter().filter(|layer| media::is_module(&layer.media_type)).collect();
        match modules.as_slice() {
            [module] => return Ok(Self::Module(module)),
            [] => {}
            several => return Err(ImageError::Modules(several.len())),
        }
        let config = manifest.config.media_type.as_str();
        if media::is_module_config(config) || media::is_module(&manifest.artifact_type) {
            return Err(ImageError::NoModule(media_types(manifest)));
        }
        let is_archive = |layer: &Descriptor| media::compression(&layer.media_type).is_some();
        if !manifest.layers.is_empty() && manifest.layers.iter().all(is_archive) {
            return Ok(Self::Archives);
        }
        Err(ImageError::Unknown { config: config.to_owned(), layers: media_types(manifest) })
    }
}

impl Execution {
    /// The program that the image names for itself.
    pub fn program(&self) -> Option<&str> {
        let entrypoint = self.entrypoint.iter().flatten();
        entrypoint.chain(self.cmd.iter().flatten()).next().map(String::as_str)
    }
}

/// Tools write `null` where there is nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A list, as the keys of an object without values.
fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let object: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(from)?;
    Ok(object.unwrap_or_default().into_keys().collect())
}

fn media_types(manifest: &ImageManifest) -> String {
    let mut types: Vec<_> = manifest.layers.iter().map(|layer| format!("`{}`", layer.media_type)).collect();
    types.dedup();
    types.truncate(NAMED_MAX);
    if types.is_empty() { "none".to_owned() } else { types.join(", ") }
}

/// Largest config of an image that is read.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// As many media types as a message names.
const NAMED_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use dunlin_link::Digest;

    use super::*;

    fn check(config: &str, layers: &[&str], expected: &str) {
        let descriptor = |media_type: &&str| Descriptor {
            media_type: (*media_type).to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size: 1,
            platform: None,
        };
        let layers = layers.iter().map(descriptor).collect();
        let manifest = ImageManifest { artifact_type: String::new(), config: descriptor(&config), layers };
        let found = match Content::of(&manifest) {
            Ok(Content::Module(module)) => format!("module {}", module.media_type),
            Ok(Content::Archives) => "archives".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(found.starts_with(expected), "{found} is not {expected}");
    }

    #[test]
    fn every_way_to_say_wasm_is_known() {
        let older = "application/vnd.module.wasm.content.layer.v1+wasm";
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        let oci = "application/vnd.oci.image.config.v1+json";
        check(media::WASM_CONFIG, &[media::WASM], "module application/wasm");
        check(media::EMPTY, &[media::WASM], "module application/wasm");
        check(oci, &[older], "module application/vnd.module");
        check("application/vnd.module.wasm.config.v1+json", &[older], "module application/vnd.module");
        check(media::WASM_CONFIG, &["text/plain", media::WASM], "module application/wasm");
        check(oci, &[tar, tar], "archives");
        check(media::WASM_CONFIG, &[media::WASM, media::WASM], "it holds 2 WASM modules");
        check(media::WASM_CONFIG, &[tar], "it says to be a WASM artifact");
        check(
            "application/vnd.cncf.helm.config.v1+json",
            &["application/vnd.cncf.helm.chart"],
            "it is no image",
        );
        check(oci, &[], "it is no image");
    }
}
