//! Schedules in the form of cron: five fields, or a word such as `@daily`.

use std::time::Duration;

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

/// When something is due, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// At these minutes of these days.
    Calendar(Calendar),
    /// After each such time.
    Every(Duration),
}

/// Sets of values, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Calendar {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether any day of the month will do (`*` or `?`).
    any_day: bool,
    /// Whether any day of the week will do.
    any_weekday: bool,
}

/// Why a text is no schedule; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// There is nothing.
    #[error("empty spec string")]
    Empty,
    /// It names a time zone that does not exist.
    #[error("provided bad location {0}: unknown time zone {0}")]
    TimeZone(String),
    /// It has another number of fields than five.
    #[error("expected exactly 5 fields, found {0}: [{1}]")]
    Fields(usize, String),
    /// It is no known word.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// The duration after `@every` is none.
    #[error("failed to parse duration {0}: time: invalid duration \"{1}\"")]
    Duration(String, String),
    /// A range has more than two ends.
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    /// A range has more than one step.
    #[error("too many slashes: {0}")]
    Slashes(String),
    /// A number is none.
    #[error("failed to parse int from {0}: strconv.Atoi: parsing \"{0}\": {1}")]
    Number(String, &'static str),
    /// A number is negative.
    #[error("negative number ({0}) not allowed: {0}")]
    Negative(i64),
    /// A range begins too low.
    #[error("beginning of range ({0}) below minimum ({1}): {2}")]
    Below(i64, i64, String),
    /// A range ends too high.
    #[error("end of range ({0}) above maximum ({1}): {2}")]
    Above(i64, i64, String),
    /// A range ends before it begins.
    #[error("beginning of range ({0}) beyond end of range ({1}): {2}")]
    Backwards(i64, i64, String),
    /// A step is no positive number.
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let text = strip_time_zone(text)?;
        if text.starts_with('@') {
            return descriptor(text).map(Self);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(ScheduleError::Fields(fields.len(), fields.join(" ")));
        };
        let [minute, hour, day, month, weekday] = &FIELDS;
        let (minutes, _) = minute.set(minutes)?;
        let (hours, _) = hour.set(hours)?;
        let (days, any_day) = day.set(days)?;
        let (months, _) = month.set(months)?;
        let (weekdays, any_weekday) = weekday.set(weekdays)?;
        let calendar = Calendar { minutes, hours, days, months, weekdays, any_day, any_weekday };
        Ok(Self(Form::Calendar(calendar)))
    }

    /// The next time after `time` at which it is due, by the clocks of a time zone; `None` when there is none within five years.
    ///
    /// A time that clocks skip does not come; one that they show twice comes once.
    pub fn next_after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.0 {
            Form::Every(delay) => Timestamp::from_second(time.as_second()).ok()?.checked_add(*delay).ok(),
            Form::Calendar(calendar) => {
                let mut local = zone.to_datetime(time);
                let last = local.checked_add(YEARS_MAX.years()).ok()?;
                loop {
                    local = calendar.next_after(local, last)?;
                    let ambiguous = zone.to_ambiguous_timestamp(local);
                    if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
                        continue;
                    }
                    let at = ambiguous.compatible().ok()?;
                    if at > time {
                        return Some(at);
                    }
                }
            }
        }
    }
}

