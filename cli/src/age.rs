//! Spans of time as tables and descriptions show them: coarse, at most two units.

use jiff::{SignedDuration, Timestamp};

/// How long ago an RFC 3339 time was; `<unknown>` when there is none.
pub(crate) fn since(time: Option<&str>, now: Timestamp) -> String {
    match time.and_then(|time| time.parse::<Timestamp>().ok()) {
        Some(then) => span(now.duration_since(then)),
        None => "<unknown>".to_owned(),
    }
}

/// A span in at most two units; a time slightly in the future is taken for now, since clocks differ.
pub(crate) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".to_owned(),
        () if seconds < 0 => "0s".to_owned(),
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

/// A time in words, in the user's time zone when it is known: `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(crate) fn in_words(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::{in_words, span};

    #[test]
    fn spans() {
        let check =
            |seconds, expected| assert_eq!(span(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        check(-5, "<invalid>");
        check(-1, "0s");
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(125, "2m5s");
        check(600, "10m");
        check(3 * 3600, "3h");
        check(3 * 3600 + 60, "3h1m");
        check(47 * 3600, "47h");
        check(49 * 3600, "2d1h");
        check(100 * 86400, "100d");
        check(800 * 86400, "2y70d");
        check(4000 * 86400, "10y");
    }

    #[test]
    fn words() {
        assert_eq!(in_words("2006-01-02T15:04:05Z"), "Mon, 02 Jan 2006 15:04:05 +0000");
        assert_eq!(in_words("x"), "x");
    }
}
