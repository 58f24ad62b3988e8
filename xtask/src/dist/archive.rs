//! A compressed archive whose bytes follow from its content alone: files in order, of nobody, of one time.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file to pack.
#[derive(Debug)]
pub(super) struct Entry {
    name: String,
    file: PathBuf,
    mode: Mode,
}

/// What may be done with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// It may be run.
    Program,
    /// It is read.
    Text,
}

impl Entry {
    /// The file at `path`, under a name in the archive's folder.
    pub(super) fn new(name: &str, path: &Path, mode: Mode) -> Self {
        Self { name: name.to_owned(), file: path.to_owned(), mode }
    }

    /// What it is called there.
    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Packs files into one folder.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn pack(folder: &str, entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, &format!("{folder}/"), EntryType::Directory, (0o755, time), &[])?;
    for Entry { name, file, mode } in order {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mode = match mode {
            Mode::Program => 0o755,
            Mode::Text => 0o644,
        };
        append(&mut builder, &format!("{folder}/{name}"), EntryType::Regular, (mode, time), &content)?;
    }
    // No time and no name of its own in the frame, which would be those of the packing.
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&builder.into_inner()?)?;
    gzip.finish().context("cannot compress the archive")
}

fn append(
    builder: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    (mode, time): (u32, u64),
    content: &[u8],
) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).with_context(|| format!("cannot pack {path}"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_depends_on_content_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let entry = |(name, content, mode)| Entry::new(name, &place(name, content), mode);
        let files = [("b.sh", "two", Mode::Program), ("a", "one", Mode::Text)];
        let packed = pack("x-1", &files.map(entry), 1_700_000_000).unwrap();
        let mut turned = files;
        turned.reverse();
        assert_eq!(pack("x-1", &turned.map(entry), 1_700_000_000).unwrap(), packed);

        let mut archive = tar::Archive::new(GzDecoder::new(packed.as_slice()));
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (1_700_000_000, 0));
            let (mode, path) = (header.mode().unwrap(), entry.path().unwrap().display().to_string());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            found.insert(path, (mode, content));
        }
        let expected = [("x-1/", 0o755, ""), ("x-1/a", 0o644, "one"), ("x-1/b.sh", 0o755, "two")];
        let expected = expected.map(|(path, mode, content)| (path.to_owned(), (mode, content.to_owned())));
        assert_eq!(found, BTreeMap::from(expected));
    }
}
