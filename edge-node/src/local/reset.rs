//! Setting a node's state aside, for a person who chose to: a node must not do that by itself, because what it forgets may be deleted
//! pods, and only a coordinator can tell it again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{FILE, OpenError, tables};

/// Why a state is not set aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// There is no state.
    #[error("there is no node state in `{dir}`")]
    Absent {
        /// The folder.
        dir: PathBuf,
    },
    /// An agent uses it.
    #[error("an agent uses the state in `{dir}`; stop it first")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Nothing is wrong with it.
    #[error(
        "the state in `{dir}` can be read, and the node needs no reset; to make it forget its pods all the same, add --even-if-readable"
    )]
    Readable {
        /// The folder.
        dir: PathBuf,
    },
    /// The file cannot be moved.
    #[error("failed to set `{path}` aside")]
    Move {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What keeps the state in `dir` from being used; `None` when nothing does. The file is looked at and not changed.
///
/// # Errors
/// When there is none, or an agent uses it.
pub fn problem(dir: &Path) -> Result<Option<OpenError>, ResetError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(ResetError::Absent { dir: dir.to_owned() });
    }
    // A copy: opening repairs what a crash left half done, and a look must not write.
    let copy = dir.join(format!("{FILE}.look"));
    let lock = tables::is_in_use(&path);
    if lock {
        return Err(ResetError::InUse { dir: dir.to_owned() });
    }
    let failed = |source| ResetError::Move { path: copy.clone(), source };
    fs::copy(&path, &copy).map_err(failed)?;
    let opened = tables::open(&copy, super::CACHE_BYTES);
    fs::remove_file(&copy).map_err(failed)?;
    Ok(opened.err().map(|error| error.at(&path)))
}

/// Moves the state in `dir` aside and answers where it is now.
///
/// # Errors
/// When there is none, an agent uses it, or it cannot be moved.
pub fn set_aside(dir: &Path) -> Result<PathBuf, ResetError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(ResetError::Absent { dir: dir.to_owned() });
    }
    if tables::is_in_use(&path) {
        return Err(ResetError::InUse { dir: dir.to_owned() });
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Never over an earlier one, whatever the clock says.
    let names = (0..).map(|more| dir.join(format!("{FILE}.aside-{}", seconds + more)));
    let aside =
        names.into_iter().find(|name| !name.exists()).unwrap_or_else(|| dir.join(format!("{FILE}.aside")));
    let moved = fs::rename(&path, &aside).and_then(|()| fs::File::open(dir)?.sync_all());
    moved.map_err(|source| ResetError::Move { path, source })?;
    Ok(aside)
}
