//! Schedules in the form of cron: five fields, or a word such as `@daily`.

/// Why a text is no schedule; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScheduleError {
    #[error("empty spec string")]
    Empty,
    #[error("provided bad location {0}: unknown time zone {0}")]
    TimeZone(String),
    #[error("expected exactly 5 fields, found {0}: [{1}]")]
    Fields(usize, String),
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("failed to parse duration {0}: time: invalid duration \"{1}\"")]
    Duration(String, String),
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    #[error("too many slashes: {0}")]
    Slashes(String),
    #[error("failed to parse int from {0}: strconv.Atoi: parsing \"{0}\": {1}")]
    Number(String, &'static str),
    #[error("negative number ({0}) not allowed: {0}")]
    Negative(i64),
    #[error("beginning of range ({0}) below minimum ({1}): {2}")]
    Below(i64, i64, String),
    #[error("end of range ({0}) above maximum ({1}): {2}")]
    Above(i64, i64, String),
    #[error("beginning of range ({0}) beyond end of range ({1}): {2}")]
    Backwards(i64, i64, String),
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

/// Whether a text is a schedule.
pub(super) fn check(text: &str) -> Result<(), ScheduleError> {
    if text.is_empty() {
        return Err(ScheduleError::Empty);
    }
    let text = strip_time_zone(text)?;
    if text.starts_with('@') {
        return check_descriptor(text);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(ScheduleError::Fields(fields.len(), fields.join(" ")));
    }
    for (text, field) in fields.into_iter().zip(&FIELDS) {
        for range in text.split(',').filter(|range| !range.is_empty()) {
            field.check(range)?;
        }
    }
    Ok(())
}

/// One of the five fields.
struct Field {
    min: i64,
    max: i64,
    /// Names of its values, from the lowest on.
    names: &'static [&'static str],
}

impl Field {
    const fn of(min: i64, max: i64, names: &'static [&'static str]) -> Self {
        Self { min, max, names }
    }

    /// `*`, `5`, `1-5`, each with `/2` or without.
    fn check(&self, range: &str) -> Result<(), ScheduleError> {
        let (span, step) = match range.split('/').collect::<Vec<_>>().as_slice() {
            [span] => (*span, None),
            [span, step] => (*span, Some(*step)),
            _ => return Err(ScheduleError::Slashes(range.to_owned())),
        };
        let (start, mut end) = match span.split('-').collect::<Vec<_>>().as_slice() {
            ["*" | "?", ..] => (self.min, self.max),
            [one] => self.value(one).map(|one| (one, one))?,
            [start, end] => (self.value(start)?, self.value(end)?),
            _ => return Err(ScheduleError::Hyphens(range.to_owned())),
        };
        let mut every = 1;
        if let Some(step) = step {
            every = number(step)?;
            if !span.contains('-') {
                end = self.max;
            }
        }
        if start < self.min {
            return Err(ScheduleError::Below(start, self.min, range.to_owned()));
        }
        if end > self.max {
            return Err(ScheduleError::Above(end, self.max, range.to_owned()));
        }
        if start > end {
            return Err(ScheduleError::Backwards(start, end, range.to_owned()));
        }
        if every == 0 { Err(ScheduleError::Step(range.to_owned())) } else { Ok(()) }
    }

    fn value(&self, text: &str) -> Result<i64, ScheduleError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named.and_then(|place| i64::try_from(place).ok()) {
            Some(place) => Ok(self.min + place),
            None => number(text),
        }
    }
}

/// `TZ=` and `CRON_TZ=` are part of the form; whether they are welcome is for the caller.
fn strip_time_zone(text: &str) -> Result<&str, ScheduleError> {
    let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else {
        return Ok(text);
    };
    let (zone, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    super::time_zone::check(zone).map_err(|_| ScheduleError::TimeZone(zone.to_owned()))?;
    Ok(rest.trim())
}

fn check_descriptor(text: &str) -> Result<(), ScheduleError> {
    if let Some(duration) = text.strip_prefix("@every ") {
        let invalid = || ScheduleError::Duration(text.to_owned(), duration.to_owned());
        return if is_duration(duration) { Ok(()) } else { Err(invalid()) };
    }
    let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if known.contains(&text) { Ok(()) } else { Err(ScheduleError::Descriptor(text.to_owned())) }
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let fraction = after.strip_prefix('.').unwrap_or(after);
        let unit = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let has_digits = rest[..rest.len() - unit.len()].bytes().any(|byte| byte.is_ascii_digit());
        let known = UNITS.iter().find(|known| unit.starts_with(**known));
        let Some(known) = known.filter(|_| has_digits) else { return false };
        rest = &unit[known.len()..];
        parts += 1;
    }
    parts > 0
}

fn number(text: &str) -> Result<i64, ScheduleError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScheduleError::Number(text.to_owned(), "invalid syntax"));
    }
    match text.parse() {
        Ok(number) if number < 0 => Err(ScheduleError::Negative(number)),
        Ok(number) => Ok(number),
        Err(_) => Err(ScheduleError::Number(text.to_owned(), "value out of range")),
    }
}

/// Minute, hour, day of the month, month, day of the week.
const FIELDS: [Field; 5] = [
    Field::of(0, 59, &[]),
    Field::of(0, 23, &[]),
    Field::of(1, 31, &[]),
    Field::of(1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    Field::of(0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Units of durations; of two that begin alike the longer comes first.
const UNITS: [&str; 8] = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"];

#[cfg(test)]
mod tests {
    fn check(text: &str, expected: &str) {
        let found = super::check(text).map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn schedules() {
        for good in [
            "* * * * *",
            "*/5 0 1-15 jan,JUN mon-fri",
            "0 0 ? * 0",
            "5/15 * * * *",
            "  1  2 3 4 5  ",
            "TZ=UTC * * * * *",
            "CRON_TZ=Europe/Zurich @daily",
            "@hourly",
            "@every 1h30m",
            "@every 1.5s",
        ] {
            check(good, "");
        }
    }

    #[test]
    fn refusals() {
        check("", "empty spec string");
        check("x", "expected exactly 5 fields, found 1: [x]");
        check("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]");
        check("60 * * * *", "end of range (60) above maximum (59): 60");
        check("* * 0 * *", "beginning of range (0) below minimum (1): 0");
        check("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1");
        check("*/0 * * * *", "step of range should be a positive number: */0");
        check("1-2-3 * * * *", "too many hyphens: 1-2-3");
        check("1/2/3 * * * *", "too many slashes: 1/2/3");
        check("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax");
        check("*/-2 * * * *", "negative number (-2) not allowed: -2");
        check("TZ=Mars/Base * * * * *", "provided bad location Mars/Base: unknown time zone Mars/Base");
        check("@never", "unrecognized descriptor: @never");
        check("@every x", "failed to parse duration @every x: time: invalid duration \"x\"");
        check("@every 5", "failed to parse duration @every 5: time: invalid duration \"5\"");
        let huge = "9".repeat(30);
        check(
            &format!("{huge} * * * *"),
            &format!("failed to parse int from {huge}: strconv.Atoi: parsing \"{huge}\": value out of range"),
        );
    }
}
