//! Whether a text is an image reference at all.

/// Whether `reference` has the form `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub fn is_reference(reference: &str) -> bool {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    let has_host = path.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let first_ok = if has_host { is_host(first) } else { is_path_part(first) };
    first_ok
        && parts.all(is_path_part)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(|digest| digest.parse::<dunlin_link::Digest>().is_ok())
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        && port.parse::<u16>().is_ok()
}

fn is_path_part(part: &str) -> bool {
    let alphanumeric =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    alphanumeric(part.bytes().next())
        && alphanumeric(part.bytes().next_back())
        && part.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_references_from_other_text() {
        let digest = dunlin_link::Digest::of(b"x");
        for good in
            ["hello", "dunlin.local/hello:v1.2", "localhost:5000/a/b", "a/b_c", &format!("hello@{digest}")]
        {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Hello", "a b", "hello:", "a//b", "/a", "a/", ":v1", "hello@sha256:1", "-a", "a:b:c"]
        {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
