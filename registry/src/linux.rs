//! An ordinary image for Linux: how it runs, and its layers, each with the digest of what it unpacks to.

use bytes::Bytes;
use dunlin_link::Digest;

use crate::{
    image::{ImageConfig, ImageError},
    manifest::{Descriptor, ImageManifest},
    media::{self, Compression},
};

/// What there is to know before its layers are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxImage {
    /// The image's config as it was written; by the digest of this text images are the same, however they were sent.
    pub text: Bytes,
    /// The same, read.
    pub config: ImageConfig,
    /// The lowest first.
    pub layers: Vec<LayerBlob>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    /// What is sent.
    pub blob: Descriptor,
    /// How that is compressed.
    pub compression: Compression,
    /// The digest of what it unpacks to.
    pub diff_id: Digest,
}

impl LinuxImage {
    /// The image of a manifest and its config, which have to agree.
    ///
    /// # Errors
    /// When they do not, or say something that is not known.
    pub fn of(manifest: &ImageManifest, text: Bytes) -> Result<Self, ImageError> {
        let config = ImageConfig::parse(&text)?;
        let diff_ids = config.diff_ids()?;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(ImageError::Layers { layers, diff_ids });
        }
        let layer = |(blob, diff_id): (&Descriptor, Digest)| match media::compression(&blob.media_type) {
            Some(compression) => Ok(LayerBlob { blob: blob.clone(), compression, diff_id }),
            None => Err(ImageError::Layer(blob.media_type.clone())),
        };
        let layers = manifest.layers.iter().zip(diff_ids).map(layer).collect::<Result<_, _>>()?;
        Ok(Self { text, config, layers })
    }

    /// What it has to be sent, in bytes.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.blob.size);
        layers.fold(self.text.len() as u64, u64::saturating_add)
    }
}

impl ImageConfig {
    /// Reads a config.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &[u8]) -> Result<Self, ImageError> {
        serde_json::from_slice(text).map_err(|error| ImageError::Config(error.to_string()))
    }

    /// What the layers unpack to, the lowest first.
    ///
    /// # Errors
    /// When one of them is no digest that is known.
    pub fn diff_ids(&self) -> Result<Vec<Digest>, ImageError> {
        let parse = |text: &String| text.parse().map_err(|_| ImageError::DiffId(text.clone()));
        self.rootfs.diff_ids.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn image(config: &Value, layers: &[&str]) -> Result<LinuxImage, ImageError> {
        let descriptor = |media_type: &str| Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(b"blob"),
            size: 1000,
            platform: None,
        };
        let layers = layers.iter().map(|media_type| descriptor(media_type)).collect();
        let manifest = ImageManifest { artifact_type: String::new(), config: descriptor("config"), layers };
        LinuxImage::of(&manifest, config.to_string().into())
    }

    #[test]
    fn all_that_a_container_needs_is_read() {
        let diff_id = Digest::of(b"tar").to_string();
        let config = json!({
            "os": "linux", "architecture": "arm64", "variant": "v8", "created": "2026-01-01T00:00:00Z",
            "config": {
                "User": "gull:birds", "Env": ["A=b"], "Entrypoint": ["/run"], "Cmd": ["it"], "WorkingDir": "/nest",
                "StopSignal": "SIGQUIT", "Volumes": { "/data": {} }, "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
                "Labels": { "a": "b" }, "OnBuild": null,
            },
            "rootfs": { "type": "layers", "diff_ids": [diff_id] }, "history": [],
        });
        let found = image(&config, &[TAR]).unwrap();
        let execution = &found.config.config;
        assert_eq!(execution.user.as_deref(), Some("gull:birds"));
        assert_eq!(execution.stop_signal.as_deref(), Some("SIGQUIT"));
        assert_eq!(execution.volumes, ["/data"]);
        assert_eq!(execution.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!((execution.program(), execution.working_dir.as_deref()), (Some("/run"), Some("/nest")));
        assert_eq!(found.config.platform.to_string(), "linux/arm64/v8");
        assert_eq!(found.layers[0].diff_id, Digest::of(b"tar"));
        assert_eq!(found.bytes(), 1000 + found.text.len() as u64);
        let empty = json!({ "config": null, "rootfs": { "diff_ids": null } });
        assert_eq!(image(&empty, &[]).unwrap().config, ImageConfig::default());
        let nulls = json!({ "config": { "Volumes": null, "ExposedPorts": null, "User": null } });
        assert_eq!(image(&nulls, &[]).unwrap().config, ImageConfig::default());
    }

    #[test]
    fn manifest_and_config_have_to_agree() {
        let config = |diff_ids: &[&str]| json!({ "rootfs": { "diff_ids": diff_ids } });
        let digest = Digest::of(b"tar").to_string();
        let check = |diff_ids: &[&str], layers: &[&str], expected: &str| {
            let error = image(&config(diff_ids), layers).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} is not {expected}");
        };
        check(&[], &[TAR], "names 1 layers, and its config what 0 unpack to");
        check(&[&digest, &digest], &[TAR], "names 1 layers");
        check(&["../../etc"], &[TAR], "names a layer `../../etc`");
        check(&[&digest], &["text/plain"], "a layer is `text/plain`");
        let text = image(&json!([]), &[]).unwrap_err().to_string();
        assert!(text.contains("its config is none"), "{text}");
    }
}
