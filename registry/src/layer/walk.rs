//! The entries of an archive by their whole names, each of which is bounded: the `tar` crate would gather long ones by itself, of any size.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use tar::{Archive, EntryType, PaxExtensions};

/// What to do after an entry.
pub(crate) enum Then {
    Next,
    Stop,
}

/// Hands every entry to `each`, with its path.
///
/// # Errors
/// When the archive is damaged, has more entries than `entries_left`, which is counted down, or `each` fails.
pub(crate) fn walk<R: Read, E: From<WalkError>>(
    archive: &mut Archive<R>,
    entries_left: &mut usize,
    mut each: impl FnMut(&Path, &mut tar::Entry<'_, R>) -> Result<Then, E>,
) -> Result<(), E> {
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(WalkError::from)?.raw(true) {
        let mut entry = entry.map_err(WalkError::from)?;
        *entries_left = entries_left.checked_sub(1).ok_or(WalkError::TooMany)?;
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = bounded(&mut entry)?;
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                long_name = Some(name);
            }
            EntryType::XHeader => {
                let records = bounded(&mut entry)?;
                let named = PaxExtensions::new(&records)
                    .filter_map(Result::ok)
                    .filter(|record| record.key_bytes() == b"path")
                    .last();
                long_name = named.map(|record| record.value_bytes().to_vec()).or(long_name);
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            _ => {
                let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                let path = PathBuf::from(OsString::from_vec(name));
                if let Then::Stop = each(&path, &mut entry)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Why an archive was not walked to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error(transparent)]
    Archive(#[from] io::Error),
    #[error("too many entries")]
    TooMany,
}

fn bounded(entry: &mut impl Read) -> Result<Vec<u8>, WalkError> {
    let mut bytes = Vec::new();
    entry.take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(
            io::Error::other(format!("a name or header of more than {EXTENSION_BYTES_MAX} bytes")).into()
        );
    }
    Ok(bytes)
}

/// A name, or what an extension header says: several times the longest path of Linux.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;
