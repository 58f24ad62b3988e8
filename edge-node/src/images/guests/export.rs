//! Writes an image for WASM with files into an archive. Its layers are not kept: what they came to is one layer, always the same.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek as _, SeekFrom, Write},
    path::Path,
};

use dunlin_link::{Digest, reference::Reference};
use dunlin_registry::archive::{Exported, write};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{CONFIG, GuestImage, MODULE};

impl GuestImage {
    /// Writes the image; `scratch` is an empty file for its layer.
    ///
    /// # Errors
    /// When the disk fails, or the config is none.
    pub(in crate::images) fn export(
        &self,
        name: &Reference,
        scratch: &File,
        out: impl Write,
    ) -> io::Result<()> {
        let mut packed =
            Builder::new(Hashing { out: BufWriter::new(scratch), hash: Sha256::new(), bytes: 0 });
        pack(&mut packed, &self.root(), Path::new(""))?;
        let mut packed = packed.into_inner()?;
        packed.out.flush()?;
        let layer = (Digest::from_bytes(packed.hash.finalize().into()), packed.bytes);
        let own = self.folder.join(MODULE);
        let module = match (fs::metadata(&own), self.programs.start) {
            (Ok(file), Some(digest)) => Some((digest, file.len())),
            _ => None,
        };
        let config = match fs::read(self.folder.join(CONFIG)) {
            Ok(config) => Some(config.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let image = Exported::Wasm { config, module, layer };
        write(out, name, &image, |part| {
            if module.is_some_and(|(module, _)| module == *part) {
                return File::open(&own);
            }
            let mut content = scratch.try_clone()?;
            content.seek(SeekFrom::Start(0))?;
            Ok(content)
        })
    }
}

/// Packs what is below a folder, in the order of names.
fn pack(archive: &mut Builder<impl Write>, root: &Path, inside: &Path) -> io::Result<()> {
    let mut names = fs::read_dir(root.join(inside))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    for name in names {
        let inside = inside.join(name);
        let path = root.join(&inside);
        let metadata = fs::symlink_metadata(&path)?;
        let (kind, mode) =
            (metadata.file_type(), std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()));
        let mut header = Header::new_gnu();
        header.set_mode(mode & 0o777);
        header.set_mtime(
            metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs(),
        );
        header.set_size(0);
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, &inside, io::empty())?;
            pack(archive, root, &inside)?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, &inside, fs::read_link(&path)?)?;
        } else if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            archive.append_data(&mut header, &inside, File::open(&path)?)?;
        }
    }
    Ok(())
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
