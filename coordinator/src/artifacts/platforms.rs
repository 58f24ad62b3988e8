//! For which machines Linux images are, kept beside their manifests for the scheduler, which reads no manifest.

use bytes::Bytes;
use dunlin_coordinator_core::{image::pinned_name, scheduler::PLATFORMS_PREFIX};
use dunlin_link::Digest;
use dunlin_registry::{
    image::{CONFIG_BYTES_MAX, ImageConfig},
    manifest::{Descriptor, ImageManifest, Platform},
};
use tokio::io::AsyncReadExt as _;

use super::{Artifacts, ModuleName, images::PutError};

impl Artifacts {
    /// The platform of a manifest of archives, if that is Linux.
    pub(super) async fn platforms_of_image(&self, image: &ImageManifest) -> Result<Vec<Platform>, PutError> {
        let Some((bytes, file)) = self.blobs.read(image.config.digest, 0).await? else {
            return Ok(Vec::new());
        };
        if bytes > CONFIG_BYTES_MAX {
            return Ok(Vec::new());
        }
        let mut text = Vec::new();
        file.take(CONFIG_BYTES_MAX).read_to_end(&mut text).await?;
        // What is no config is kept for whoever pushed it.
        let platform = ImageConfig::parse(&text).ok().map(|config| config.platform);
        Ok(platform.into_iter().filter(is_linux).collect())
    }

    /// The platforms of an index; none if any of its entries may be WASM, which runs everywhere.
    pub(super) async fn platforms_of_index(
        &self,
        repository: &str,
        entries: &[Descriptor],
    ) -> Result<Vec<Platform>, PutError> {
        let mut platforms = Vec::new();
        for entry in entries {
            match &entry.platform {
                Some(platform) if platform.is_wasm() => return Ok(Vec::new()),
                Some(platform) if is_linux(platform) => platforms.push(platform.clone()),
                // Another system, or what tools attach.
                Some(_) => {}
                None => {
                    let found = self.store.get(&of_digest(repository, entry.digest)).await?;
                    let Some(found) = found else { return Ok(Vec::new()) };
                    let texts: Vec<String> = serde_json::from_slice(&found.value).unwrap_or_default();
                    platforms.extend(texts.iter().filter_map(|text| parse(text)));
                }
            }
        }
        Ok(platforms)
    }
}

/// The value of a record; `None` where there is nothing to say.
pub(super) fn record(platforms: &[Platform]) -> Option<Bytes> {
    let texts: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    let json = serde_json::to_vec(&texts).expect("texts always make JSON");
    (!texts.is_empty()).then(|| json.into())
}

/// Where that of a tag is.
pub(super) fn of_tag(repository: &str, tag: &str) -> String {
    format!("{PLATFORMS_PREFIX}{}", ModuleName::of(repository, tag))
}

/// Where that of a manifest is.
pub(super) fn of_digest(repository: &str, digest: Digest) -> String {
    format!("{PLATFORMS_PREFIX}{}", pinned_name(repository, digest))
}

fn is_linux(platform: &Platform) -> bool {
    platform.os == "linux" && !platform.is_wasm()
}

fn parse(text: &str) -> Option<Platform> {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let (os, architecture) = (parts.next()?, parts.next()?);
    Some(Platform { os, architecture, variant: parts.next().unwrap_or_default() })
}
