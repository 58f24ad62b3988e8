//! A disk in memory that fails when told to, and forgets what was not flushed when it crashes.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redb::StorageBackend;

/// The two files of a store on one disk, with one count of operations; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

/// One file of the disk.
#[derive(Debug)]
pub(crate) struct DiskFile {
    disk: Disk,
    index: usize,
}

#[derive(Debug, Default)]
struct State {
    files: [Content; 2],
    /// Writes, flushes and changes of length so far.
    operations: usize,
    /// The operation that fails, and with it all later ones.
    failing_from: Option<usize>,
    /// How many flushes there were, and how long each takes.
    flushes: usize,
    flush_time: Duration,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    flushed: Vec<u8>,
    /// Where and what was written since the last flush.
    unflushed: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    pub(crate) fn with_flush_time(flush_time: Duration) -> Self {
        let disk = Self::default();
        disk.lock().flush_time = flush_time;
        disk
    }

    /// The files for a store's database and log.
    pub(crate) fn files(&self) -> (DiskFile, DiskFile) {
        let file = |index| DiskFile { disk: self.clone(), index };
        (file(0), file(1))
    }

    /// Fails the `nth` operation from now, and all after it.
    pub(crate) fn fail_after(&self, nth: usize) {
        let mut state = self.lock();
        state.failing_from = Some(state.operations + nth);
    }

    pub(crate) fn flushes(&self) -> usize {
        self.lock().flushes
    }

    pub(crate) fn operations(&self) -> usize {
        self.lock().operations
    }

    /// The disk after a power cut: what was flushed, and of each later write some sectors, as chance has it.
    pub(crate) fn crashed(&self, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let files = self.lock().files.clone().map(|content| {
            let mut flushed = content.flushed;
            for (offset, bytes) in content.unflushed {
                for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    let start = offset + index * SECTOR_BYTES;
                    if chance.random_bool(0.5)
                        && let Some(place) = flushed.get_mut(start..start + sector.len())
                    {
                        place.copy_from_slice(sector);
                    }
                }
            }
            Content { now: flushed.clone(), flushed, unflushed: Vec::new() }
        });
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation; fails when its time has come.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.operations += 1;
        match state.failing_from {
            Some(nth) if state.operations > nth => Err(io::Error::other("the disk was told to fail")),
            _ => Ok(state),
        }
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.index].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        let start = usize::try_from(offset).unwrap();
        let bytes = state.files[self.index].now.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let content = &mut state.files[self.index];
        let len = usize::try_from(len).unwrap();
        content.now.resize(len, 0);
        // A file's length is taken to last at once; what is in it is not.
        content.flushed.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        state.flushes += 1;
        let content = &mut state.files[self.index];
        content.flushed = content.now.clone();
        content.unflushed.clear();
        let time = state.flush_time;
        drop(state);
        thread::sleep(time);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let content = &mut state.files[self.index];
        let start = usize::try_from(offset).unwrap();
        content.now[start..start + data.len()].copy_from_slice(data);
        content.unflushed.push((start, data.to_vec()));
        Ok(())
    }
}

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
