//! Images over the node's own socket: what is asked of them, and how archives pass.
//!
//! An archive is a row of pieces, each a `u32` length and as many bytes, up to one of length zero: a stream that ends without it was cut
//! off. From the node, a length of [`FAILED`] is followed by the reason in words, to the end of the stream.

use std::io::Read;

use dunlin_link::Digest;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use super::{Answer, Ask, Console, ConsoleError};

/// An image as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// What it is called, by tag and by digest.
    pub names: Vec<String>,
    /// Its digest, as statuses have it.
    pub image: Digest,
    /// What it is the same by, wherever it came from: digest of its config, or of its module.
    pub id: Digest,
    /// What was sent of it.
    pub bytes: u64,
    /// What it holds.
    pub kind: ImageKind,
    /// The pods that name or run it, each `NAMESPACE/NAME`.
    pub used_by: Vec<String>,
}

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageKind {
    /// A module.
    Wasm,
    /// The root file system of a Linux container.
    Linux,
}

/// An archive as it comes.
#[derive(Debug)]
pub struct Content(BufReader<UnixStream>);

impl Console {
    /// All images.
    ///
    /// # Errors
    /// When no agent answers.
    pub async fn images(&self) -> Result<Vec<ImageView>, ConsoleError> {
        let mut stream = self.ask(&Ask::Images).await?;
        let mut images = Vec::new();
        loop {
            match self.answer(&mut stream).await? {
                Answer::Image(image) => images.push(*image),
                Answer::End => return Ok(images),
                other => return Err(self.unexpected(&other)),
            }
        }
    }

    /// Pulls an image with the node's own credentials; answers its digest with its name.
    ///
    /// # Errors
    /// When no agent answers, or the image cannot be had.
    pub async fn pull_image(&self, name: String) -> Result<String, ConsoleError> {
        let mut names = self.names(&Ask::PullImage { name }).await?;
        Ok(names.pop().unwrap_or_default())
    }

    /// Removes an image; answers the names that are gone.
    ///
    /// # Errors
    /// When no agent answers, there is no such image, or a pod uses it.
    pub async fn remove_image(&self, name: String) -> Result<Vec<String>, ConsoleError> {
        self.names(&Ask::RemoveImage { name }).await
    }

    /// Takes the images of an archive; answers their names.
    ///
    /// # Errors
    /// When no agent answers, the archive cannot be read or used.
    pub async fn import_images(
        &self,
        name: Option<String>,
        archive: &mut dyn Read,
    ) -> Result<Vec<String>, ConsoleError> {
        let mut stream = self.ask(&Ask::ImportImages { name }).await?;
        let mut chunk = vec![0; PIECE_BYTES];
        loop {
            let length = archive.read(&mut chunk).map_err(ConsoleError::Archive)?;
            let sent = async {
                stream.write_u32_le(u32::try_from(length).map_err(std::io::Error::other)?).await?;
                stream.write_all(&chunk[..length]).await
            };
            // Who takes no more has said why.
            if sent.await.is_err() || length == 0 {
                break;
            }
        }
        match self.answer(&mut stream).await? {
            Answer::Names(names) => Ok(names),
            other => Err(self.unexpected(&other)),
        }
    }

    /// An image as an archive.
    ///
    /// # Errors
    /// When no agent answers, or there is no such image.
    pub async fn export_image(&self, name: String) -> Result<Content, ConsoleError> {
        let mut stream = self.ask(&Ask::ExportImage { name }).await?;
        match self.answer(&mut stream).await? {
            Answer::Content => Ok(Content(stream)),
            other => Err(self.unexpected(&other)),
        }
    }

    async fn names(&self, ask: &Ask) -> Result<Vec<String>, ConsoleError> {
        let mut stream = self.ask(ask).await?;
        match self.answer(&mut stream).await? {
            Answer::Names(names) => Ok(names),
            other => Err(self.unexpected(&other)),
        }
    }
}

impl Content {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When it ends in the middle, and why.
    pub async fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        match self.0.read_u32_le().await? {
            0 => Ok(None),
            FAILED => {
                let mut why = String::new();
                (&mut self.0).take(REASON_BYTES_MAX).read_to_string(&mut why).await?;
                Err(std::io::Error::other(why))
            }
            length => {
                let mut chunk =
                    vec![0; usize::try_from(length).map_err(std::io::Error::other)?.min(PIECE_BYTES)];
                self.0.read_exact(&mut chunk).await?;
                Ok(Some(chunk))
            }
        }
    }
}

/// Largest piece of an archive.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// In place of a length: it cannot be gone on with.
pub(super) const FAILED: u32 = u32::MAX;
/// Words that say why.
const REASON_BYTES_MAX: u64 = 4096;
