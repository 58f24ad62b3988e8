//! Standard base64 with padding, as Kubernetes carries bytes in JSON.

/// The text's bytes.
///
/// # Errors
///
/// The position of the first byte that is wrong, as Go counts it.
pub fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut digits, mut padding) = (0_u32, 0_usize, 0_usize);
    for (position, byte) in text.bytes().enumerate() {
        let digit = match byte {
            b'\r' | b'\n' => continue,
            b'=' if digits >= 2 && digits + padding < 4 => {
                padding += 1;
                continue;
            }
            _ if padding > 0 => return Err(position),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(position),
        };
        group = group << 6 | u32::from(digit);
        digits += 1;
        if digits == 4 {
            out.extend_from_slice(&group.to_be_bytes()[1..]);
            (group, digits) = (0, 0);
        }
    }
    match (digits, padding) {
        (0, 0) => {}
        (2, 2) => out.push(group.to_be_bytes()[2] << 4 | group.to_be_bytes()[3] >> 4),
        (3, 1) => out.extend_from_slice(&(group << 6).to_be_bytes()[1..3]),
        _ => return Err(text.len()),
    }
    Ok(out)
}

/// The bytes as text.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = (group >> (18 - 6 * position)) & 63;
            out.push(if position <= chunk.len() { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_round_trip() {
        for (bytes, text) in
            [("", ""), ("q", "cQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("{\"auths\":{}}", "eyJhdXRocyI6e319")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Ok(bytes.as_bytes()));
        }
    }

    #[test]
    fn wrong_bytes_are_located() {
        for (text, position) in [("!", 0), ("not base64!", 3), ("YQ=a", 3), ("YQ=", 3), ("Y", 1)] {
            assert_eq!(decode(text), Err(position), "{text}");
        }
    }
}
