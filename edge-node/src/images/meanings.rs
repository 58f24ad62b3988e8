//! What names of images meant when they were pulled, kept on disk: a node without a network starts what it has.
//!
//! A name is a file of three lines: the full reference, the digest of the image, and the digest of the module that the image holds. Each
//! pull also leaves the name with the digest, so that an image is known for as long as its module is here, wherever its tag moves.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use dunlin_link::{Digest, reference::Reference};
use tracing::warn;

use crate::folders;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Of the image: what statuses show.
    pub(crate) image: Digest,
    /// Of the module in it: what files are named by.
    pub(crate) module: Digest,
}

/// All names that are remembered.
#[derive(Debug)]
pub(super) struct Meanings {
    folder: PathBuf,
    /// By full reference.
    names: BTreeMap<String, Meaning>,
    /// By image.
    modules: HashMap<Digest, Digest>,
}

impl Meanings {
    /// Reads what was remembered; `folder` is made when it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        folders::make(&folder)?;
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&folder)?.take(NAMES_MAX) {
            let path = entry?.path();
            // A file that says nothing is as good as none: its image is asked for again. One that was cut off has another name than its
            // content wants.
            let found = fs::read_to_string(&path).ok().as_deref().and_then(parse);
            match found.filter(|(name, _)| path == file_of(&folder, name)) {
                Some(found) => names.extend([found]),
                None => fs::remove_file(path)?,
            }
        }
        let modules = names.values().map(|meaning| (meaning.image, meaning.module)).collect();
        Ok(Self { folder, names, modules })
    }

    /// What a reference means here.
    pub(super) fn of(&self, image: &Reference) -> Option<Meaning> {
        match image.digest {
            Some(image) => self.modules.get(&image).map(|module| Meaning { image, module: *module }),
            None => self.names.get(&image.to_string()).copied(),
        }
    }

    /// The module of an image.
    pub(super) fn module_of(&self, image: &Digest) -> Option<Digest> {
        self.modules.get(image).copied()
    }

    /// The images that hold a module.
    pub(super) fn images_of(&self, module: Digest) -> impl Iterator<Item = Digest> {
        self.modules.iter().filter(move |(_, found)| **found == module).map(|(image, _)| *image)
    }

    /// Remembers what an image is, durably, under its name and its digest.
    pub(super) fn remember(&mut self, image: &Reference, meaning: Meaning) -> io::Result<()> {
        let pinned = Reference { tag: None, digest: Some(meaning.image), ..image.clone() };
        let mut is_new = false;
        for name in [pinned.to_string(), image.to_string()] {
            if self.names.get(&name) == Some(&meaning) {
                continue;
            }
            if self.names.len() >= NAMES_MAX && !self.names.contains_key(&name) {
                return Err(io::Error::other(format!("{NAMES_MAX} names of images are kept already")));
            }
            write(&self.folder, &name, meaning)?;
            self.names.insert(name, meaning);
            is_new = true;
        }
        self.modules.insert(meaning.image, meaning.module);
        if is_new { folders::flush(&self.folder) } else { Ok(()) }
    }

    /// Forgets names whose modules are gone.
    pub(super) fn retain(&mut self, is_here: impl Fn(&Digest) -> bool) {
        let folder = &self.folder;
        self.names.retain(|name, meaning| {
            let keep = is_here(&meaning.module);
            if !keep && let Err(error) = fs::remove_file(file_of(folder, name)) {
                warn!(%error, "the name of an unused image could not be removed");
            }
            keep
        });
        self.modules.retain(|_, module| is_here(module));
    }
}

fn parse(text: &str) -> Option<(String, Meaning)> {
    let mut lines = text.lines();
    let name = lines.next()?.to_owned();
    let meaning = Meaning { image: lines.next()?.parse().ok()?, module: lines.next()?.parse().ok()? };
    Some((name, meaning))
}

/// The entry of the folder is the caller's to flush.
fn write(folder: &Path, name: &str, Meaning { image, module }: Meaning) -> io::Result<()> {
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    part.write_all(format!("{name}\n{image}\n{module}\n").as_bytes())?;
    part.as_file().sync_all()?;
    part.persist(file_of(folder, name)).map_err(|error| error.error)?;
    Ok(())
}

/// References are longer than file names may be.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(Digest::of(name.as_bytes()).hex())
}

/// Names that are remembered: several for each pod of the largest node.
const NAMES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outlive_the_agent_and_go_with_their_modules() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Meanings::open(folder.path().join("images")).unwrap();
        let image: Reference = "r.io/a:1".parse().unwrap();
        let meaning = |n: u8| Meaning { image: Digest::of(&[n]), module: Digest::of(&[b'm', n]) };
        let (one, two) = (meaning(1), meaning(2));
        assert_eq!(open().of(&image), None);
        for meaning in [one, two, two] {
            let mut meanings = open();
            meanings.remember(&image, meaning).unwrap();
        }
        let mut meanings = open();
        assert_eq!(meanings.of(&image), Some(two));
        // Where the tag pointed before is known still: a pod may run it.
        assert_eq!(meanings.of(&format!("r.io/a@{}", one.image).parse().unwrap()), Some(one));
        assert_eq!(meanings.module_of(&one.image), Some(one.module));
        assert_eq!(meanings.images_of(two.module).collect::<Vec<_>>(), [two.image]);
        meanings.retain(|module| *module == two.module);
        let mut meanings = open();
        assert_eq!((meanings.of(&image), meanings.module_of(&one.image)), (Some(two), None));
        meanings.retain(|_| false);
        assert_eq!(open().of(&image), None);
        assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 0);
    }

    #[test]
    fn damaged_files_are_no_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a", ""), ("b", "r.io/a:1\n"), ("c", "r.io/a:1\nsha256:1\nsha256:2\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert!(Meanings::open(folder.path().to_owned()).unwrap().names.is_empty());
    }
}
