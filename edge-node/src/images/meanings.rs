//! What names of images meant when they were pulled, kept on disk: a node without a network starts what it has.
//!
//! A name is a file of a few lines: the full reference, the digest of the image, and what the image holds: the digest of a module, or
//! `linux`, the digest of the image's config and how many bytes it was sent as, or `guest` and that number. Each pull also leaves the name with the digest, so that an
//! image is known for as long as its content is here, wherever its tag moves. A name is written when everything else is there.

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
    /// What is in it.
    pub(crate) holds: Holds,
}

/// What an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A module, by its digest: what its file is named by.
    Module(Digest),
    /// The root file system of a Linux container.
    Linux {
        /// Digest of the image's config, which names the layers.
        config: Digest,
        /// What was sent of it.
        bytes: u64,
    },
    /// Modules with files, which lie under the digest of the image.
    Guest {
        /// What was sent of it.
        bytes: u64,
    },
}

impl Holds {
    /// Of a Linux image: the digest of its config.
    pub(super) const fn config(self) -> Option<Digest> {
        match self {
            Self::Module(_) | Self::Guest { .. } => None,
            Self::Linux { config, .. } => Some(config),
        }
    }
}

/// All names that are remembered.
#[derive(Debug)]
pub(super) struct Meanings {
    folder: PathBuf,
    /// By full reference.
    names: BTreeMap<String, Meaning>,
    /// By image.
    images: HashMap<Digest, Holds>,
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
        let images = names.values().map(|meaning| (meaning.image, meaning.holds)).collect();
        Ok(Self { folder, names, images })
    }

    /// What a reference means here.
    pub(super) fn of(&self, image: &Reference) -> Option<Meaning> {
        match image.digest {
            Some(image) => self.holds(&image).map(|holds| Meaning { image, holds }),
            None => self.names.get(&image.to_string()).copied(),
        }
    }

    /// What an image holds.
    pub(super) fn holds(&self, image: &Digest) -> Option<Holds> {
        self.images.get(image).copied()
    }

    /// All images, with what they hold.
    pub(super) fn images(&self) -> impl Iterator<Item = (Digest, Holds)> {
        self.images.iter().map(|(image, holds)| (*image, *holds))
    }

    /// All images, with what they hold and what they are called.
    pub(super) fn by_image(&self) -> BTreeMap<Digest, (Holds, Vec<String>)> {
        let mut images: BTreeMap<_, (Holds, Vec<String>)> = BTreeMap::new();
        for (name, meaning) in &self.names {
            let entry = images.entry(meaning.image).or_insert((meaning.holds, Vec::new()));
            entry.1.push(name.clone());
        }
        images
    }

    /// Forgets one name.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        if self.names.remove(name).is_some() {
            fs::remove_file(file_of(&self.folder, name))?;
        }
        folders::flush(&self.folder)
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
        self.images.insert(meaning.image, meaning.holds);
        if is_new { folders::flush(&self.folder) } else { Ok(()) }
    }

    /// Forgets the images, by all of their names, that are not to be kept.
    pub(super) fn retain_images(&mut self, is_kept: impl Fn(&Digest, &Holds) -> bool) {
        let folder = &self.folder;
        self.names.retain(|name, meaning| {
            let keep = is_kept(&meaning.image, &meaning.holds);
            if !keep && let Err(error) = fs::remove_file(file_of(folder, name)) {
                warn!(%error, "the name of an unused image could not be removed");
            }
            keep
        });
        self.images.retain(|image, holds| is_kept(image, holds));
    }
}

fn parse(text: &str) -> Option<(String, Meaning)> {
    let mut lines = text.lines();
    let (name, image, holds) = (lines.next()?.to_owned(), lines.next()?.parse().ok()?, lines.next()?);
    let holds = if holds == LINUX {
        Holds::Linux { config: lines.next()?.parse().ok()?, bytes: lines.next()?.parse().ok()? }
    } else if holds == GUEST {
        Holds::Guest { bytes: lines.next()?.parse().ok()? }
    } else {
        Holds::Module(holds.parse().ok()?)
    };
    // A number that was cut off is one, too.
    text.ends_with('\n').then_some((name, Meaning { image, holds }))
}

/// The entry of the folder is the caller's to flush.
fn write(folder: &Path, name: &str, Meaning { image, holds }: Meaning) -> io::Result<()> {
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    let holds = match holds {
        Holds::Module(module) => module.to_string(),
        Holds::Linux { config, bytes } => format!("{LINUX}\n{config}\n{bytes}"),
        Holds::Guest { bytes } => format!("{GUEST}\n{bytes}"),
    };
    part.write_all(format!("{name}\n{image}\n{holds}\n").as_bytes())?;
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

/// Stands where the digest of a module would, in front of what a Linux image is.
const LINUX: &str = "linux";

/// The same in front of how many bytes modules with files were sent as.
const GUEST: &str = "guest";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outlive_the_agent_and_go_with_their_modules() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Meanings::open(folder.path().join("images")).unwrap();
        let image: Reference = "r.io/a:1".parse().unwrap();
        let module = Meaning { image: Digest::of(b"1"), holds: Holds::Module(Digest::of(b"m")) };
        let linux = Holds::Linux { config: Digest::of(b"c"), bytes: 7 };
        let (one, two) = (module, Meaning { image: Digest::of(b"2"), holds: linux });
        let guest = Meaning { image: Digest::of(b"3"), holds: Holds::Guest { bytes: 7 } };
        assert_eq!(open().of(&image), None);
        for meaning in [one, guest, two, two] {
            let mut meanings = open();
            meanings.remember(&image, meaning).unwrap();
        }
        let mut meanings = open();
        assert_eq!(meanings.of(&image), Some(two));
        // Where the tag pointed before is known still: a pod may run it.
        assert_eq!(meanings.of(&format!("r.io/a@{}", one.image).parse().unwrap()), Some(one));
        assert_eq!(meanings.holds(&one.image), Some(one.holds));
        assert_eq!(meanings.holds(&guest.image), Some(guest.holds));
        assert_eq!(meanings.images().count(), 3);
        meanings.retain_images(|_, holds| *holds == two.holds);
        let mut meanings = open();
        assert_eq!((meanings.of(&image), meanings.holds(&one.image)), (Some(two), None));
        meanings.retain_images(|_, _| false);
        assert_eq!(open().of(&image), None);
        assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 0);
    }

    #[test]
    fn damaged_files_are_no_names() {
        let folder = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"x");
        let image = format!("r.io/a:1\n{digest}\n");
        let own = Digest::of(b"r.io/a:1").hex();
        for (name, text) in [
            ("a", String::new()),
            ("b", "r.io/a:1\n".to_owned()),
            ("c", "r.io/a:1\nsha256:1\nsha256:2\n".to_owned()),
            ("d", format!("{image}{digest}\n")),
            (&*own, format!("{image}linux\n{digest}\n12")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert!(Meanings::open(folder.path().to_owned()).unwrap().names.is_empty());
    }
}
