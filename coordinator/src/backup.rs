//! Backups of a cluster: all of its state in one file, and going on from one.
//!
//! [`collect`](fn@collect) reads a consistent state, online or from a stopped coordinator's folder, as a stream of records; [`BackupFile`] writes
//! such a stream into a file, sealed if there is a passphrase; [`BackupReader`] reads and verifies one; [`restore()`] makes a data
//! folder of it. The bytes are in `docs/design/backup.md`.

mod chunks;
mod collect;
mod file;
mod generation;
mod header;
mod predecessor;
mod records;
mod restore;
pub mod snapshots;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

use dunlin_link::{Revision, UnixMillis};
use serde::{Deserialize, Serialize};

pub use self::{
    collect::{CollectError, Collected, Source, collect, collect_offline},
    file::{BackupFile, Contents, inspect},
    generation::GenerationError,
    header::Passphrase,
    records::{BackupReader, Record},
    restore::{Present, Restore, RestoreError, Restored, restore},
};
pub(crate) use self::{generation::last_restore, restore::is_unfinished};

/// What a backup is of; readable without its passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Of the file; see [`FORMAT`].
    pub format: u32,
    /// Which cluster.
    pub cluster_id: String,
    /// When it was made, by the coordinator's clock.
    pub created_at: UnixMillis,
    /// All of it is as of this revision.
    pub revision: Revision,
    /// Of the cluster when it was made.
    pub restore_generation: u64,
    /// The release that made it.
    pub version: String,
    /// Whether it holds the pushed modules.
    pub modules: Modules,
}

/// Whether a backup holds the pushed modules: they are most of its bytes, and can be pushed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Modules {
    /// All of them.
    Included,
    /// Only their names and digests.
    LeftOut,
}

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file cannot be read or written.
    #[error("failed to read or write `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("this is not a backup of a Dunlin cluster")]
    NotABackup,
    /// A later release made it.
    #[error(
        "the backup is of format {0}, which this release does not know; use the release that made it, or a later one"
    )]
    NewerFormat(u32),
    /// It needs a passphrase.
    #[error(
        "the backup is encrypted; give its passphrase with --passphrase-file or DUNLIN_BACKUP_PASSPHRASE"
    )]
    PassphraseNeeded,
    /// It has another one.
    #[error("this is not the passphrase of the backup")]
    WrongPassphrase,
    /// Its end is missing.
    #[error("the backup is cut off: its end is missing")]
    Truncated,
    /// Bytes of it changed.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    /// No key can be made of the passphrase.
    #[error("failed to derive a key from the passphrase: {0}")]
    KeyDerivation(argon2::Error),
}

/// The format that this release writes.
pub const FORMAT: u32 = 1;
