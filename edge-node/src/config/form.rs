//! The form of names, labels and taints, as Kubernetes has it.

pub(super) fn is_subdomain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|byte| letter(*byte))
            && bytes.last().is_some_and(|byte| letter(*byte))
            && bytes.iter().all(|byte| letter(*byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

pub(super) fn parse_label(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    (is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned()))
}

pub(super) fn parse_taint(text: &str) -> Option<(String, String, String)> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
    (known && is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned(), effect.to_owned()))
}

/// A qualified name: an optional DNS prefix and a name of at most 63 characters.
fn is_key(key: &str) -> bool {
    let (prefix_ok, name) = match key.split_once('/') {
        Some((prefix, name)) => (is_subdomain(prefix), name),
        None => (true, key),
    };
    prefix_ok && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
