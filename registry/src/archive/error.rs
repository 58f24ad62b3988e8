//! Why an archive has no image that could be used.

use std::io;

use dunlin_link::Digest;

use super::ENTRIES_MAX;
use crate::{
    image::ImageError,
    layer::walk::WalkError,
    manifest::{ManifestError, Platform},
};

/// Why an archive has no image that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("it cannot be read as an archive (tar, also compressed): {}", shown(.0))]
    Read(#[from] io::Error),
    /// The disk has no room for what it unpacks to, or failed.
    #[error("it cannot be unpacked: {0}")]
    Disk(#[source] io::Error),
    /// It has more than any archive of images.
    #[error("it has more than {0}")]
    TooLarge(String),
    /// It is another archive.
    #[error("it is no archive of images: it has neither `index.json` nor `manifest.json`")]
    NoImages,
    /// One of its own lists makes no sense.
    #[error("its `{file}` cannot be used: {why}")]
    List {
        /// Which.
        file: &'static str,
        /// Why.
        why: String,
    },
    /// It names something that is not in it.
    #[error("it names `{0}`, which is not in it")]
    Missing(String),
    /// It was written for other platforms than its index has.
    #[error(
        "its index has an image for {0}, whose manifest is not in the archive; write it with that platform, or with all of them"
    )]
    NotIncluded(String),
    /// It has content under a wrong digest.
    #[error("what it has as {expected} has digest {actual}")]
    OtherDigest {
        /// As named.
        expected: Digest,
        /// As it is.
        actual: Digest,
    },
    /// A manifest cannot be used.
    #[error("a manifest in it cannot be used: {0}")]
    Manifest(#[from] ManifestError),
    /// An image cannot be used.
    #[error("an image in it cannot run: {0}")]
    Image(#[from] ImageError),
    /// There is nothing for this machine.
    #[error("no match for platform in manifest: it is there for {offered}, and this node runs {wanted}")]
    Platform {
        /// What there is.
        offered: String,
        /// What runs here.
        wanted: String,
    },
}

impl From<WalkError> for ArchiveError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Archive(error) => Self::Read(error),
            WalkError::TooMany => Self::TooLarge(format!("{ENTRIES_MAX} entries")),
        }
    }
}

pub(super) fn no_platform<'a>(
    offered: impl IntoIterator<Item = &'a Platform>,
    wanted: &[Platform],
) -> ArchiveError {
    let offered: Vec<_> = offered.into_iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
    ArchiveError::Platform { offered: offered.join(", "), wanted: wanted.join(", ") }
}

/// What went wrong, on one line: it may hold a part of what was read.
fn shown(error: &io::Error) -> String {
    error.to_string().chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// Of an error's text.
const SHOWN_CHARS_MAX: usize = 120;
/// Platforms that a message names.
const NAMED_MAX: usize = 12;
