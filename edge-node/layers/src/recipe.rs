//! How a layer's archive is put together again from what was unpacked: all of its bytes but the contents of files, and where those are.
//!
//! An archive has the same digest only if every byte of it is the same: padding, the order of entries, headers that nobody reads. So
//! these bytes are kept, which compress to little, and contents are read from the layer's folder.
//!
//! ```text
//! u64 length of the archive | gzip of: 0 u32 length, bytes | 1 u64 length, u32 length of the path, path | 2
//! ```

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom, Write},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};

/// Writes a recipe while its layer is unpacked. That it could not be written is told at the end: until then nothing depends on it.
#[derive(Debug)]
pub(crate) struct Recorder {
    out: GzEncoder<File>,
    /// Bytes that were read and not written yet.
    pending: Vec<u8>,
    /// Contents of a file, if they are read now, and how much so far.
    content: Option<(PathBuf, u64)>,
    bytes: u64,
    failed: Option<io::Error>,
}

/// The archive of a layer, as it was before it was unpacked. That it still is what its digest says is for the reader to see.
#[derive(Debug)]
pub struct LayerArchive {
    recipe: BufReader<GzDecoder<File>>,
    root: OwnedFd,
    part: Part,
    bytes: u64,
}

#[derive(Debug)]
enum Part {
    None,
    /// So many bytes of the recipe itself.
    Kept(u64),
    /// So many bytes of a file.
    Content(File, u64),
    End,
}

impl Recorder {
    /// Writes into an empty file.
    pub(crate) fn new(mut file: File) -> io::Result<Self> {
        file.write_all(&0_u64.to_le_bytes())?;
        let out = GzEncoder::new(file, Compression::fast());
        Ok(Self { out, pending: Vec::new(), content: None, bytes: 0, failed: None })
    }

    /// Takes note of what was read of the archive.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match &mut self.content {
            Some((_, count)) => *count += bytes.len() as u64,
            None => {
                self.pending.extend_from_slice(bytes);
                if self.pending.len() >= PENDING_BYTES {
                    self.note(Self::write_pending);
                }
            }
        }
    }

    /// What is read from here on is the content of a file.
    pub(crate) fn begin(&mut self, path: &Path) {
        self.content = Some((path.to_owned(), 0));
    }

    /// What is read from here on is not.
    pub(crate) fn end(&mut self) {
        let Some((path, count)) = self.content.take() else { return };
        if count == 0 {
            return;
        }
        self.note(|recorder| {
            recorder.write_pending()?;
            let path = path.as_os_str().as_bytes();
            let length = u32::try_from(path.len()).map_err(io::Error::other)?;
            recorder.out.write_all(&[CONTENT])?;
            recorder.out.write_all(&count.to_le_bytes())?;
            recorder.out.write_all(&length.to_le_bytes())?;
            recorder.out.write_all(path)
        });
    }

    /// Makes it whole and durable.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.note(Self::write_pending);
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.out.write_all(&[END])?;
        let mut file = self.out.finish()?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.bytes.to_le_bytes())?;
        file.sync_all()
    }

    fn write_pending(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.pending.len()).map_err(io::Error::other)?;
        if length > 0 {
            self.out.write_all(&[KEPT])?;
            self.out.write_all(&length.to_le_bytes())?;
            self.out.write_all(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    fn note(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = write(self).err();
        }
        if self.failed.is_some() {
            self.pending.clear();
        }
    }
}

impl LayerArchive {
    /// The archive of the layer in a folder.
    pub(crate) fn open(recipe: &Path, layer: &Path) -> io::Result<Self> {
        let mut file = File::open(recipe)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, layer, flags, Mode::empty())?;
        let recipe = BufReader::new(GzDecoder::new(file));
        Ok(Self { recipe, root, part: Part::None, bytes: u64::from_le_bytes(length) })
    }

    /// How long the archive is.
    pub const fn length(&self) -> u64 {
        self.bytes
    }

    /// What comes next.
    fn next(&mut self) -> io::Result<Part> {
        match self.array::<1>()? {
            [KEPT] => Ok(Part::Kept(u32::from_le_bytes(self.array()?).into())),
            [CONTENT] => {
                let length = u64::from_le_bytes(self.array()?);
                let path_length = u32::from_le_bytes(self.array()?);
                if path_length > PATH_BYTES_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let mut path = vec![0; usize::try_from(path_length).map_err(io::Error::other)?];
                self.recipe.read_exact(&mut path)?;
                Ok(Part::Content(self.file(Path::new(&OsString::from_vec(path)))?, length))
            }
            [END] => Ok(Part::End),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// A file of the layer, found as it was when it was written.
    fn file(&self, path: &Path) -> io::Result<File> {
        let beneath: PathBuf =
            path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.root, beneath, flags, Mode::empty(), resolve)?;
        // A later entry may have put a device in its place, which something would happen to if it were opened.
        if !FileType::from_raw_mode(fstat(&found)?.st_mode).is_file() {
            return Err(io::Error::other(format!("`{}` of the layer is no file any more", path.display())));
        }
        File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.recipe.read_exact(&mut array)?;
        Ok(array)
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (from, left): (&mut dyn Read, &mut u64) = match &mut self.part {
                Part::End => return Ok(0),
                Part::None | Part::Kept(0) | Part::Content(_, 0) => {
                    self.part = self.next()?;
                    continue;
                }
                Part::Kept(left) => (&mut self.recipe, left),
                Part::Content(file, left) => (file, left),
            };
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
            let read = from.read(&mut buffer[..length])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *left -= read as u64;
            return Ok(read);
        }
    }
}

const KEPT: u8 = 0;
const CONTENT: u8 = 1;
const END: u8 = 2;
/// Kept in memory before it is written.
const PENDING_BYTES: usize = 64 << 10;
/// As long as a path in a layer may be.
const PATH_BYTES_MAX: u32 = 4096;
