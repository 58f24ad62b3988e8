//! Making a data folder of a backup: built aside, verified whole, and only then put in its place.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use dunlin_link::{Digest, NodeName, Revision, UnixMillis, restore::RestoreRecord};

use super::{
    BackupError, BackupReader, Contents, Manifest, Modules, Passphrase, Record, generation,
    predecessor::Predecessor,
};
use crate::{
    artifacts,
    coordinator::make_private,
    folders,
    pki::{Pki, PkiError},
    store::{KeyValue, OpenError, Rebuild, RebuildError},
    tokens::{Admission, Returned, RevokeError},
};

/// What is to be restored, and how.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The backup.
    pub file: &'a Path,
    /// Of the backup.
    pub passphrase: Option<&'a Passphrase>,
    /// The coordinator's data folder.
    pub data_dir: &'a Path,
    /// What to do with a cluster that is there.
    pub present: Present,
    /// The generation to begin, instead of one that follows from the clock.
    pub generation: Option<u64>,
    /// Nodes whose key shall be refused.
    pub revoke: &'a [NodeName],
    /// The clock.
    pub now: UnixMillis,
}

/// What to do with a cluster that is in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Refuse.
    Refuse,
    /// Keep it aside, in a folder of its own.
    SetAside,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup was of.
    pub manifest: Manifest,
    /// What it held.
    pub contents: Contents,
    /// The cluster's generation from now on.
    pub generation: u64,
    /// Where the cluster that was in the folder is now.
    pub set_aside: Option<PathBuf>,
    /// Modules that the backup did not hold and that were taken over from the folder.
    pub kept_modules: u64,
    /// Whom the cluster lets in now and did not before, or may not have.
    pub returned: Returned,
    /// Why it could not be read what was revoked, deleted or used up in the cluster that was in the folder.
    pub unread: Option<OpenError>,
}

