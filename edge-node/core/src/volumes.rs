//! What a container's files are made of: each volume with its content resolved, and each mount with what it is of.
//!
//! Nothing here touches a disk; the shell that does finds every path checked. Words of failure are the kubelet's.

mod huge;
mod plan;
mod project;

use std::{fmt, sync::Arc};

use dunlin_link::{
    Bytes, Digest,
    volumes::{Access, HostPathKind, Medium},
};

pub use self::plan::{image_mounts, projected_volumes, setup};
use crate::env::ConfigError;

/// What the shell has to put in place before a container of a pod starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// All volumes that some container of the pod mounts.
    pub volumes: Vec<VolumeSetup>,
    /// What this container sees of them.
    pub mounts: Vec<MountSetup>,
    /// Where it leaves its last words.
    pub termination_message_path: String,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSetup {
    /// Its name, which is a DNS label.
    pub name: String,
    /// What is in it.
    pub source: SourceSetup,
}

/// What is in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSetup {
    /// A folder of the pod's own.
    Empty(Medium),
    /// The same of large pages, each of this size.
    Huge(Bytes),
    /// What the machine has at an absolute path.
    Host {
        /// Where.
        path: String,
        /// What has to be there.
        kind: HostPathKind,
    },
    /// Files that the node writes, all at once.
    Files {
        /// With no path twice, and none below another.
        files: Vec<File>,
        /// Where secrets are kept off the disk.
        medium: Medium,
    },
}

impl SourceSetup {
    /// Where what is in it is, unless that is the machine's own affair.
    pub const fn medium(&self) -> Option<Medium> {
        match self {
            Self::Empty(medium) | Self::Files { medium, .. } => Some(*medium),
            // Nothing of it is ever copied: pages that a container does not ask for it cannot have.
            Self::Huge(_) | Self::Host { .. } => None,
        }
    }
}

/// One file that the node writes. `Debug` does not show what is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Relative, without `.`, `..` or empty parts.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub data: Arc<[u8]>,
    /// Whose it is; `None` for the node's own user.
    pub owner: Option<u32>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What a container sees at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountSetup {
    /// Absolute, without a slash at the end but for the root itself.
    pub path: String,
    /// What of it.
    pub part: PartSetup,
    /// Whether the container may change it.
    pub access: Access,
    /// Where it is, and any copy of it has to be.
    pub medium: Medium,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartSetup {
    /// A volume, or what is in it at a relative path, which may not be there yet.
    Volume {
        /// Its name.
        name: String,
        /// Relative and checked; empty for all of it.
        inside: String,
    },
    /// What an image holds, or what is in that at a relative path.
    Image {
        /// The volume's name.
        name: String,
        /// The image's digest.
        digest: Digest,
        /// Its layers, unpacked, the lowest first. The shell knows them.
        layers: Vec<String>,
        /// Relative and checked; empty for all of it.
        inside: String,
    },
    /// One file as it is now.
    File(File),
    /// These files as they are now.
    Folder(Vec<File>),
}

/// Why a volume cannot be put in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
pub struct MountError {
    /// Its name.
    pub volume: String,
    /// In words.
    pub why: String,
}

/// Why a container's files cannot be put in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A volume is not there now: it is tried again, by the event `FailedMount`.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The container asks for what there is not; for `CreateContainerConfigError`.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Whether a path may be joined to a folder: relative, with no part that leads elsewhere, and not longer than file systems take.
pub fn is_safe_relative(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && path.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.len() <= PART_BYTES_MAX
                && !part.contains('\0')
        })
}

/// Linux' bound on paths.
const PATH_BYTES_MAX: usize = 4096;

/// Linux' bound on names.
const PART_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
