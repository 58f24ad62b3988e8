//! When a CronJob is due.

use std::time::Duration;

use dunlin_api::schedule::{Schedule, ScheduleError};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::{times, view::workload::CronJob};

/// What the schedule says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// The latest time that has come and was not served.
    pub(super) now: Option<Due>,
    /// The first that is to come.
    pub(super) next: Option<Timestamp>,
}

/// A time that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// How many came since one was served.
    pub(super) missed: i64,
    /// Whether its deadline is over.
    pub(super) is_late: bool,
}

/// Why nothing is ever due.
#[derive(Debug, thiserror::Error)]
pub(super) enum NeverDue {
    #[error("unparseable schedule: {0:?} : {1}")]
    Schedule(String, ScheduleError),
    #[error("invalid timeZone: {0:?}")]
    TimeZone(String),
}

impl NeverDue {
    /// The same in one word.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Schedule(..) => "UnparseableSchedule",
            Self::TimeZone(_) => "UnknownTimeZone",
        }
    }
}

/// What is due at `now`, when the last time that was served is `last`.
pub(super) fn find(cron: &CronJob, last: Option<Timestamp>, now: Timestamp) -> Result<Times, NeverDue> {
    let zone = zone(cron)?;
    let schedule =
        Schedule::parse(&cron.schedule).map_err(|error| NeverDue::Schedule(cron.schedule.clone(), error))?;
    let next_after = |time: Timestamp| schedule.next_after(time, &zone);
    let deadline = cron.starting_deadline_seconds.map(times::seconds);
    let earliest = last.unwrap_or(cron.meta.created);
    // What could not be started any more is not looked for.
    let earliest = deadline.map_or(earliest, |deadline| earliest.max(times::before(now, deadline)));
    let next = next_after(now);
    let Some(first) = next_after(earliest).filter(|first| *first <= now) else {
        return Ok(Times { now: None, next });
    };
    let (at, missed) = latest(first, next_after, now);
    let is_late = deadline.is_some_and(|deadline| times::after(at, deadline) < now);
    Ok(Times { now: Some(Due { at, missed, is_late }), next })
}

/// The latest time from `first` on that is not after `now`, and about how many there are up to it.
fn latest(
    first: Timestamp,
    next_after: impl Fn(Timestamp) -> Option<Timestamp>,
    now: Timestamp,
) -> (Timestamp, i64) {
    let Some(second) = next_after(first).filter(|second| *second <= now) else { return (first, 1) };
    let between = second.duration_since(first).as_secs().max(1);
    let count = now.duration_since(first).as_secs() / between + 1;
    // Near the end at once: there may be years of minutes in between.
    let near = times::after(first, times::seconds((count - 2).saturating_mul(between)));
    let mut latest = first;
    let mut time = next_after(near.min(now) - Duration::from_secs(1));
    while let Some(found) = time.filter(|found| *found <= now) {
        latest = latest.max(found);
        time = next_after(found);
    }
    (latest, count)
}

/// A time as the annotation of a Job shows it: by the clocks of the CronJob's zone.
pub(super) fn shown(cron: &CronJob, at: Timestamp) -> String {
    let zone = zone(cron).unwrap_or(TimeZone::UTC);
    if zone == TimeZone::UTC {
        return dunlin_api::time::format_time(at);
    }
    let zoned = at.to_zoned(zone);
    let (time, offset) = (zoned.datetime(), zoned.offset().seconds());
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    format!("{time}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn zone(cron: &CronJob) -> Result<TimeZone, NeverDue> {
    let Some(name) = &cron.time_zone else { return Ok(TimeZone::UTC) };
    TimeZoneDatabase::bundled().get(name).map_err(|_| NeverDue::TimeZone(name.clone()))
}
