//! `--sort-by`.

use anyhow::Result;
use serde_json::Value;

use crate::{document::plain, jsonpath::Template};

/// Orders a list by the value that a path finds in each element (below `inside`, if that is not empty).
///
/// # Errors
/// When the path is malformed.
pub(super) fn sort(list: &mut Value, path: &str, inside: &str) -> Result<()> {
    let template = Template::parse(path)?;
    let key = |element: &Value| {
        let object = if inside.is_empty() { element } else { &element[inside] };
        let value = template.values(object).first().copied().cloned().unwrap_or_default();
        // Numbers by size, before texts by letters.
        (value.as_f64().is_none(), value.as_f64().unwrap_or_default(), plain(&value))
    };
    if let Some(elements) = list.as_array_mut() {
        elements.sort_by(|a, b| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| a.2.cmp(&b.2))
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::sort;

    #[test]
    fn sorting() {
        let check = |mut list: Value, expected: Value| {
            sort(&mut list, ".k", "").unwrap();
            assert_eq!(list, expected);
        };
        check(json!([{"k": "b"}, {"k": "a"}]), json!([{"k": "a"}, {"k": "b"}]));
        check(json!([{"k": 10}, {"k": 9}]), json!([{"k": 9}, {"k": 10}]));
        check(json!([{"k": "a"}, {"k": 1}, {}]), json!([{"k": 1}, {}, {"k": "a"}]));
    }
}
