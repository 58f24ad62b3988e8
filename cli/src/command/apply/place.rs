//! Values at the paths by which the server names managed fields: `.spec.ports[port=80,protocol="TCP"].name`.

use serde_json::Value;

/// The value at a path; `None` when there is none, or the path cannot be followed.
pub(super) fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(rest) = path.strip_prefix('.') {
        // Names may have dots themselves: the longest that is there is meant.
        let fits = |key: &&String| {
            rest.strip_prefix(key.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let key = value.as_object()?.keys().filter(fits).max_by_key(|key| key.len())?;
        return find(&value[key.as_str()], &rest[key.len()..]);
    }
    let (selector, rest) = bracketed(path)?;
    let items = value.as_array()?;
    let element = match selector.strip_prefix('=') {
        Some(literal) => {
            let literal: Value = serde_json::from_str(literal).ok()?;
            items.iter().find(|item| **item == literal)?
        }
        None => match selector.parse::<usize>() {
            Ok(index) => items.get(index)?,
            Err(_) => items.iter().find(|item| has_keys(item, selector))?,
        },
    };
    find(element, rest)
}

/// A value for one line of a message.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// What is in the brackets that a path begins with, and what follows them.
fn bracketed(path: &str) -> Option<(&str, &str)> {
    let inside = path.strip_prefix('[')?;
    let (mut quoted, mut escaped) = (false, false);
    for (index, letter) in inside.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some((&inside[..index], &inside[index + 1..])),
            _ => {}
        }
    }
    None
}

/// Whether an element has these keys, for instance `port=80,protocol="TCP"`. One that leaves a key to its default is taken.
fn has_keys(item: &Value, keys: &str) -> bool {
    let mut rest = keys;
    while let Some((name, after)) = rest.split_once('=') {
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
        let Some(Ok(value)) = values.next() else { return false };
        if !item[name].is_null() && item[name] != value {
            return false;
        }
        rest = after[values.byte_offset()..].trim_start_matches(',');
    }
    rest.is_empty()
}

/// Letters of a value that a message shows.
const SHOWN_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{find, shown};

    #[test]
    fn paths() {
        let object = json!({
            "metadata": {"annotations": {"example.com/a": "1", "example": "2"}, "finalizers": ["x/y"]},
            "spec": {"ports": [{"port": 80, "name": "udp", "protocol": "UDP"}, {"port": 80, "name": "tcp"}], "list": [1, 2]},
        });
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(find(&object, path).map(shown).as_deref(), expected, "{path}");
        };
        check(".metadata.annotations.example.com/a", Some("\"1\""));
        check(".metadata.annotations.example", Some("\"2\""));
        check(".metadata.finalizers[=\"x/y\"]", Some("\"x/y\""));
        check(".spec.ports[port=80,protocol=\"UDP\"].name", Some("\"udp\""));
        check(".spec.ports[port=80,protocol=\"TCP\"].name", Some("\"tcp\""));
        check(".spec.ports[port=81,protocol=\"TCP\"].name", None);
        check(".spec.list[1]", Some("2"));
        check(".spec.list[9]", None);
        check(".spec.none", None);
        check(".spec.ports[", None);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&"x".repeat(100).into()), format!("\"{}...", "x".repeat(59)));
    }
}
