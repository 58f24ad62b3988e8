//! Times as tables and descriptions show them.

use dunlin_api::time::human_duration;
use jiff::Timestamp;

/// How long ago an RFC 3339 time was; `<unknown>` when there is none.
pub(crate) fn since(time: Option<&str>, now: Timestamp) -> String {
    match time.and_then(|time| time.parse::<Timestamp>().ok()) {
        Some(then) => human_duration(now.duration_since(then)),
        None => "<unknown>".to_owned(),
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

    use super::in_words;

    #[test]
    fn words() {
        assert_eq!(in_words("2006-01-02T15:04:05Z"), "Mon, 02 Jan 2006 15:04:05 +0000");
        assert_eq!(in_words("x"), "x");
    }
}
