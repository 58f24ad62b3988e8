//! An archive out of what it is compressed with as a whole.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
};

use dunlin_zstd::Frames;
use flate2::read::MultiGzDecoder;

use super::{ArchiveError, CHUNK_BYTES};
use crate::media::Compression;

/// Where an archive is unpacked that is compressed as a whole.
pub trait Scratch {
    /// A file for so many bytes, as far as they can be told.
    ///
    /// # Errors
    /// When there is no room for them, or the disk fails.
    fn file(&self, expected_bytes: u64) -> io::Result<File>;

    /// Whether there is room for more.
    ///
    /// # Errors
    /// When there is not.
    fn check(&self) -> io::Result<()>;
}

/// The archive itself, out of what it is compressed with.
pub(super) fn plain(mut file: File, scratch: &impl Scratch, bytes_max: u64) -> Result<File, ArchiveError> {
    let mut magic = [0; MAGIC_BYTES];
    let length = file.read_at(&mut magic, 0)?;
    file.seek(SeekFrom::Start(0))?;
    let expected_bytes = file.metadata()?.len().saturating_mul(EXPECTED_TIMES).min(bytes_max);
    let content = BufReader::with_capacity(CHUNK_BYTES, file);
    let content: Box<dyn Read> = match compression(&magic[..length]) {
        Compression::None => return Ok(content.into_inner()),
        Compression::Gzip => Box::new(MultiGzDecoder::new(content)),
        Compression::Zstd => Box::new(Frames::new(content)),
    };
    let mut unpacked = scratch.file(expected_bytes).map_err(ArchiveError::Disk)?;
    let mut content = content.take(bytes_max + 1);
    let (mut chunk, mut bytes, mut checked) = (vec![0; CHUNK_BYTES], 0, 0);
    loop {
        let length = content.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        bytes += length as u64;
        if bytes > bytes_max {
            return Err(ArchiveError::TooLarge(format!("{bytes_max} bytes when it is unpacked")));
        }
        if bytes - checked >= CHECK_BYTES {
            scratch.check().map_err(ArchiveError::Disk)?;
            checked = bytes;
        }
        unpacked.write_all(&chunk[..length]).map_err(ArchiveError::Disk)?;
    }
    unpacked.seek(SeekFrom::Start(0))?;
    Ok(unpacked)
}

pub(super) fn compression(magic: &[u8]) -> Compression {
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What an archive usually comes to that is compressed as a whole, in its own length.
const EXPECTED_TIMES: u64 = 2;
/// How much is unpacked until the disk is looked at again.
const CHECK_BYTES: u64 = 16 << 20;
/// Tells how something is compressed.
pub(super) const MAGIC_BYTES: usize = 4;
