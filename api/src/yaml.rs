//! YAML as Kubernetes' server and tools write it: keys sorted, lists not indented below their key, every string that any YAML parser,
//! old ones included, could take for something else in double quotes, and long lines broken at spaces.

use serde_json::Value;

/// The value as a YAML document.
pub fn emit(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(value, 0, &mut text),
        Value::Array(list) if !list.is_empty() => elements(list, 0, &mut text),
        other => {
            scalar(other, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

/// The value as an element of a list that is a document, or of one that a map of a document holds.
pub fn emit_element(value: &Value) -> String {
    let mut text = String::new();
    elements(std::slice::from_ref(value), 0, &mut text);
    text
}

/// The entries of a map, the first where the text stands, the others on lines of their own.
fn entries(map: &Value, indent: usize, text: &mut String) {
    let mut entries: Vec<(&String, &Value)> = map.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    for (position, (key, value)) in entries.into_iter().enumerate() {
        if position > 0 {
            pad(indent, text);
        }
        text.push_str(&quoted(key));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                pad(indent + 2, text);
                self::entries(value, indent + 2, text);
            }
            Value::Array(list) if !list.is_empty() => {
                text.push('\n');
                pad(indent, text);
                elements(list, indent, text);
            }
            other => {
                text.push(' ');
                scalar(other, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

/// The elements of a list, the first where the text stands.
fn elements(list: &[Value], indent: usize, text: &mut String) {
    for (position, element) in list.iter().enumerate() {
        if position > 0 {
            pad(indent, text);
        }
        text.push_str("- ");
        match element {
            Value::Object(inner) if !inner.is_empty() => entries(element, indent + 2, text),
            Value::Array(inner) if !inner.is_empty() => elements(inner, indent + 2, text),
            other => {
                scalar(other, indent + 2, text);
                text.push('\n');
            }
        }
    }
}

/// A value on one line, or a block of lines at `indent`; without the last line's end.
fn scalar(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::String(string) if is_block(string) => block(string, indent, text),
        Value::String(string) => flow(string, indent, text),
        // Empty lists and maps, numbers, booleans and null are written as in JSON.
        other => text.push_str(&other.to_string()),
    }
}

/// Whether a text of several lines can be written as it is.
fn is_block(string: &str) -> bool {
    string.contains('\n')
        && !string.starts_with([' ', '\n'])
        && !string.contains(" \n")
        && !string.ends_with(' ')
        && string.chars().all(|letter| letter == '\n' || !is_unseen(letter))
}

fn block(string: &str, indent: usize, text: &mut String) {
    let body = string.trim_end_matches('\n');
    let ends = string.len() - body.len();
    text.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(indent, text);
            text.push_str(line);
        }
    }
    text.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

/// A string in the quotes that it needs, broken at single spaces beyond the width of a line; the rest of it stands at `indent`.
fn flow(string: &str, indent: usize, text: &mut String) {
    let written = quoted(string);
    let line = text.rfind('\n').map_or(0, |end| end + 1);
    let mut column = text[line..].chars().count();
    // A space at either end of the string stays where it is.
    let quotes = usize::from(written.starts_with(['\'', '"']));
    let inner = quotes + 1..written.len().saturating_sub(quotes + 1);
    let is_escaping = written.starts_with('"');
    let mut letters = written.char_indices().peekable();
    let mut follows_space = false;
    while let Some((at, letter)) = letters.next() {
        let next_is_space = letters.peek().is_some_and(|(_, next)| *next == ' ');
        let breaks = letter == ' '
            && !follows_space
            && column > WIDTH
            && inner.contains(&at)
            && (is_escaping || !next_is_space);
        if breaks {
            text.push('\n');
            pad(indent, text);
            column = indent;
            if next_is_space {
                // A line that is read on begins with its first letter; only an escape is one before a space.
                text.push('\\');
                column += 1;
            }
        } else {
            text.push(letter);
            column += 1;
        }
        follows_space = letter == ' ';
    }
}

/// A string on one line, in the quotes that it needs.
fn quoted(string: &str) -> String {
    if string.is_empty() || means_something_else(string) || string.chars().any(is_unseen) {
        escaped(string)
    } else if is_plain(string) {
        string.to_owned()
    } else {
        format!("'{}'", string.replace('\'', "''"))
    }
}

/// A string in double quotes. YAML's escapes are a superset of JSON's, and needed for more.
fn escaped(string: &str) -> String {
    let mut text = Value::String(string.to_owned()).to_string();
    for unseen in ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'] {
        if text.contains(unseen) {
            text = text.replace(unseen, &format!("\\u{:04x}", u32::from(unseen)));
        }
    }
    text
}

/// Whether a letter controls something; for YAML more of them end a line, or a document's beginning.
fn is_unseen(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a string has no character that means something where it stands.
fn is_plain(string: &str) -> bool {
    let mut letters = string.chars();
    let first_is_plain = match letters.next() {
        Some('-' | '?' | ':') => letters.next().is_some_and(|second| second != ' '),
        Some(first) => !",[]{}#&*!|>'\"%@` ".contains(first),
        None => false,
    };
    first_is_plain
        && !string.contains(": ")
        && !string.contains(" #")
        && !string.ends_with([':', ' '])
        && !string.starts_with("---")
        && !string.starts_with("...")
}

/// Whether a YAML parser of version 1.1 or 1.2 would read a plain string as another type.
fn means_something_else(string: &str) -> bool {
    const WORDS: &[&str] = &[
        "y", "yes", "on", "n", "no", "off", "true", "false", "null", "~", ".nan", ".inf", "-.inf", "+.inf",
        "<<", "=",
    ];
    let lower = string.to_lowercase();
    WORDS.contains(&lower.as_str()) || is_number(&lower) || is_time(string)
}

fn is_number(lower: &str) -> bool {
    let digits = lower.replace('_', "");
    let unsigned = digits.trim_start_matches(['+', '-']);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let radix = |prefix, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|rest| u128::from_str_radix(rest, radix).is_ok())
    };
    // Numbers to the base of 60, as in 12:30, were numbers once.
    let sexagesimal = unsigned.contains(':')
        && unsigned
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    unsigned.parse::<f64>().is_ok() || radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || sexagesimal
}

/// `2026-01-02`, or that and a time.
fn is_time(string: &str) -> bool {
    let date =
        |part: &[u8]| part[..4].iter().all(u8::is_ascii_digit) && part[4] == b'-' && part[5].is_ascii_digit();
    let bytes = string.as_bytes();
    bytes.len() >= 8 && date(bytes) && bytes.iter().all(|byte| b"0123456789-:.TtZz +".contains(byte))
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// A line is broken at the first space beyond this column.
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{emit, quoted};

    #[test]
    fn layout_is_kubectls() {
        let object = json!({
            "kind": "ConfigMap",
            "data": {"a": "b", "text": "one\n  two\n", "bare": "x\ny"},
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "8", "labels": {}},
            "items": [{"name": "a", "args": ["true", "-f", "x: y"]}, {"name": "b", "deep": {"k": [[1, 2], []]}}],
            "none": null,
        });
        let expected = r#"data:
  a: b
  bare: |-
    x
    y
  text: |
    one
      two
items:
- args:
  - "true"
  - -f
  - 'x: y'
  name: a
- deep:
    k:
    - - 1
      - 2
    - []
  name: b
kind: ConfigMap
metadata:
  creationTimestamp: "2026-01-01T00:00:00Z"
  labels: {}
  resourceVersion: "8"
none: null
"#;
        assert_eq!(emit(&object), expected);
    }

    #[test]
    fn quotes() {
        let check = |string, expected| assert_eq!(quoted(string), expected);
        check("plain text", "plain text");
        check("a:b", "a:b");
        check("/usr/bin", "/usr/bin");
        check("yes", "\"yes\"");
        check("0x1F", "\"0x1F\"");
        check("1e3", "\"1e3\"");
        check("12:30", "\"12:30\"");
        check("10.42.0.5", "10.42.0.5");
        check("1.2.3", "1.2.3");
        check("100m", "100m");
        check("", "\"\"");
        check("a\tb", "\"a\\tb\"");
        check("{x}", "'{x}'");
        check("it's", "it's");
        check("'it", "'''it'");
        check("- x", "'- x'");
    }

    #[test]
    fn long_lines_are_broken_at_spaces() {
        let words = "of so many words that a line of them all is longer than a line of any YAML may be, whatever it says";
        let check = |value: Value, expected: &str| {
            let text = emit(&value);
            assert_eq!(text, expected);
            assert_eq!(serde_norway::from_str::<Value>(&text).unwrap(), value);
        };
        check(
            json!({"k": words}),
            "k: of so many words that a line of them all is longer than a line of any YAML may\n  be, whatever it says\n",
        );
        check(
            json!({"k": format!("{words}: {words}")}),
            "k: 'of so many words that a line of them all is longer than a line of any YAML may\n  be, whatever it says: of so \
             many words that a line of them all is longer than a\n  line of any YAML may be, whatever it says'\n",
        );
        check(
            json!({"l": [format!("{words}\t")]}),
            "l:\n- \"of so many words that a line of them all is longer than a line of any YAML may\n  be, whatever it says\\t\"\n",
        );
        // Two spaces are no place to break, but within double quotes.
        let wide = "x".repeat(90);
        check(json!({"k": format!("{wide}  y")}), &format!("k: {wide}  y\n"));
        check(json!({"k": format!("{wide}  \t")}), &format!("k: \"{wide}\n  \\ \\t\"\n"));
        check(json!({"k": format!("{wide}' ")}), &format!("k: '{wide}'' '\n"));
        check(json!({(format!("{wide} {wide}")): 1}), &format!("{wide} {wide}: 1\n"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let strings = [
            "",
            " ",
            "a",
            "a ",
            " a",
            "a\n",
            "a\n\n",
            "\na",
            "a \nb",
            "a\n b",
            "#",
            "a #b",
            "a: b",
            "a:",
            "-",
            "- a",
            "?",
            "true",
            "~",
            "1",
            "-1.5",
            "0o7",
            "2026-01-01",
            "\t",
            "\u{1}",
            "'",
            "\"",
            "\\",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "{",
            "[",
            ",",
            "|",
            ">",
            "---",
            "...",
            "\u{e9}",
            "a\r\nb",
            "x\n\ny\n",
            "=",
            "<<",
            "a\u{2028}b",
            "\u{feff}a\u{85}",
        ];
        let values: Vec<Value> =
            strings.iter().map(|string| json!({"k": string, "l": [string], *string: 1})).collect();
        let whole = Value::Array(values);
        assert_eq!(serde_norway::from_str::<Value>(&emit(&whole)).unwrap(), whole);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_back(text in "([a-z:#'\"\\\\\u{85}\u{2028}\u{e9}{,-]|[ \n\t]){0,400}", list in "[a-z ]{0,300}") {
            let value = json!({"k": text, "l": [list, {"m": text}], "o": {"p": list}});
            proptest::prop_assert_eq!(serde_norway::from_str::<Value>(&emit(&value)).unwrap(), value);
        }
    }
}
