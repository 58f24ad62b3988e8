//! Bytes of a log record: what one group commit changed, framed so that a torn or stale one is told from a whole one.

use bytes::{Buf, Bytes};
use dunlin_link::Revision;
use sha2::{Digest as _, Sha256};

use crate::store::{Write, entry::Damaged};

/// Builds one record: transactions with rising revisions, without gaps.
#[derive(Debug)]
pub(super) struct RecordBuilder {
    bytes: Vec<u8>,
}

impl RecordBuilder {
    /// A record whose first transaction will have the revision `first`.
    pub(super) fn new(epoch: u64, first: Revision) -> Self {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES + 512);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&first.0.to_le_bytes());
        bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
        Self { bytes }
    }

    /// A record without a transaction: it begins an epoch in the log, so that the log tells when the database is older than it.
    pub(super) fn marker(epoch: u64, newest: Revision) -> Vec<u8> {
        Self::new(epoch, Revision(newest.0 + 1)).finish()
    }

    /// Adds the next transaction.
    pub(super) fn push(&mut self, writes: &[Write]) {
        self.bytes.extend_from_slice(&length(writes.len()));
        for write in writes {
            let kind = if write.value().is_some() { KIND_PUT } else { KIND_DELETE };
            self.bytes.push(kind);
            self.bytes.extend_from_slice(&length(write.key().len()));
            self.bytes.extend_from_slice(write.key().as_bytes());
            if let Some(value) = write.value() {
                self.bytes.extend_from_slice(&length(value.len()));
                self.bytes.extend_from_slice(value);
            }
        }
    }

    /// The record's length when finished.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The record with its length and checksum.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let body = length(self.bytes.len() - RECORD_HEADER_BYTES);
        self.bytes[4..8].copy_from_slice(&body);
        let checksum = checksum(&self.bytes[..HEADER_CHECKED_BYTES], &self.bytes[RECORD_HEADER_BYTES..]);
        self.bytes[HEADER_CHECKED_BYTES..RECORD_HEADER_BYTES].copy_from_slice(&checksum);
        self.bytes
    }
}

/// The fixed first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) epoch: u64,
    pub(super) first: Revision,
    /// Bytes that follow the header.
    pub(super) body: u32,
}

impl RecordHeader {
    /// Bytes of the whole record.
    pub(super) fn length(&self) -> usize {
        RECORD_HEADER_BYTES.saturating_add(usize::try_from(self.body).unwrap_or(usize::MAX))
    }

    /// The header at the start of `bytes`; `None` when there is no record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..HEADER_CHECKED_BYTES)?.strip_prefix(&MAGIC)?;
        let body = rest.get_u32_le();
        let epoch = rest.get_u64_le();
        let first = Revision(rest.get_u64_le());
        Some(Self { epoch, first, body })
    }
}

/// The transactions of a whole record; `None` when its checksum says that it is not whole.
pub(super) fn decode(record: &[u8]) -> Option<Result<Vec<Vec<Write>>, Damaged>> {
    let (header, body) = record.split_at_checked(RECORD_HEADER_BYTES)?;
    let (checked, stored) = header.split_at(HEADER_CHECKED_BYTES);
    (checksum(checked, body) == stored).then(|| decode_body(Bytes::copy_from_slice(body)))
}

fn decode_body(mut body: Bytes) -> Result<Vec<Vec<Write>>, Damaged> {
    let mut txns = Vec::new();
    while body.has_remaining() {
        let writes = take_u32(&mut body)?;
        txns.push((0..writes).map(|_| decode_write(&mut body)).collect::<Result<_, _>>()?);
    }
    Ok(txns)
}

fn decode_write(body: &mut Bytes) -> Result<Write, Damaged> {
    let kind = body.try_get_u8().map_err(|_| Damaged)?;
    let key = String::from_utf8(take_bytes(body)?.to_vec()).map_err(|_| Damaged)?;
    match kind {
        KIND_PUT => Ok(Write::Put(key, take_bytes(body)?)),
        KIND_DELETE => Ok(Write::Delete(key)),
        _ => Err(Damaged),
    }
}

fn take_u32(body: &mut Bytes) -> Result<u32, Damaged> {
    body.try_get_u32_le().map_err(|_| Damaged)
}

fn take_bytes(body: &mut Bytes) -> Result<Bytes, Damaged> {
    let length = usize::try_from(take_u32(body)?).map_err(|_| Damaged)?;
    if length > body.len() {
        return Err(Damaged);
    }
    Ok(body.split_to(length))
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("transactions are bounded far below 4 GiB").to_le_bytes()
}

fn checksum(header: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(header).chain_update(body).finalize();
    digest[..CHECKSUM_BYTES].try_into().expect("a SHA-256 digest is longer")
}

/// Bytes before a record's body.
pub(super) const RECORD_HEADER_BYTES: usize = HEADER_CHECKED_BYTES + CHECKSUM_BYTES;

const MAGIC: [u8; 4] = *b"DLG1";
/// Magic, length, epoch, first revision.
const HEADER_CHECKED_BYTES: usize = 4 + 4 + 8 + 8;
const CHECKSUM_BYTES: usize = 16;
const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::any, proptest};

    use super::*;

    fn record(txns: &[Vec<Write>]) -> Vec<u8> {
        let mut builder = RecordBuilder::new(3, Revision(9));
        for txn in txns {
            builder.push(txn);
        }
        builder.finish()
    }

    #[test]
    fn records_round_trip_and_every_flipped_byte_is_seen() {
        let txns = vec![
            vec![Write::Put("/a".to_owned(), Bytes::from_static(b"one")), Write::Delete("/b".to_owned())],
            vec![Write::Put("/c".to_owned(), Bytes::new())],
        ];
        let bytes = record(&txns);
        let header = RecordHeader::decode(&bytes).unwrap();
        assert_eq!((header.epoch, header.first), (3, Revision(9)));
        assert_eq!(usize::try_from(header.body).unwrap() + RECORD_HEADER_BYTES, bytes.len());
        assert_eq!(decode(&bytes).unwrap().unwrap(), txns);

        for index in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[index] ^= 1;
            assert!(decode(&torn).is_none(), "{index}");
            assert!(decode(&bytes[..index]).is_none(), "{index}");
        }
        assert_eq!(RecordHeader::decode(&[0; 64]), None);
    }

    proptest! {
        #[test]
        fn no_body_with_a_valid_checksum_makes_decoding_panic(body in vec(any::<u8>(), 0..64)) {
            let mut builder = RecordBuilder::new(1, Revision(1));
            builder.bytes.extend_from_slice(&body);
            // Any answer will do, so long as there is one.
            let _ = decode(&builder.finish()).unwrap();
        }
    }
}