/// Why a backup is not restored. The folder is as it was, unless [`RestoreError::Place`] says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There is a cluster already.
    #[error("`{0}` holds a cluster already; --replace keeps that one aside and puts the backup in its place")]
    Occupied(PathBuf),
    /// A coordinator runs on it.
    #[error("a coordinator is running on `{0}`; stop it first")]
    InUse(PathBuf),
    /// The generation asked for is not above the backup's.
    #[error("generation {asked} is not above {seen}, which the cluster has had")]
    Generation {
        /// What was asked for.
        asked: u64,
        /// What there was.
        seen: u64,
    },
    /// A node whose key shall be refused is not in the backup.
    #[error("failed to revoke a key of the backup")]
    Revoke(#[from] RevokeError),
    /// The authority in the backup is not that of its cluster.
    #[error("the backup does not hold the certificate authority of cluster {0}")]
    Authority(String),
    /// The authority cannot be used.
    #[error("failed to use the backup's certificate authority")]
    Pki(#[from] PkiError),
    /// The store cannot be made.
    #[error("failed to make the store")]
    Store(#[from] RebuildError),
    /// The disk failed while the new folder was made.
    #[error("failed to write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk failed while the new folder was put in place.
    #[error(
        "failed to put `{path}` in its place; the restore stopped half-way, and no coordinator starts on the folder until it is \
         repeated with --replace"
    )]
    Place {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Restores a backup into a data folder that no coordinator uses.
///
/// # Errors
/// When the backup is not whole, the folder is taken, or the disk fails.
pub fn restore(options: &Restore<'_>) -> Result<Restored, RestoreError> {
    let folder = options.data_dir;
    // Before anything is made: most refusals need no look at the disk.
    let mut reader = BackupReader::open(options.file, options.passphrase)?;
    let is_occupied = PARTS.iter().any(|part| part.is_cluster && folder.join(part.name).exists());
    if is_occupied && options.present == Present::Refuse {
        return Err(RestoreError::Occupied(folder.to_owned()));
    }
    let generation = next_generation(options, reader.manifest())?;
    let present = if is_occupied { Predecessor::read(folder)? } else { Predecessor::default() };
    let _lock = lock(folder)?;
    make_private(folder).map_err(write_error(folder))?;
    let building = folder.join(BUILDING);
    make_folder(&building)?;
    let built = build(&mut reader, &building, generation, (options, &present));
    let ((contents, returned), manifest) = match built {
        Ok(built) => (built, reader.manifest().clone()),
        Err(error) => {
            // Nothing of it is needed, and what cannot be removed now is removed by the next attempt.
            let _ = fs::remove_dir_all(&building);
            return Err(error);
        }
    };
    let mut kept_modules = 0;
    if manifest.modules == Modules::LeftOut {
        kept_modules = artifacts::keep_modules(folder, &building).map_err(write_error(&building))?;
    }
    let set_aside = put_in_place(folder, &building, options.now)?;
    let unread = present.unread;
    Ok(Restored { manifest, contents, generation, set_aside, kept_modules, returned, unread })
}

/// Whether a restore into the folder stopped half-way.
pub(crate) fn is_unfinished(data_dir: &Path) -> bool {
    data_dir.join(BUILDING).exists()
}

/// Above every generation that nodes can have seen: one that the same backup began earlier, on a disk that is lost, too.
fn next_generation(options: &Restore<'_>, manifest: &Manifest) -> Result<u64, RestoreError> {
    let seen = manifest.restore_generation;
    match options.generation {
        Some(asked) if asked <= seen => Err(RestoreError::Generation { asked, seen }),
        Some(asked) => Ok(asked),
        None => Ok((seen + 1).max(u64::try_from(options.now.0 / 1000).unwrap_or(0))),
    }
}

/// Above every revision that the cluster can have had after the backup, also in an earlier restore of it: clients that kept one
/// are told to list again, and never take another state for the one they know.
fn first_revision(manifest: &Manifest, generation: u64) -> Revision {
    let after = manifest.revision.0.saturating_add(REVISIONS_SKIPPED);
    Revision(after.max(generation.saturating_mul(REVISIONS_PER_SECOND)).min(REVISION_MAX))
}

/// Makes store, authority and modules below `building`, all durable.
fn build(
    reader: &mut BackupReader,
    building: &Path,
    generation: u64,
    (options, present): (&Restore<'_>, &Predecessor),
) -> Result<(Contents, Returned), RestoreError> {
    let mut contents = Contents::default();
    let mut admission = Admission::default();
    let mut store = Rebuild::create(&building.join("store"))?;
    let revision = first_revision(reader.manifest(), generation);
    make_folder(&building.join("pki"))?;
    while let Some(record) = reader.next_record()? {
        contents.add(&record);
        match record {
            Record::File(name, content) => {
                check_name(&name)?;
                write_file(&building.join("pki").join(name), |file| file.write_all(&content))?;
            }
            // The record of an earlier restore gives way to this one's.
            Record::Value(value) if value.key == generation::RESTORE_KEY => {}
            Record::Value(value) => admission.take(value).map_or(Ok(()), |value| store.put(value))?,
            Record::Module(digest, _) => build_module(reader, building, digest)?,
        }
    }
    let cluster_id = reader.manifest().cluster_id.clone();
    let pki = Pki::load(building)?.filter(|pki| pki.cluster_id() == cluster_id);
    let Some(pki) = pki else { return Err(RestoreError::Authority(cluster_id)) };
    let before = present.admission(building);
    if let Some(before) = before {
        admission.refuse_as(before, revision);
    }
    for node in options.revoke {
        admission.revoke(node, revision, options.now)?;
    }
    let returned = admission.returned(before, options.now);
    for value in admission.into_values() {
        store.put(value)?;
    }
    let record = RestoreRecord { cluster_id, generation, revision, restored_at: options.now };
    let value = generation::encode(&pki.sign_restore(record)?);
    store.put(KeyValue { key: generation::RESTORE_KEY.to_owned(), value, mod_revision: revision })?;
    store.finish(revision)?;
    sync(&building.join("pki"))?;
    sync(building)?;
    Ok((contents, returned))
}

fn build_module(reader: &mut BackupReader, building: &Path, digest: Digest) -> Result<(), RestoreError> {
    let path = artifacts::module_path(building, digest);
    let folder = path.parent().expect("a module's path ends in a folder and its name");
    make_folder(folder)?;
    let mut read = Ok(());
    write_file(&path, |file| {
        read = read_module(reader, digest, |part| file.write_all(part));
        Ok(())
    })?;
    sync(folder)?;
    Ok(read?)
}

/// Reads the module that was met last to its end, and compares it with its digest.
pub(super) fn read_module<R: Read>(
    reader: &mut BackupReader<R>,
    digest: Digest,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), BackupError> {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    loop {
        let part = reader.module_part()?;
        if part.is_empty() {
            break;
        }
        hash.update(part);
        take(part).map_err(|source| BackupError::File { path: digest.hex().into(), source })?;
    }
    if Digest::from_bytes(hash.finalize().into()) == digest {
        Ok(())
    } else {
        Err(BackupError::Damaged("a module is not the one of its digest"))
    }
}

/// Moves what was built to where a coordinator looks for it. The empty folder that it came from goes last: while it is there, no
/// coordinator starts, and none can take the rest for a new cluster.
fn put_in_place(folder: &Path, building: &Path, now: UnixMillis) -> Result<Option<PathBuf>, RestoreError> {
    let aside = folder.join(format!("replaced-{}", now.0));
    let mut set_aside = None;
    for Part { name, .. } in PARTS {
        let (old, new) = (folder.join(name), building.join(name));
        if old.exists() {
            folders::make(&aside).map_err(place_error(&aside))?;
            fs::rename(&old, aside.join(name)).map_err(place_error(&old))?;
            set_aside = Some(aside.clone());
        }
        if new.exists() {
            fs::rename(&new, &old).map_err(place_error(&new))?;
        }
    }
    let last = |folder: &Path| folders::sync(folder).map_err(place_error(folder));
    // Both ends of every move: the cluster that was there is neither lost nor in both places.
    set_aside.as_deref().map_or(Ok(()), last)?;
    last(folder)?;
    fs::remove_dir_all(building).map_err(place_error(building))?;
    last(folder)?;
    Ok(set_aside)
}

/// Held while a folder is changed: no coordinator starts on it.
fn lock(folder: &Path) -> Result<Option<File>, RestoreError> {
    let path = folder.join("store/store.log");
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(RestoreError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(RestoreError::Write { path, source }),
    }
}

/// A name within `pki/`, and nothing that leads elsewhere.
fn check_name(name: &str) -> Result<(), BackupError> {
    let is_plain = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_plain { Ok(()) } else { Err(BackupError::Damaged("the name of a file leads elsewhere")) }
}

/// Makes a private folder, and those above it.
fn make_folder(path: &Path) -> Result<(), RestoreError> {
    if path.ends_with(BUILDING) && path.exists() {
        fs::remove_dir_all(path).map_err(write_error(path))?;
    }
    folders::make(path).map_err(write_error(path))
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), RestoreError> {
    let make = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        write(&mut file)?;
        file.sync_all()
    };
    make().map_err(write_error(path))
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    folders::sync(folder).map_err(write_error(folder))
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Write { path: path.to_owned(), source }
}

fn place_error(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    move |source| RestoreError::Place { path: path.to_owned(), source }
}

struct Part {
    name: &'static str,
    /// Whether a folder that has it holds a cluster.
    is_cluster: bool,
}

/// What a data folder consists of, as far as backups are concerned.
const PARTS: [Part; 3] = [
    Part { name: "store", is_cluster: true },
    Part { name: "pki", is_cluster: true },
    Part { name: "modules", is_cluster: false },
];

/// The file of a cluster's authority.
pub(super) const AUTHORITY: &str = "pki/ca.pem";

/// Where a restore builds; a folder with it is not complete.
const BUILDING: &str = "restoring";

/// As etcd's own advice has it: more writes than a cluster makes in weeks.
const REVISIONS_SKIPPED: u64 = 1_000_000_000;

/// Generations are seconds: no cluster writes more than this in each.
const REVISIONS_PER_SECOND: u64 = 1_000;

/// What every client that takes a resource version for a number can hold, with room to go on.
const REVISION_MAX: u64 = 1 << 52;
