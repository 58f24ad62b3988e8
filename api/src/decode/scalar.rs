//! What a scalar of YAML means to Kubernetes, whose parser keeps the rules of YAML 1.1 that ours has left behind: `yes` is true, `0644`
//! is octal, `1_000` is a number.

use serde_json::{Number, Value};

/// What a plain scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Bool(bool),
    Integer(i64),
    /// More than the largest [`i64`].
    Unsigned(u64),
    Float(f64),
    Text,
}

impl Scalar {
    /// What `text` means where it is written in `source`: text, unless it stands there plain, without quotes and without a tag.
    pub(super) fn at(source: &[u8], text: &str) -> Self {
        match Self::of(text) {
            Self::Text => Self::Text,
            _ if style(source, text) != Style::Plain => Self::Text,
            scalar => scalar,
        }
    }

    /// What `text` means as a plain scalar; nulls and what else both versions of YAML agree on is known to the parser.
    fn of(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'0'..=b'9' | b'+' | b'-' | b'.') => number(text).unwrap_or(Self::Text),
            _ if TRUE.contains(&text) => Self::Bool(true),
            _ if FALSE.contains(&text) => Self::Bool(false),
            _ => Self::Text,
        }
    }

    /// As JSON has it once Kubernetes has read it back, where a whole number is an integer if it fits one. `None` for text, and for
    /// what JSON cannot say.
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::Bool(value) => Some(value.into()),
            Self::Integer(value) => Some(value.into()),
            Self::Unsigned(value) => Self::Float(value as f64).value(),
            Self::Float(value) => {
                integral(value).map(Value::from).or_else(|| Number::from_f64(value).map(Value::Number))
            }
            Self::Text => None,
        }
    }

    /// As the key of a map; `None` for text, and for integers that Kubernetes takes for no key.
    pub(super) fn key(self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Integer(value) => Some(value.to_string()),
            Self::Float(value) => Some(float_key(value)),
            Self::Unsigned(_) | Self::Text => None,
        }
    }
}

/// Whether `key` asks that the maps which are its value be merged into its own.
pub(super) fn is_merge(source: &[u8], key: &str) -> bool {
    key == "<<" && matches!(style(source, key), Style::Plain | Style::Tagged(b"!!merge"))
}

/// A number in the notations of Go and of YAML 1.1, underscores left out.
fn number(text: &str) -> Option<Scalar> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Scalar::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Scalar::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Scalar::Float(f64::NAN)),
        _ => {}
    }
    if text.len() > NUMBER_BYTES {
        return None;
    }
    let digits = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    integer(&digits).or_else(|| float(&digits)).or_else(|| signed_binary(&digits))
}

/// An integer whose prefix says the base.
fn integer(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (base, digits) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if text.starts_with('-') {
        return 0_i64.checked_sub_unsigned(magnitude).map(Scalar::Integer);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Scalar::Integer(value)),
        // Only without a sign is there one bit more.
        Err(_) if text.starts_with('+') => float(text),
        Err(_) => Some(Scalar::Unsigned(magnitude)),
    }
}

/// A decimal number; too large for a float is none.
fn float(text: &str) -> Option<Scalar> {
    // Rust's own notation has words for what is no number.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value = text.parse::<f64>().ok().filter(|value| is_decimal && value.is_finite())?;
    Some(Scalar::Float(value))
}

/// Go's YAML also takes a sign after `0b`.
fn signed_binary(text: &str) -> Option<Scalar> {
    let digits = text.strip_prefix("0b")?;
    i64::from_str_radix(digits, 2).ok().map(Scalar::Integer)
}

/// The integer that a float is once it has been written in JSON by Go, with as few digits other than zero as tell it apart.
fn integral(value: f64) -> Option<i64> {
    if value.abs() < EXPONENT_FROM { value.to_string().parse().ok() } else { None }
}

/// A float as Go writes it in its shortest form of single precision, which is what Kubernetes makes of such a key.
fn float_key(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "so does Kubernetes")]
    let single = value as f32;
    if single.is_nan() {
        return ".nan".to_owned();
    }
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{single:e}");
    match scientific.split_once('e').map(|(mantissa, exponent)| (mantissa, exponent.parse::<i32>())) {
        Some((mantissa, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => single.to_string(),
    }
}

/// How a scalar is written, as far as it changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style<'s> {
    Plain,
    Quoted,
    Tagged(&'s [u8]),
}

/// How `text`, a part of `source`, is written there. The parser gives away text only, but borrows it from where it found it; text that
/// it could not borrow has escapes or several lines, and thus is text whatever its style.
fn style<'s>(source: &'s [u8], text: &str) -> Style<'s> {
    let start = text.as_ptr().addr().checked_sub(source.as_ptr().addr());
    let Some(before) = start.and_then(|start| source.get(..start)) else {
        return Style::Quoted;
    };
    match before.last() {
        Some(b'"' | b'\'') => Style::Quoted,
        Some(b' ' | b'\t') => tag(&before[before.len().saturating_sub(PROPERTIES_BYTES)..]),
        _ => Style::Plain,
    }
}

/// The tag that ends what is on the line before a scalar, be there an anchor after it or not.
fn tag(before: &[u8]) -> Style<'_> {
    let mut rest = before;
    loop {
        let blanks = rest.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = &rest[..rest.len() - blanks];
        let word = rest.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
        // An indicator ends what was there before; in flow style one may also stand at the word's start.
        let property = match word {
            [] | [.., b':' | b',' | b'[' | b'{' | b'?'] => return Style::Plain,
            _ => word.rsplit(|byte| b"[{,\"'".contains(byte)).next().unwrap_or_default(),
        };
        let property = property.strip_prefix(b":").unwrap_or(property);
        match property.first() {
            Some(b'!') => return Style::Tagged(property),
            Some(b'&') => rest = &rest[..rest.len() - word.len()],
            _ => return Style::Plain,
        }
    }
}

/// From here on Go writes floats with an exponent.
const EXPONENT_FROM: f64 = 1e21;

/// Longer than anyone writes a number.
const NUMBER_BYTES: usize = 1024;

/// Tag and anchor before a scalar are looked for in this much.
const PROPERTIES_BYTES: usize = 256;

const TRUE: &[&str] = &["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"];

const FALSE: &[&str] = &["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"];

#[cfg(test)]
mod tests;
