//! The body of a backup: chunks that are each verified before a byte of them is believed, and of which the last says so.

use std::io::{self, Read, Write};

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _,
    aead::{
        Payload,
        stream::{DecryptorBE32, EncryptorBE32},
    },
};
use dunlin_link::Digest;

use super::{
    BackupError,
    header::{Key, NONCE_BYTES},
};

/// Divides what is written into chunks.
pub(super) struct ChunkWriter<W> {
    output: W,
    seal: Seal,
    header: Digest,
    waiting: Vec<u8>,
}

enum Seal {
    /// Chunks carry a checksum; the number is that of the next.
    Plain(u64),
    Encrypted(Box<EncryptorBE32<ChaCha20Poly1305>>),
}

/// Puts chunks together again.
pub(super) struct ChunkReader<R> {
    input: R,
    /// `None` after the last chunk.
    opener: Option<Opener>,
    header: Digest,
    chunk: Vec<u8>,
    taken: usize,
}

enum Opener {
    Plain(u64),
    Encrypted(Box<DecryptorBE32<ChaCha20Poly1305>>),
}

impl<W: Write> ChunkWriter<W> {
    /// Chunks of a backup with this header; sealed when there is a key.
    pub(super) fn new(output: W, header: Digest, key: Option<(&Key, &[u8; NONCE_BYTES])>) -> Self {
        let seal = key.map_or(Seal::Plain(0), |(key, nonce)| {
            let cipher = ChaCha20Poly1305::new((&key.0).into());
            Seal::Encrypted(Box::new(EncryptorBE32::from_aead(cipher, nonce.into())))
        });
        Self { output, seal, header, waiting: Vec::with_capacity(CHUNK_BYTES) }
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.waiting.len() == CHUNK_BYTES {
                self.emit()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk; answers what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let sealed = match self.seal {
            Seal::Plain(number) => with_checksum(&self.header, number, LAST, &self.waiting),
            Seal::Encrypted(cipher) => {
                let payload = Payload { msg: &self.waiting, aad: self.header.as_bytes() };
                cipher.encrypt_last(payload).map_err(|_| too_long())?
            }
        };
        write_chunk(&mut self.output, LAST, &sealed)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn emit(&mut self) -> io::Result<()> {
        let sealed = match &mut self.seal {
            Seal::Plain(number) => {
                let sealed = with_checksum(&self.header, *number, 0, &self.waiting);
                *number += 1;
                sealed
            }
            Seal::Encrypted(cipher) => {
                let payload = Payload { msg: &self.waiting, aad: self.header.as_bytes() };
                cipher.encrypt_next(payload).map_err(|_| too_long())?
            }
        };
        self.waiting.clear();
        write_chunk(&mut self.output, 0, &sealed)
    }
}

impl<R: Read> ChunkReader<R> {
    /// Chunks of a backup with this header.
    pub(super) fn new(input: R, header: Digest, key: Option<(&Key, &[u8; NONCE_BYTES])>) -> Self {
        let opener = key.map_or(Opener::Plain(0), |(key, nonce)| {
            let cipher = ChaCha20Poly1305::new((&key.0).into());
            Opener::Encrypted(Box::new(DecryptorBE32::from_aead(cipher, nonce.into())))
        });
        Self { input, opener: Some(opener), header, chunk: Vec::new(), taken: 0 }
    }

    /// Fills `out`.
    pub(super) fn read_exact(&mut self, mut out: &mut [u8]) -> Result<(), BackupError> {
        while !out.is_empty() {
            let part = self.read_some(out.len())?;
            let (now, later) = out.split_at_mut(part.len());
            now.copy_from_slice(part);
            out = later;
        }
        Ok(())
    }

    /// Some of the next bytes, at least one and at most `most`.
    pub(super) fn read_some(&mut self, most: usize) -> Result<&[u8], BackupError> {
        while self.taken == self.chunk.len() {
            self.next_chunk()?;
        }
        let start = self.taken;
        self.taken = self.chunk.len().min(start + most);
        Ok(&self.chunk[start..self.taken])
    }

    /// Whether nothing follows, neither in the chunks nor in the file.
    pub(super) fn check_end(&mut self) -> Result<(), BackupError> {
        while self.taken == self.chunk.len() && self.opener.is_some() {
            self.next_chunk()?;
        }
        let mut more = [0];
        let rest = self.input.read(&mut more).map_err(|_| UNREADABLE)?;
        if self.taken < self.chunk.len() || rest > 0 {
            return Err(BackupError::Damaged("something follows on its end"));
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<(), BackupError> {
        let Some(opener) = self.opener.take() else {
            return Err(BackupError::Damaged("it ends within a record"));
        };
        let mut head = [0; 4];
        read_whole(&mut self.input, &mut head)?;
        let head = u32::from_le_bytes(head);
        let length = usize::try_from(head & !LAST).unwrap_or(usize::MAX);
        if !(CHECK_BYTES..=CHUNK_BYTES + CHECK_BYTES).contains(&length) {
            return Err(BackupError::Damaged("a chunk has an impossible length"));
        }
        let mut sealed = vec![0; length];
        read_whole(&mut self.input, &mut sealed)?;
        let is_last = head & LAST != 0;
        let payload = Payload { msg: &sealed, aad: self.header.as_bytes() };
        self.chunk = match opener {
            Opener::Plain(number) => {
                let data = sealed[..length - CHECK_BYTES].to_vec();
                if with_checksum(&self.header, number, head & LAST, &data) != sealed {
                    return Err(BackupError::Damaged("a chunk does not fit its checksum"));
                }
                self.opener = (!is_last).then_some(Opener::Plain(number + 1));
                data
            }
            Opener::Encrypted(cipher) if is_last => cipher.decrypt_last(payload).map_err(|_| UNSEALED)?,
            Opener::Encrypted(mut cipher) => {
                let data = cipher.decrypt_next(payload).map_err(|_| UNSEALED)?;
                self.opener = Some(Opener::Encrypted(cipher));
                data
            }
        };
        self.taken = 0;
        Ok(())
    }
}

fn with_checksum(header: &Digest, number: u64, last: u32, data: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let place = [header.as_bytes().as_slice(), &number.to_le_bytes(), &last.to_le_bytes()].concat();
    let digest = Sha256::new().chain_update(place).chain_update(data).finalize();
    [data, &digest[..CHECK_BYTES]].concat()
}

fn write_chunk(output: &mut impl Write, last: u32, sealed: &[u8]) -> io::Result<()> {
    let length = u32::try_from(sealed.len()).expect("a chunk is short");
    output.write_all(&(length | last).to_le_bytes())?;
    output.write_all(sealed)
}

fn read_whole(input: &mut impl Read, out: &mut [u8]) -> Result<(), BackupError> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Truncated,
        _ => UNREADABLE,
    })
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "a backup of more than 256 TiB")
}

const UNSEALED: BackupError = BackupError::Damaged("a chunk is not what was sealed");
const UNREADABLE: BackupError = BackupError::Damaged("its file cannot be read to the end");

/// Memory of a chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// Of a checksum, and of Poly1305's tag.
const CHECK_BYTES: usize = 16;

/// In a chunk's length: no other follows.
const LAST: u32 = 1 << 31;
