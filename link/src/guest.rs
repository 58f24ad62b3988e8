//! Annotations of a pod that say how its WebAssembly guests are run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::egress::{self, EgressError, EgressTarget};

/// What a pod says of how its guests are run; what it does not say is the sandbox's to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSettings {
    /// `dunlin.dev/entry`.
    pub entry: Option<GuestEntry>,
    /// `dunlin.dev/instances`: instances of an HTTP handler at once.
    pub instances_max: Option<u32>,
    /// `dunlin.dev/concurrency`: requests that an instance takes at once.
    pub concurrency: Option<u32>,
    /// `dunlin.dev/max-reuse`: requests that an instance takes in all.
    pub reuse_max: Option<u32>,
    /// `dunlin.dev/request-timeout`: milliseconds until an answer has to begin.
    pub request_timeout_ms: Option<u64>,
    /// `dunlin.dev/idle-timeout`: milliseconds for which an instance without requests is kept.
    pub idle_timeout_ms: Option<u64>,
    /// `dunlin.dev/egress`: the only targets; `None` is anywhere.
    pub egress: Option<Vec<EgressTarget>>,
}

/// What of a program is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestEntry {
    /// Its command.
    Run,
    /// Its HTTP handler.
    Http,
}

/// A value that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata.annotations[{annotation}]: Invalid value: {value:?}: {problem}")]
pub struct BadSetting {
    /// Whose value it is.
    pub annotation: &'static str,
    /// The value, or its beginning.
    pub value: String,
    /// What is wrong with it.
    pub problem: SettingProblem,
}

/// What a value would have to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingProblem {
    /// One of [`ENTRIES`].
    #[error("must be `http` or `run`")]
    Entry,
    /// A number from 1 to this.
    #[error("must be a number from 1 to {0}")]
    Number(u32),
    /// A time.
    #[error("must be a time such as `250ms`, `5s` or `2m`, from {least_ms}ms to {most_s}s")]
    Time {
        /// From so many milliseconds.
        least_ms: u64,
        /// To so many seconds.
        most_s: u64,
    },
    /// Targets of connections.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

impl GuestSettings {
    /// Reads what annotations say of guests; others are nobody's business here.
    ///
    /// # Errors
    /// With all values that say nothing.
    pub fn of<'a>(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Vec<BadSetting>> {
        let (mut settings, mut bad) = (Self::default(), Vec::new());
        for (name, value) in annotations {
            let Some(annotation) = ANNOTATIONS.iter().find(|known| **known == name) else { continue };
            if let Err(problem) = settings.set(annotation, value) {
                let value = value.chars().take(SHOWN_MAX).collect();
                bad.push(BadSetting { annotation, value, problem });
            }
        }
        if bad.is_empty() { Ok(settings) } else { Err(bad) }
    }

    fn set(&mut self, annotation: &str, value: &str) -> Result<(), SettingProblem> {
        match annotation {
            ENTRY => self.entry = Some(entry(value)?),
            INSTANCES => self.instances_max = Some(number(value, INSTANCES_LIMIT)?),
            CONCURRENCY => self.concurrency = Some(number(value, CONCURRENCY_LIMIT)?),
            REUSE => self.reuse_max = Some(number(value, REUSE_LIMIT)?),
            REQUEST_TIMEOUT => self.request_timeout_ms = Some(time(value, REQUEST_TIMEOUT_MS)?),
            IDLE_TIMEOUT => self.idle_timeout_ms = Some(time(value, IDLE_TIMEOUT_MS)?),
            EGRESS => self.egress = Some(egress::parse(value)?),
            _ => {}
        }
        Ok(())
    }
}

fn entry(value: &str) -> Result<GuestEntry, SettingProblem> {
    match value {
        HTTP => Ok(GuestEntry::Http),
        RUN => Ok(GuestEntry::Run),
        _ => Err(SettingProblem::Entry),
    }
}

fn number(value: &str, limit: u32) -> Result<u32, SettingProblem> {
    let number = value.parse().ok().filter(|number| (1..=limit).contains(number) && !value.starts_with('+'));
    number.ok_or(SettingProblem::Number(limit))
}