impl Calendar {
    fn next_after(&self, after: DateTime, last: DateTime) -> Option<DateTime> {
        let minute = after.checked_add(1.minute()).ok()?;
        let mut date = minute.date();
        let mut from = Some((minute.hour(), minute.minute()));
        while date <= last.date() {
            if self.has_day(date)
                && let Some((hour, minute)) = self.first_time(from)
            {
                return Some(date.at(hour, minute, 0, 0));
            }
            from = None;
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        // Two restrictions widen each other, as in every cron; one alone counts alone.
        let fits = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        has(self.months, date.month()) && fits
    }

    /// The first time of a day, not before `from`.
    fn first_time(&self, from: Option<(i8, i8)>) -> Option<(i8, i8)> {
        let (first_hour, first_minute) = from.unwrap_or((0, 0));
        (first_hour..24).filter(|hour| has(self.hours, *hour)).find_map(|hour| {
            let first = if hour == first_hour { first_minute } else { 0 };
            (first..60).find(|minute| has(self.minutes, *minute)).map(|minute| (hour, minute))
        })
    }
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

    /// The values of a list of ranges, and whether that is simply any.
    fn set(&self, text: &str) -> Result<(u64, bool), ScheduleError> {
        let (mut values, mut is_any) = (0, false);
        for range in text.split(',').filter(|range| !range.is_empty()) {
            let (range, any) = self.range(range)?;
            values |= range;
            is_any |= any;
        }
        Ok((values, is_any))
    }

    /// `*`, `5`, `1-5`, each with `/2` or without.
    fn range(&self, range: &str) -> Result<(u64, bool), ScheduleError> {
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
        let step = usize::try_from(every).ok().filter(|step| *step > 0);
        let Some(step) = step else { return Err(ScheduleError::Step(range.to_owned())) };
        // A step makes of any value a choice; `*/1` is one too.
        let is_any = span.starts_with(['*', '?']) && every <= 1;
        Ok(((start..=end).step_by(step).fold(0, |values, value| values | 1 << value), is_any))
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
    crate::time_zone::check(zone).map_err(|_| ScheduleError::TimeZone(zone.to_owned()))?;
    Ok(rest.trim())
}

fn descriptor(text: &str) -> Result<Form, ScheduleError> {
    if let Some(duration) = text.strip_prefix("@every ") {
        let delay = go_duration(duration);
        let delay = delay.ok_or_else(|| ScheduleError::Duration(text.to_owned(), duration.to_owned()))?;
        // Less than a second is a second, and parts of one do not count.
        return Ok(Form::Every(Duration::from_secs(delay.as_secs().max(1))));
    }
    let known = DESCRIPTORS.iter().find(|(name, _)| *name == text);
    let (_, fields) = known.ok_or_else(|| ScheduleError::Descriptor(text.to_owned()))?;
    Schedule::parse(fields).map(|schedule| schedule.0)
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `0`. One before now counts as none.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = 0.0;
    let mut parts = 0;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let fraction = after.strip_prefix('.').unwrap_or(after);
        let unit = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let number = &rest[..rest.len() - unit.len()];
        let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
        let (known, seconds) =
            UNITS.iter().find(|(known, _)| unit.starts_with(known)).filter(|_| has_digits)?;
        sum += format!("0{number}").parse::<f64>().ok()? * seconds;
        rest = &unit[known.len()..];
        parts += 1;
    }
    if text.starts_with('-') {
        sum = 0.0;
    }
    Duration::try_from_secs_f64(sum).ok().filter(|_| parts > 0)
}

fn has(values: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| values & (1 << value) != 0)
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

/// Words for schedules.
const DESCRIPTORS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Units of durations in seconds; of two that begin alike the longer comes first.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// How far ahead a time is looked for: a 29th of February is always nearer, a 30th never comes.
const YEARS_MAX: i64 = 5;

#[cfg(test)]
mod tests {
    fn check(text: &str, expected: &str) {
        let found = super::Schedule::parse(text).map_or_else(|error| error.to_string(), |_| String::new());
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

    #[test]
    fn the_next_time_is_found() {
        let next = |schedule: &str, after: &str| {
            let schedule = super::Schedule::parse(schedule).unwrap();
            let next = schedule.next_after(after.parse().unwrap(), &jiff::tz::TimeZone::UTC);
            next.map_or_else(|| "never".to_owned(), |next| next.to_string())
        };
        let check = |schedule: &str, after: &str, expected: &str| {
            assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
        };
        check("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
        check("* * * * *", "2026-01-01T00:00:59.9Z", "2026-01-01T00:01:00Z");
        check("*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z");
        check("30 4 1,15 * fri", "2026-01-01T05:00:00Z", "2026-01-02T04:30:00Z");
        check("0 0 */2 * mon", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
        check("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
        check("0 0 30 2 *", "2026-01-01T00:00:00Z", "never");
        check("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
        check("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        check("@every 1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z");
        check("@every 10ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    }

    #[test]
    fn clocks_that_jump_skip_or_repeat() {
        // One hour ahead from March to October by the rule of central Europe.
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let schedule = super::Schedule::parse("30 2 * * *").unwrap();
        let next = |after: &str| schedule.next_after(after.parse().unwrap(), &zone).unwrap().to_string();
        assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z", "skipped on the 29th");
        assert_eq!(next("2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z", "once on the 25th");
    }
}
