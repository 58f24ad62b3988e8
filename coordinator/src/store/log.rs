//! The write-ahead log: a file of fixed size that is written from its start again whenever the database has been made durable.
//!
//! A commit is one write and one flush in place, which changes neither the file's length nor its blocks, so the file system has
//! nothing of its own to write. Records start at whole blocks: no block that holds an acknowledged record is ever written again
//! before the database holds it, so a torn write cannot reach back.

use std::io;

use dunlin_link::Revision;
use redb::StorageBackend;

use crate::store::{
    Write,
    entry::Damaged,
    record::{self, RECORD_HEADER_BYTES, RecordHeader},
};

/// The log's file and where the next record goes.
#[derive(Debug)]
pub(super) struct Log {
    backend: Box<dyn StorageBackend>,
    bytes: u64,
    next: u64,
}

/// A record found after a crash.
#[derive(Debug)]
pub(super) struct Found {
    /// Revision of the first transaction; the others follow without gaps.
    pub(super) first: Revision,
    pub(super) txns: Vec<Vec<Write>>,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error("failed to read the log")]
    Read(#[from] io::Error),
    #[error("a record of the log has a valid checksum and makes no sense")]
    Damaged(#[from] Damaged),
}

impl Log {
    /// The log in `backend`, of whatever length it has.
    pub(super) fn open(backend: Box<dyn StorageBackend>) -> io::Result<Self> {
        let bytes = backend.len()?;
        Ok(Self { backend, bytes, next: 0 })
    }

    /// The records of `epoch`, in order, up to the first that is absent, stale or torn. The next record would follow on them.
    pub(super) fn scan(&mut self, epoch: u64) -> Result<Vec<Found>, ScanError> {
        let mut found = Vec::new();
        while let Some(record) = self.read(epoch)? {
            found.push(record);
        }
        Ok(found)
    }

    /// Gives the file `bytes` bytes, all written, so that no later write allocates a block. Only when no record is needed.
    pub(super) fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES_U64);
        self.next = 0;
        if self.bytes == bytes {
            return Ok(());
        }
        self.backend.set_len(0)?;
        self.backend.set_len(bytes)?;
        // Block by block: kernels that cache what is written at once as one unit may write it back as one, too.
        for at in (0..bytes).step_by(BLOCK_BYTES) {
            self.backend.write(at, &[0; BLOCK_BYTES])?;
        }
        self.backend.sync_data()?;
        self.bytes = bytes;
        Ok(())
    }

    /// Whether a record of `length` bytes can be appended.
    pub(super) fn fits(&self, length: usize) -> bool {
        padded(length).is_some_and(|length| self.bytes - self.next >= length)
    }

    /// Appends a record durably. After an error the log must not be written again.
    pub(super) fn append(&mut self, mut record: Vec<u8>) -> io::Result<()> {
        record.resize(record.len().next_multiple_of(BLOCK_BYTES), 0);
        self.backend.write(self.next, &record)?;
        self.backend.sync_data()?;
        self.next += record.len() as u64;
        Ok(())
    }

    /// Starts again at the beginning: the database is durable and its epoch has risen.
    pub(super) fn restart(&mut self) {
        self.next = 0;
    }

    /// Whether nothing was appended since the last start.
    pub(super) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Releases the file.
    pub(super) fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn read(&mut self, epoch: u64) -> Result<Option<Found>, ScanError> {
        let rest = self.bytes - self.next;
        if rest < BLOCK_BYTES_U64 {
            return Ok(None);
        }
        let mut header = [0; RECORD_HEADER_BYTES];
        self.backend.read(self.next, &mut header)?;
        let Some(header) = RecordHeader::decode(&header).filter(|header| header.epoch == epoch) else {
            return Ok(None);
        };
        let length =
            RECORD_HEADER_BYTES + usize::try_from(header.body).expect("the target has 32 bits or more");
        if !self.fits(length) {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.backend.read(self.next, &mut bytes)?;
        let Some(txns) = record::decode(&bytes) else { return Ok(None) };
        self.next += padded(length).expect("a record that fits has a length");
        Ok(Some(Found { first: header.first, txns: txns? }))
    }
}

fn padded(length: usize) -> Option<u64> {
    u64::try_from(length.checked_next_multiple_of(BLOCK_BYTES)?).ok()
}

/// What disks and flash write in one piece, at least.
const BLOCK_BYTES: usize = 4096;
const BLOCK_BYTES_U64: u64 = 4096;