fn time(value: &str, [least_ms, most_ms]: [u64; 2]) -> Result<u64, SettingProblem> {
    let millis = millis(value).filter(|millis| (least_ms..=most_ms).contains(millis));
    millis.ok_or(SettingProblem::Time { least_ms, most_s: most_ms / 1000 })
}

fn millis(value: &str) -> Option<u64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(u64::try_from(unit.as_millis()).ok()?)
}

/// Every annotation that this reads, in the order of their names.
pub const ANNOTATIONS: [&str; 7] =
    [CONCURRENCY, EGRESS, ENTRY, IDLE_TIMEOUT, INSTANCES, REUSE, REQUEST_TIMEOUT];

/// What of a program may be called.
pub const ENTRIES: [&str; 2] = [HTTP, RUN];
const HTTP: &str = "http";
const RUN: &str = "run";

const ENTRY: &str = "dunlin.dev/entry";
const INSTANCES: &str = "dunlin.dev/instances";
const CONCURRENCY: &str = "dunlin.dev/concurrency";
const REUSE: &str = "dunlin.dev/max-reuse";
const REQUEST_TIMEOUT: &str = "dunlin.dev/request-timeout";
const IDLE_TIMEOUT: &str = "dunlin.dev/idle-timeout";
const EGRESS: &str = "dunlin.dev/egress";

/// More instances than one machine holds.
const INSTANCES_LIMIT: u32 = 10_000;

/// More requests at once than one instance gets on with.
const CONCURRENCY_LIMIT: u32 = 1024;

/// More requests than an instance lives for.
const REUSE_LIMIT: u32 = 1_000_000;

/// A handler that takes longer than an hour until its answer begins has gone wrong.
const REQUEST_TIMEOUT_MS: [u64; 2] = [1, 3_600_000];

/// Zero ends an instance with its last request.
const IDLE_TIMEOUT_MS: [u64; 2] = [0, 3_600_000];

/// Characters of a value in a message.
const SHOWN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(annotations: &[(&str, &str)]) -> Result<GuestSettings, Vec<String>> {
        let read = GuestSettings::of(annotations.iter().copied());
        read.map_err(|bad| bad.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_said_is_read() {
        assert_eq!(settings(&[("a", "b"), ("dunlin.dev/other", "x")]), Ok(GuestSettings::default()));
        let all = [
            (ENTRY, "http"),
            (INSTANCES, "3"),
            (CONCURRENCY, "1024"),
            (REUSE, "1"),
            (REQUEST_TIMEOUT, "250ms"),
            (IDLE_TIMEOUT, "2m"),
            (EGRESS, ""),
        ];
        let expected = GuestSettings {
            entry: Some(GuestEntry::Http),
            instances_max: Some(3),
            concurrency: Some(1024),
            reuse_max: Some(1),
            request_timeout_ms: Some(250),
            idle_timeout_ms: Some(120_000),
            egress: Some(Vec::new()),
        };
        assert_eq!(settings(&all), Ok(expected));
    }

    #[test]
    fn what_says_nothing_is_named() {
        for (annotation, value) in [
            (ENTRY, ""),
            (ENTRY, "Run"),
            (INSTANCES, "0"),
            (CONCURRENCY, "1025"),
            (REUSE, "+1"),
            (REUSE, "x"),
            (REQUEST_TIMEOUT, "0s"),
            (REQUEST_TIMEOUT, "1"),
            (REQUEST_TIMEOUT, "1h"),
            (IDLE_TIMEOUT, "61m"),
            (IDLE_TIMEOUT, "-1s"),
            (IDLE_TIMEOUT, "99999999999999999999s"),
            (EGRESS, ","),
        ] {
            let bad = settings(&[(annotation, value)]).unwrap_err();
            let begins = format!("metadata.annotations[{annotation}]: Invalid value: {value:?}: ");
            assert!(bad.len() == 1 && bad[0].starts_with(&begins), "{bad:?}");
        }
    }
}
