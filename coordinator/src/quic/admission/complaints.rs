//! Log lines about strangers: each is worth one, a flood of them is not.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Counts lines, so that strangers cannot fill the log.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<&'static str, State>>);

#[derive(Debug, Default)]
struct State {
    /// When the lines that are counted began.
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Complaints {
    /// Whether a line about this may be written now; answers how many were left out before it.
    pub(super) fn next(&self, topic: &'static str, now: Instant) -> Option<u64> {
        // The state is right whatever part of it was written last.
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = topics.entry(topic).or_default();
        if state.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            state.since = Some(now);
            state.lines = 0;
        }
        if state.lines == LINES_MAX {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

/// Lines of each topic in each [`PERIOD`].
const LINES_MAX: u32 = 20;

const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_later() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let written: Vec<u64> = (0..2_000).filter_map(|_| complaints.next("a", start)).collect();
        assert_eq!(complaints.next("b", start), Some(0), "one topic does not silence another");
        assert_eq!(written, [0; LINES_MAX as usize]);
        assert_eq!(complaints.next("a", start + PERIOD), Some(2_000 - u64::from(LINES_MAX)));
        assert_eq!(complaints.next("a", start + PERIOD), Some(0));
    }
}
