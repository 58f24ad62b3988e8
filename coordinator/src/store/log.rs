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
    entry::{Damaged, Meta},
    record::{self, RECORD_HEADER_BYTES, RecordBuilder, RecordHeader},
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
    Malformed(#[from] Damaged),
    #[error("{0}")]
    Damaged(&'static str),
}

impl Log {
    /// The log in `backend`, of whatever length it has.
    pub(super) fn open(backend: Box<dyn StorageBackend>) -> io::Result<Self> {
        let bytes = backend.len()?;
        Ok(Self { backend, bytes, next: 0 })
    }

    /// The records that follow on the database, in order, up to one that was torn while it was written. The next record would
    /// follow on them.
    ///
    /// What follows on a record that is not whole tells a torn one from a damaged one: each record is flushed before the next is
    /// written. What cannot be told from a torn record is damage to the last one.
    pub(super) fn scan(&mut self, meta: &Meta) -> Result<Vec<Found>, ScanError> {
        let is_complete = meta.log_bytes != 0;
        if is_complete && self.bytes != meta.log_bytes {
            return Err(ScanError::Damaged("the log is not as long as it was"));
        }
        let mut found: Vec<Found> = Vec::new();
        while let Some(header) = self.header(self.next)?.filter(|header| header.epoch == meta.log_epoch) {
            let Some(record) = self.read(self.next, header)? else { break };
            let expected = found.last().map(|last| last.first.0 + last.txns.len() as u64);
            let follows =
                expected.map_or(record.first.0 <= meta.revision.0 + 1, |next| record.first.0 == next);
            if !follows {
                return Err(ScanError::Damaged("a record of the log is missing"));
            }
            self.next += padded(header.length()).expect("a record that was read has a length");
            found.push(record);
        }
        self.check_rest(meta)?;
        if is_complete && found.is_empty() {
            self.check_start(meta.log_epoch)?;
        }
        Ok(found)
    }

    /// How long the file is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length that a file for `bytes` bytes has.
    pub(super) fn whole_blocks(bytes: u64) -> u64 {
        bytes.next_multiple_of(BLOCK_BYTES_U64)
    }

    /// Gives the file `bytes` bytes, all written, so that no later write allocates a block. Only when no record is needed.
    pub(super) fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = Self::whole_blocks(bytes);
        self.next = 0;
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

    /// Starts again at the beginning, durably: the database is durable up to `newest`, and its epoch has risen to `epoch`.
    pub(super) fn restart(&mut self, epoch: u64, newest: Revision) -> io::Result<()> {
        self.next = 0;
        self.append(RecordBuilder::marker(epoch, newest))
    }

    /// Whether nothing was appended since the last start.
    pub(super) fn is_empty(&self) -> bool {
        self.next <= BLOCK_BYTES_U64
    }

    /// Releases the file.
    pub(super) fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    /// Refuses records behind the end: they were written after what is missing there had been flushed.
    fn check_rest(&self, meta: &Meta) -> Result<(), ScanError> {
        let Meta { log_epoch: epoch, log_bytes, .. } = *meta;
        // A log that is being made begins with the epoch that the database has not reached yet.
        let is_wrong =
            |header: &RecordHeader| header.epoch == epoch || (header.epoch > epoch && log_bytes != 0);
        let mut at = self.next;
        while let Some(header) = self.header(at)? {
            if is_wrong(&header) && self.read(at, header)?.is_some() {
                return Err(ScanError::Damaged(if header.epoch == epoch {
                    "a record of the log is damaged, and later ones are whole"
                } else {
                    "the database is older than the log"
                }));
            }
            at += BLOCK_BYTES_U64;
        }
        Ok(())
    }

    /// Refuses a log that does not begin with this epoch's marker, unless that was torn, or not written yet, when the power went.
    fn check_start(&self, epoch: u64) -> Result<(), ScanError> {
        let header = self.header(0)?;
        let is_known = header.is_some_and(|header| header.epoch == epoch || header.epoch + 1 == epoch);
        if is_known {
            Ok(())
        } else {
            Err(ScanError::Damaged("the log does not begin where the database ends"))
        }
    }

    /// The header at an offset: `None` beyond the last block, one of epoch zero where there is no record.
    fn header(&self, at: u64) -> io::Result<Option<RecordHeader>> {
        if self.bytes.saturating_sub(at) < BLOCK_BYTES_U64 {
            return Ok(None);
        }
        let mut header = [0; RECORD_HEADER_BYTES];
        self.backend.read(at, &mut header)?;
        Ok(Some(RecordHeader::decode(&header).unwrap_or(NO_RECORD)))
    }

    /// The record of a header; `None` when it is not whole.
    fn read(&self, at: u64, header: RecordHeader) -> Result<Option<Found>, ScanError> {
        let length = header.length();
        if padded(length).is_none_or(|length| self.bytes - at < length) {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.backend.read(at, &mut bytes)?;
        let Some(txns) = record::decode(&bytes) else { return Ok(None) };
        Ok(Some(Found { first: header.first, txns: txns? }))
    }
}

fn padded(length: usize) -> Option<u64> {
    u64::try_from(length.checked_next_multiple_of(BLOCK_BYTES)?).ok()
}

/// What disks and flash write in one piece, at least.
const BLOCK_BYTES: usize = 4096;
const BLOCK_BYTES_U64: u64 = 4096;

/// Stands for a block that begins with no record. Epochs that are written begin with one.
const NO_RECORD: RecordHeader = RecordHeader { epoch: 0, first: Revision(0), body: u32::MAX };
