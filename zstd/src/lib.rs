//! Content that is compressed with zstd: several frames, and some that hold something else, as tools write them that compress in
//! parallel or add an index.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, Chain, Cursor, Read};

use ruzstd::decoding::StreamingDecoder;

/// Reads all frames as one.
#[derive(Debug)]
pub struct Frames<R: BufRead> {
    state: State<R>,
}

enum State<R: BufRead> {
    Between(R),
    Within(Box<Decoder<R>>),
    /// An error was told.
    Broken,
}

type Decoder<R> = StreamingDecoder<Chain<Cursor<[u8; 4]>, R>, ruzstd::decoding::FrameDecoder>;

impl<R: BufRead> Frames<R> {
    /// What `input` holds.
    pub const fn new(input: R) -> Self {
        Self { state: State::Between(input) }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Broken => return Err(io::ErrorKind::InvalidData.into()),
                State::Within(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => {
                        self.state = State::Between(decoder.into_inner().into_inner().1)
                    }
                    length => {
                        self.state = State::Within(decoder);
                        return Ok(length);
                    }
                },
                State::Between(mut input) => {
                    if input.fill_buf()?.is_empty() {
                        self.state = State::Between(input);
                        return Ok(0);
                    }
                    self.state = next(input)?;
                }
            }
        }
    }
}

fn next<R: BufRead>(mut input: R) -> io::Result<State<R>> {
    let mut magic = [0; 4];
    input.read_exact(&mut magic)?;
    if u32::from_le_bytes(magic) & !0xf == SKIPPABLE {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        if io::copy(&mut input.by_ref().take(length), &mut io::sink())? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(State::Between(input));
    }
    let decoder = StreamingDecoder::new(Cursor::new(magic).chain(input));
    Ok(State::Within(Box::new(decoder.map_err(|error| io::Error::other(error.to_string()))?)))
}

impl<R: BufRead> std::fmt::Debug for State<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Between(_) => "Between",
            Self::Within(_) => "Within",
            Self::Broken => "Broken",
        })
    }
}

/// How frames begin that hold nothing of the content, but for the last four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[test]
    fn all_frames_are_read_and_others_are_skipped() {
        let frame = |text: &[u8]| compress_to_vec(text, CompressionLevel::Uncompressed);
        let skipped = [&0x184d_2a53_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let read = |bytes: &[u8]| {
            let mut text = Vec::new();
            Frames::new(bytes).read_to_end(&mut text).map(|_| text)
        };
        assert_eq!(read(&[frame(b"one "), skipped.clone(), frame(b"two")].concat()).unwrap(), b"one two");
        assert_eq!(read(b"").unwrap(), b"");
        assert!(read(&skipped[..9]).is_err() && read(b"no zstd").is_err());
        let whole = frame(&[7; 1000]);
        assert!(read(&whole[..whole.len() - 9]).is_err(), "it is cut off");
    }
}
