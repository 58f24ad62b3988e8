//! What an image that was resolved is: a module, an ordinary image that holds one, or one for Linux.

use bytes::Bytes;
use dunlin_link::Digest;

use crate::{
    client::{Resolved, no_platform},
    error::PullError,
    image::{CONFIG_BYTES_MAX, Content, ImageConfig, ImageError},
    linux::LinuxImage,
};

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A module by itself; its digest.
    Module(Digest),
    /// Layers with a module in them.
    Wasm,
    /// Layers of a root file system.
    Linux(Box<LinuxImage>),
}

impl Resolved {
    /// What the image is. An ordinary image's config is fetched for it.
    ///
    /// # Errors
    /// When it is nothing that runs, for no platform that was wanted, or its config cannot be had.
    pub async fn kind(&self) -> Result<Kind, PullError> {
        if let Some(module) = self.module()? {
            return Ok(Kind::Module(module));
        }
        let (text, config) = self.config().await?;
        if config.platform.is_wasm() {
            return Ok(Kind::Wasm);
        }
        // Of an index its word counts: configs of images that were built on another machine often name that.
        let platform = self.platform.as_ref().unwrap_or(&config.platform);
        if !self.wanted.iter().any(|wanted| wanted.runs(platform)) {
            return Err(no_platform(&self.image, &[platform], &self.wanted));
        }
        let image = LinuxImage::of(&self.manifest, text).map_err(|source| self.cannot_run(source))?;
        Ok(Kind::Linux(Box::new(image)))
    }

    /// The digest of the image's module, where its manifest says that; `None` for an ordinary image.
    ///
    /// # Errors
    /// When the image is none that runs.
    pub fn module(&self) -> Result<Option<Digest>, PullError> {
        match self.content()? {
            Content::Module(module) => Ok(Some(module.digest)),
            Content::Archives => Ok(None),
        }
    }

    pub(crate) fn content(&self) -> Result<Content<'_>, PullError> {
        Content::of(&self.manifest).map_err(|source| self.cannot_run(source))
    }

    /// The image's config as it was written, and what it says.
    pub(crate) async fn config(&self) -> Result<(Bytes, ImageConfig), PullError> {
        let text = self.config.get_or_try_init(|| self.fetch_config()).await?;
        let config = ImageConfig::parse(text).map_err(|source| self.cannot_run(source))?;
        Ok((text.clone(), config))
    }

    async fn fetch_config(&self) -> Result<Bytes, PullError> {
        let blob = &self.manifest.config;
        let mut content = self.origin.blob(blob.digest, 0, &self.image).await?;
        let bytes = content.whole("the image's config", CONFIG_BYTES_MAX).await?;
        let actual = Digest::of(&bytes);
        if actual != blob.digest {
            return Err(PullError::OtherDigest { what: "the image's config", expected: blob.digest, actual });
        }
        Ok(bytes.into())
    }

    fn cannot_run(&self, why: ImageError) -> PullError {
        PullError::Image { image: self.image.to_string(), why }
    }
}
