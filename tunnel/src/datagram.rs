//! How a datagram lies in the stream: its length as a little-endian `u16`, then its bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest datagram: larger than any on UDP, so that fewer are needed, and short enough for urgent ones to follow soon.
pub const DATAGRAM_BYTES_MAX: u16 = 4096;

/// Appends a datagram to bytes that are to be written.
pub(crate) fn append(datagram: &[u8], stream: &mut Vec<u8>) {
    // QUIC was told the bound; one beyond it could only be lost, as on UDP.
    let Ok(length) = u16::try_from(datagram.len()) else { return };
    if length <= DATAGRAM_BYTES_MAX {
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(datagram);
    }
}

/// Reads the next datagram; its length is checked before memory is taken.
pub(crate) async fn read(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = input.read_u16_le().await?;
    if length == 0 || length > DATAGRAM_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a datagram in the tunnel is empty or too long",
        ));
    }
    let mut datagram = vec![0; usize::from(length)];
    input.read_exact(&mut datagram).await?;
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use super::{DATAGRAM_BYTES_MAX, append, read};

    #[tokio::test]
    async fn datagrams_keep_their_bounds() {
        let mut stream = Vec::new();
        let longest = vec![7; usize::from(DATAGRAM_BYTES_MAX)];
        append(b"one", &mut stream);
        append(&vec![9; longest.len() + 1], &mut stream);
        append(&longest, &mut stream);
        let mut input = stream.as_slice();
        assert_eq!(read(&mut input).await.unwrap(), b"one");
        assert_eq!(read(&mut input).await.unwrap(), longest);
        assert!(read(&mut input).await.is_err());
    }

    #[tokio::test]
    async fn malformed_lengths_are_refused() {
        for bytes in [&[0, 0][..], &[1, 16, 0], &[255, 255], &[5]] {
            assert!(read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
