//! Room on the disk for what must be written even when the disk is full: orders to stop pods, and what became of pods.
//!
//! Two measures. The state's file owns every block of its length, so that a commit which fits into its free pages needs nothing of the
//! disk. And a file of no content is there to be given up, for a commit that does not fit.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// The file to be given up, and how much of the state's file is known to own its blocks.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    is_there: bool,
    solid_bytes: u64,
}

impl Reserve {
    /// The reserve beside the state's file; taken by [`Reserve::take`].
    pub(super) fn beside(state: &Path) -> Self {
        Self { path: state.with_extension(EXTENSION), is_there: false, solid_bytes: 0 }
    }

    /// Takes what of the reserve is not there, as far as the disk has room for it: a full one may clear. Nothing is written for it but
    /// what the file system notes of blocks.
    pub(super) fn take(&mut self, state: &Path) {
        // Without a reserve the node works all the same.
        let _ = self.make_solid(state);
        if !self.is_there {
            self.is_there = make(&self.path).is_ok();
            if !self.is_there {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// Gives the reserve up; whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        self.is_there = false;
        fs::remove_file(&self.path).is_ok()
    }

    fn make_solid(&mut self, state: &Path) -> io::Result<()> {
        let metadata = fs::metadata(state)?;
        if metadata.len() <= self.solid_bytes {
            return Ok(());
        }
        if metadata.blocks() * BLOCK_BYTES < metadata.len() {
            let file = fs::OpenOptions::new().write(true).open(state)?;
            match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, metadata.len()) {
                // There is no asking such a file system.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.solid_bytes = metadata.len();
        Ok(())
    }
}

fn make(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.len() < RESERVE_BYTES {
        fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
    }
    Ok(())
}

/// `node.reserve`, beside `node.redb`.
const EXTENSION: &str = "reserve";

/// For some hundred tombstones, and for the pages around them that redb writes anew.
const RESERVE_BYTES: u64 = 256 << 10;

/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;
