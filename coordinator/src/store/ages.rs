//! How old revisions are, in memory only: what merely grows old must not cause a write.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use dunlin_link::Revision;

/// Samples of (time, newest revision then), from which the newest revision that is older than the age limit follows.
#[derive(Debug)]
pub(super) struct Ages {
    age: Duration,
    samples: VecDeque<(Instant, Revision)>,
    floor: Revision,
}

impl Ages {
    /// Everything up to `newest` counts as made at `now`; times of an earlier run are not known.
    pub(super) fn new(age: Duration, now: Instant, newest: Revision) -> Self {
        Self { age, samples: VecDeque::from([(now, newest)]), floor: Revision::default() }
    }

    /// `newest` is the newest revision at `now`.
    pub(super) fn record(&mut self, now: Instant, newest: Revision) {
        let step = self.step();
        match self.samples.back_mut() {
            Some((start, revision)) if now < *start + step => *revision = newest,
            _ => self.samples.push_back((now, newest)),
        }
        self.expire(now);
    }

    /// The newest revision that is older than the age limit; changes after it are to be kept.
    pub(super) fn floor(&mut self, now: Instant) -> Revision {
        self.expire(now);
        self.floor
    }

    fn expire(&mut self, now: Instant) {
        let kept = self.age + self.step();
        while let Some((start, revision)) = self.samples.front()
            && *start + kept <= now
        {
            self.floor = *revision;
            self.samples.pop_front();
        }
    }

    /// A sample stands for all revisions of so long a time, which bounds how many there are.
    fn step(&self) -> Duration {
        self.age / SAMPLES
    }
}

/// How finely the age is told.
const SAMPLES: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_expire_after_the_age_and_not_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ages = Ages::new(Duration::from_secs(64), start, Revision(5));
        for second in 1..=200 {
            ages.record(at(second), Revision(5 + second));
            assert!(ages.samples.len() <= 67, "{}", ages.samples.len());
        }
        assert_eq!(ages.floor(at(200)), Revision(5 + 135));
        assert_eq!(ages.floor(at(210)), Revision(5 + 145));
        assert_eq!(ages.floor(at(10_000)), Revision(205));
    }
}
