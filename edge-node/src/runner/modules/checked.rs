//! Which code this process has found to be what is said of it: each file is hashed once in the life of a runner, and again when it is
//! another one.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use dunlin_link::Digest;

use super::NotLoaded;
use crate::compiled::{CompileMode, CompiledFiles, Said, Trust, Untrusted, hash};

/// Files that passed, as they were then.
#[derive(Debug, Default)]
pub(super) struct Checked {
    passed: Mutex<HashMap<PathBuf, Stamp>>,
}

/// Another file, or one that was written to, has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Checked {
    /// Whether there is code that may be loaded; whose it is and that it is whole is certain then. What this node compiled itself counts
    /// where it may compile.
    pub(super) fn pass(
        &self,
        files: &CompiledFiles,
        target: &str,
        mode: CompileMode,
    ) -> Result<bool, NotLoaded> {
        let refused = |error: &dyn std::fmt::Display| NotLoaded::Refused(error.to_string());
        let said = files.said().map_err(|error| refused(&error))?;
        let (digest, bytes) = match said {
            Said::Own(digest) if mode == CompileMode::Auto => (digest, None),
            Said::Nothing | Said::Own(_) => return Ok(false),
            Said::Signed(signed) => {
                let module = files.module().ok_or_else(|| refused(&Untrusted::OtherModule))?;
                let trust = Trust::beside(&files.code).map_err(|error| refused(&error))?;
                trust.check(&signed, module, target).map_err(|error| refused(&error))?;
                (signed.record.code, Some(signed.record.bytes))
            }
        };
        let stamp = stamp(&files.code).map_err(|error| refused(&error))?;
        if self.known(&files.code) == Some(stamp) {
            return Ok(true);
        }
        let found = hash(&files.code).map_err(|error| refused(&error))?;
        if found.0 != digest || bytes.is_some_and(|bytes| bytes != found.1) {
            return Err(refused(&Untrusted::Content));
        }
        self.note(&files.code, stamp);
        Ok(true)
    }

    /// Keeps what was compiled here just now.
    pub(super) fn keep_own(&self, files: &CompiledFiles, code: &Path) -> io::Result<()> {
        fs::set_permissions(code, Permissions::from_mode(0o400))?;
        let (digest, _): (Digest, u64) = hash(code)?;
        files.keep_own(code, digest)?;
        self.note(&files.code, stamp(&files.code)?);
        Ok(())
    }

    fn known(&self, path: &Path) -> Option<Stamp> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    fn note(&self, path: &Path, stamp: Stamp) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.len() >= PASSED_MAX {
            passed.clear();
        }
        passed.insert(path.to_owned(), stamp);
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Far more modules than a node runs; beyond it they are hashed again.
const PASSED_MAX: usize = 4096;
