//! Base64 for URLs, without padding.

/// The bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = group >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[usize::try_from(index).expect("six bits fit")]));
        }
    }
    text
}

/// The bytes of a text; bits that encode no byte are not looked at, as in Go.
///
/// # Errors
/// Where the first bad character is.
pub fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for (position, chunk) in text.as_bytes().chunks(4).enumerate() {
        let mut group = 0_u32;
        for (offset, digit) in chunk.iter().enumerate() {
            let value = ALPHABET.iter().position(|known| known == digit).ok_or(position * 4 + offset)?;
            group = group << 6 | u32::try_from(value).expect("the alphabet has 64 characters");
        }
        if chunk.len() == 1 {
            return Err(position * 4);
        }
        let group = group << (6 * (4 - chunk.len()));
        bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Ok(bytes)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            assert_eq!(decode(&encode(&bytes[..length])).unwrap(), &bytes[..length]);
        }
        assert_eq!(decode("a*"), Err(1));
        assert_eq!(decode("YWJjZ"), Err(4));
        assert_eq!(decode("YR").unwrap(), b"a", "another text for the same byte");
    }
}
