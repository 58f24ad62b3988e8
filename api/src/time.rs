//! Times as objects carry them, and ages as tables show them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A time as `metav1.Time` encodes it: whole seconds, UTC.
pub fn format_time(time: Timestamp) -> String {
    let whole = SignedDuration::from_secs(time.as_second());
    Timestamp::UNIX_EPOCH.checked_add(whole).unwrap_or(time).to_string()
}

/// A time as `metav1.MicroTime` encodes it: six digits of a second, UTC.
pub fn format_micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// The time that a field holds, if it holds one.
pub fn parse_time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// How long ago the time in `value` was, as tables show it: `<unknown>` when unset.
pub(crate) fn age(value: &Value, now: Timestamp) -> String {
    parse_time(value).map_or_else(|| "<unknown>".to_owned(), |time| human_duration(now.duration_since(time)))
}

/// The duration that a text says, such as `90s`, `1h30m`, `30d`, `500ms` or plain seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..]
            .find(|letter: char| letter.is_ascii_digit())
            .map_or(rest.len(), |end| digits + end);
        let unit = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86_400),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

/// A duration as kubectl shows it: two units while they matter, one beyond.
pub fn human_duration(duration: SignedDuration) -> String {
    // Up to two seconds of clock difference count as now.
    let seconds = duration.as_secs();
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if seconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |first: i64, first_unit: char, second: i64, second_unit: char| match second {
        0 => format!("{first}{first_unit}"),
        second => format!("{first}{first_unit}{second}{second_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        _ if hours < 3 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, 'd', hours % 24, 'h'),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
        };
        check("0", Some(0));
        check("30", Some(30_000));
        check("1h30m", Some(5_400_000));
        check("30d", Some(2_592_000_000));
        check("500ms", Some(500));
        check("", None);
        check("5x", None);
        check("m", None);
        check("99999999999s", None);
    }

    fn check(seconds: i64, expected: &str) {
        assert_eq!(human_duration(SignedDuration::from_secs(seconds)), expected);
    }

    #[test]
    fn ages_read_like_kubectl() {
        check(-2, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(125, "2m5s");
        check(600, "10m");
        check(3600 * 3 - 1, "179m");
        check(3600 * 3, "3h");
        check(3600 * 3 + 60, "3h1m");
        check(3600 * 8, "8h");
        check(3600 * 47, "47h");
        check(3600 * 49, "2d1h");
        check(86400 * 8, "8d");
        check(86400 * 365, "365d");
        check(86400 * (2 * 365 + 3), "2y3d");
        check(86400 * 365 * 8, "8y");
    }

    #[test]
    fn times_are_utc() {
        let time: Timestamp = "2026-01-02T03:04:05.1234567+01:00".parse().unwrap();
        assert_eq!(format_time(time), "2026-01-02T02:04:05Z");
        assert_eq!(format_micro_time(time), "2026-01-02T02:04:05.123456Z");
    }
}
