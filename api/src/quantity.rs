//! Quantities of resources: `500m`, `1Gi`, `2`. Parsed exactly to billionths, printed in Kubernetes' canonical form.

use std::{fmt, str::FromStr};

/// An amount with the notation it was written in. Equality and order look at the amount only.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

/// Why a text is no quantity; the message is Kubernetes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The unit is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `k`, `M`, `m`, ...
    DecimalSi,
    /// `Ki`, `Mi`, ...
    BinarySi,
    /// `e3`, `E6`, ...
    Exponent,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self { nanos: 0, notation: Notation::DecimalSi };

    /// So many thousandths.
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * NANOS_PER_MILLI, notation: Notation::DecimalSi }
    }

    /// So many billionths.
    pub fn from_nano(nano: i64) -> Self {
        Self { nanos: i128::from(nano), notation: Notation::DecimalSi }
    }

    /// So many whole units, printed with binary suffixes where they fit.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANOS, notation: Notation::BinarySi }
    }

    /// Whole units, rounded up; saturates.
    pub fn value(self) -> i64 {
        saturate(div_up(self.nanos, NANOS))
    }

    /// Thousandths, rounded up; saturates.
    pub fn milli(self) -> i64 {
        saturate(div_up(self.nanos, NANOS_PER_MILLI))
    }

    /// Whether it is exactly zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    /// The sum, in this quantity's notation; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), notation: self.notation }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, rest) = rest.split_at(digits_end);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(if text.is_empty() || !suffix.is_empty() {
                QuantityError::Format
            } else {
                QuantityError::Numeric
            });
        }
        check_suffix_letters(suffix)?;
        let (notation, scale) = parse_suffix(suffix)?;
        let magnitude = magnitude(whole, fraction, scale);
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, notation })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.notation {
            Notation::BinarySi if self.nanos.abs() >= 1024 * NANOS => {
                let mut value = div_up(self.nanos, NANOS);
                let mut power = 0;
                while value % 1024 == 0 && power < BINARY_SUFFIXES.len() - 1 {
                    value /= 1024;
                    power += 1;
                }
                write!(f, "{value}{}", BINARY_SUFFIXES[power])
            }
            notation => {
                let mut value = self.nanos;
                let mut exponent = -9;
                while value != 0 && value % 1000 == 0 && exponent < 18 {
                    value /= 1000;
                    exponent += 3;
                }
                match (value, notation) {
                    (0, _) => f.write_str("0"),
                    (value, Notation::Exponent) if exponent != 0 => write!(f, "{value}e{exponent}"),
                    (value, _) => write!(f, "{value}{}", decimal_suffix(exponent)),
                }
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

/// Only letters of known units, then an optional sign and digits, may follow the number.
fn check_suffix_letters(suffix: &str) -> Result<(), QuantityError> {
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { Ok(()) } else { Err(QuantityError::Format) }
}

fn parse_suffix(suffix: &str) -> Result<(Notation, Scale), QuantityError> {
    if let Some(power) = BINARY_SUFFIXES.iter().skip(1).position(|known| *known == suffix) {
        let bits = 10 * (u32::try_from(power).unwrap_or_default() + 1);
        return Ok((Notation::BinarySi, Scale::Two(bits)));
    }
    if let Some((exponent, _)) = DECIMAL_SUFFIXES.iter().find(|(_, known)| *known == suffix) {
        return Ok((Notation::DecimalSi, Scale::Ten(*exponent)));
    }
    match suffix.strip_prefix(['e', 'E']).map(str::parse::<i32>) {
        Some(Ok(exponent)) => Ok((Notation::Exponent, Scale::Ten(exponent))),
        _ => Err(QuantityError::Suffix),
    }
}

/// Billionths, rounded up; amounts above the largest 64-bit integer become that.
fn magnitude(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let largest = i128::from(i64::MAX) * NANOS;
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    let mut mantissa: i128 = 0;
    let mut dropped = 0_i32;
    let mut inexact = false;
    for digit in digits {
        if mantissa < MANTISSA_LIMIT {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        } else {
            dropped = dropped.saturating_add(1);
            inexact |= digit != b'0';
        }
    }
    if mantissa == 0 {
        return 0;
    }
    let fraction_digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let (ten, two) = match scale {
        Scale::Ten(exponent) => (exponent, 0),
        Scale::Two(bits) => (0, bits),
    };
    let exponent = ten.saturating_add(9).saturating_add(dropped).saturating_sub(fraction_digits);
    let Some(scaled) = mantissa.checked_shl(two).filter(|scaled| scaled >> two == mantissa) else {
        return largest;
    };
    let nanos = if exponent >= 0 {
        10_i128
            .checked_pow(exponent.unsigned_abs())
            .and_then(|factor| scaled.checked_mul(factor))
            .unwrap_or(largest)
    } else {
        match 10_i128.checked_pow(exponent.unsigned_abs()) {
            Some(divisor) => div_up(scaled, divisor),
            None => 1,
        }
    };
    (nanos + i128::from(inexact)).min(largest)
}

fn decimal_suffix(exponent: i32) -> &'static str {
    DECIMAL_SUFFIXES.iter().find(|(known, _)| *known == exponent).map_or("", |(_, suffix)| suffix)
}

fn div_up(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    match value % divisor {
        0 => quotient,
        rest if rest > 0 => quotient + 1,
        _ => quotient - 1,
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

const NANOS: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// More digits than this cannot change an amount that fits: 20 digits leave room for a shift by 60 bits in 128.
const MANTISSA_LIMIT: i128 = 10_i128.pow(19);
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL_SUFFIXES: [(i32, &str); 10] =
    [(-9, "n"), (-6, "u"), (-3, "m"), (0, ""), (3, "k"), (6, "M"), (9, "G"), (12, "T"), (15, "P"), (18, "E")];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str, milli: i64) {
        let quantity: Quantity = text.parse().unwrap();
        assert_eq!((quantity.to_string().as_str(), quantity.milli()), (canonical, milli), "{text}");
        let again: Quantity = canonical.parse().unwrap();
        assert_eq!(again, quantity);
    }

    #[test]
    fn canonical_forms() {
        check("0", "0", 0);
        check("1000m", "1", 1000);
        check("1.5", "1500m", 1500);
        check("0.1", "100m", 100);
        check(".5", "500m", 500);
        check("5.", "5", 5000);
        check("100000", "100k", 100_000_000);
        check("1048576Ki", "1Gi", 1_073_741_824_000);
        check("2.5Gi", "2560Mi", 2_684_354_560_000);
        check("0.5Ki", "512", 512_000);
        check("1500.5Ki", "1536512", 1_536_512_000);
        check("12e6", "12e6", 12_000_000_000);
        check("1E3", "1e3", 1_000_000);
        check("1E", "1E", i64::MAX);
        check("-1", "-1", -1000);
        check("+3k", "3k", 3_000_000);
        check("1n", "1n", 1);
        check("0.1n", "1n", 1);
        check("123456789", "123456789", 123_456_789_000);
    }

    #[test]
    fn hostile_texts_stay_bounded() {
        let long = "9".repeat(5_000);
        assert_eq!(long.parse::<Quantity>().unwrap().value(), i64::MAX);
        assert_eq!("1e2147483647".parse::<Quantity>().unwrap().value(), i64::MAX);
        assert_eq!("1e-2147483648".parse::<Quantity>().unwrap().value(), 1);
        assert_eq!("9223372036854775807Ei".parse::<Quantity>().unwrap().value(), i64::MAX);
    }

    #[test]
    fn errors() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("1x", QuantityError::Format),
            ("1.5.5", QuantityError::Format),
            ("1Gb", QuantityError::Format),
            ("true", QuantityError::Format),
            ("1ki", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1 ", QuantityError::Format),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(error), "{text}");
        }
    }
}
