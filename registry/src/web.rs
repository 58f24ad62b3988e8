//! A module by `https://`: one file on a server, which its digest names. Asking for its beginning tells how long it is, whether it is a
//! module at all, and whether these credentials are let in.

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};
use tokio::sync::OnceCell;

use crate::{
    client::Resolved,
    error::PullError,
    exchange::Answer,
    manifest::{Descriptor, ImageManifest, Platform},
    media,
    origin::{Blob, ManifestText, Origin},
    session::Session,
};

/// What a server has under the URL.
#[derive(Debug)]
struct File(Session);

#[async_trait]
impl Origin for File {
    async fn manifest(&self, _asked: &str, image: &Reference) -> Result<ManifestText, PullError> {
        Err(PullError::NotFound { image: image.to_string() })
    }

    async fn blob(&self, _digest: Digest, offset: u64, image: &Reference) -> Result<Blob, PullError> {
        self.0.content("", offset, image).await
    }
}

/// Asks for the beginning of the file.
pub(crate) async fn resolve(
    session: Session,
    image: &Reference,
    platforms: &[Platform],
) -> Result<Resolved, PullError> {
    let digest = image.digest.ok_or_else(|| PullError::NotFound { image: image.to_string() })?;
    let first = HeaderValue::try_from(format!("bytes=0-{}", MAGIC_BYTES - 1)).expect("visible characters");
    let mut answer = session.get("", HeaderMap::from_iter([(RANGE, first)]), image).await?;
    let announced = length(&answer);
    let mut beginning = Vec::new();
    while beginning.len() < MAGIC_BYTES
        && let Some(chunk) = answer.chunk().await?
    {
        beginning.extend_from_slice(&chunk);
    }
    if !beginning.starts_with(b"\0asm") {
        let why =
            format!("what is there is {}; by a URL only a WASM module can be had", looks_like(&beginning));
        return Err(PullError::Layers { image: image.to_string(), why });
    }
    let size = match announced {
        Some(size) => size,
        None => count(&mut answer, beginning.len() as u64).await?,
    };
    let part = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
    };
    let manifest = ImageManifest {
        artifact_type: String::new(),
        config: part(media::EMPTY, Digest::of(b"{}"), 2),
        layers: vec![part(media::WASM, digest, size)],
    };
    let (image, wanted, origin) = (image.clone(), platforms.to_vec(), Arc::new(File(session)));
    Ok(Resolved { image, digest, manifest, platform: None, wanted, config: OnceCell::new(), origin })
}

/// How long the whole is, as far as the answer says.
fn length(answer: &Answer) -> Option<u64> {
    let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    if answer.status == StatusCode::PARTIAL_CONTENT {
        return text(CONTENT_RANGE)?.rsplit_once('/')?.1.parse().ok();
    }
    text(CONTENT_LENGTH)?.parse().ok()
}

/// The length of what its sender says no length of: it is read to its end once.
async fn count(answer: &mut Answer, begun: u64) -> Result<u64, PullError> {
    let mut bytes = begun;
    while let Some(chunk) = answer.chunk().await? {
        bytes += chunk.len() as u64;
        if bytes > MODULE_BYTES_MAX {
            return Err(PullError::TooLarge { what: "the module", bytes, bytes_max: MODULE_BYTES_MAX });
        }
    }
    Ok(bytes)
}

/// What a file is that begins so, for a message.
fn looks_like(beginning: &[u8]) -> &'static str {
    match beginning {
        [] => "empty",
        [0x1f, 0x8b, ..] => "an archive, or something else, compressed by gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "an archive, or something else, compressed by zstd",
        [b'P', b'K', ..] => "a ZIP archive",
        [0x7f, b'E', b'L', b'F', ..] => "a program of Linux",
        [b'<', ..] => "a page, or other text",
        [b'{', ..] => "JSON",
        [b'(', ..] => "the text of a module, which is not compiled",
        _ => "something else",
    }
}

/// How modules and components begin: the name, and a version.
const MAGIC_BYTES: usize = 8;
