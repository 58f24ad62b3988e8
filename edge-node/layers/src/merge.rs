//! Layers laid over each other in one folder, for guests: nothing lays folders over each other for them.
//!
//! What is put there is folders, files and links, readable by all, and whose they are is not kept: a guest has no users, and nodes that are
//! not root run guests, too. Devices are left out.

use std::{
    fs,
    io::{Read, Seek as _, SeekFrom},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use tar::Archive;

use crate::unpack::{
    Bounds, Compression, UnpackError,
    entry::{Entries, Kind},
    plain,
    tree::Tree,
};

/// Unpacks archives over each other into the new folder `into`, the lowest first. The bounds are of all of them together. On failure
/// something may be left.
///
/// # Errors
/// When one is damaged or they are too large together; when something in one is there to do harm; when the disk fails.
pub fn merge(
    archives: &mut [(fs::File, Compression)],
    into: &Path,
    bounds: Bounds,
) -> Result<(), UnpackError> {
    let write_error = |source| UnpackError::Write { path: into.to_owned(), source };
    fs::DirBuilder::new().mode(0o755).create(into).map_err(write_error)?;
    let mut tree = Tree::for_guests(into)?;
    let mut left = Left { bytes: bounds.bytes_max, entries: bounds.entries_max, bounds };
    for (file, compression) in archives {
        // What a layer takes away is of those below it, wherever in its archive that is said.
        rewind(file)?;
        let (bytes, entries) = (left.bytes, left.entries);
        left.each(&*file, *compression, |name, entry, _| match name.strip_prefix(WHITEOUT) {
            Some(b".wh..opq") => tree.clear(&entry.path),
            Some(hidden) if !hidden.starts_with(WHITEOUT) => tree.take_away(&entry.path, hidden),
            Some(_) | None => Ok(()),
        })?;
        (left.bytes, left.entries) = (bytes, entries);
        rewind(file)?;
        left.each(&*file, *compression, |name, entry, content| {
            let is_kept = !name.starts_with(WHITEOUT)
                && matches!(entry.kind, Kind::File | Kind::Folder | Kind::Symlink(_) | Kind::Link(_));
            if is_kept { tree.write(entry, content) } else { Ok(()) }
        })?;
    }
    tree.finish()
}

/// What may still come.
struct Left {
    bytes: u64,
    entries: u64,
    bounds: Bounds,
}

impl Left {
    /// Hands over each entry with its name.
    fn each(
        &mut self,
        file: &fs::File,
        compression: Compression,
        mut take: impl FnMut(&[u8], &crate::unpack::entry::Entry, &mut dyn Read) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let too_large = |what: String| UnpackError::TooLarge(what);
        let content = plain(file, compression).take(self.bytes.saturating_add(1));
        let mut archive = Archive::new(content);
        let mut entries = Entries::new(archive.entries().map_err(UnpackError::Archive)?);
        let mut failed = None;
        loop {
            match entries.next_entry() {
                Ok(Some((entry, mut content))) => {
                    let Some(entries) = self.entries.checked_sub(1) else {
                        return Err(too_large(format!("{} entries", self.bounds.entries_max)));
                    };
                    self.entries = entries;
                    let name = entry.path.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
                    if let Err(error) = take(&name, &entry, &mut content) {
                        failed = Some(error);
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    failed = Some(UnpackError::Archive(error));
                    break;
                }
            }
        }
        let mut rest = archive.into_inner();
        if failed.is_none() {
            // Whoever says less than there is says nothing of it.
            std::io::copy(&mut rest, &mut std::io::sink()).map_err(UnpackError::Archive)?;
        }
        if rest.limit() == 0 {
            return Err(too_large(format!("{} bytes", self.bounds.bytes_max)));
        }
        self.bytes = rest.limit() - 1;
        failed.map_or(Ok(()), Err)
    }
}

fn rewind(file: &mut fs::File) -> Result<(), UnpackError> {
    file.seek(SeekFrom::Start(0)).map(drop).map_err(UnpackError::Archive)
}

/// Begins the name of a file that stands for one which is gone.
const WHITEOUT: &[u8] = b".wh.";

#[cfg(test)]
mod tests;
