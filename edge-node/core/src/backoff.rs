//! Restart and pull backoff: 10 s doubling to 300 s, forgotten after ten minutes without trouble; the numbers of Kubernetes.

use crate::clock::Mono;

/// The delay that follows failures of one container. The first failure is retried at once, the second after [`BASE_MS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    delay_ms: u64,
    updated: Mono,
}

impl Backoff {
    /// A backoff remembered from an earlier agent: its delay, and when it last grew.
    pub fn restored(delay_ms: u64, updated: Mono) -> Self {
        Self { entry: Some(Entry { delay_ms: delay_ms.clamp(BASE_MS, MAX_MS), updated }) }
    }

    /// Grows the delay for the try that starts at `now`, after a failure at `failed`.
    pub fn grow(&mut self, failed: Mono, now: Mono) {
        let delay_ms = match self.current(failed) {
            Some(entry) => (entry.delay_ms * 2).min(MAX_MS),
            None => BASE_MS,
        };
        self.entry = Some(Entry { delay_ms, updated: now });
    }

    /// How long a try must wait after a failure at `failed`; `None` means not at all.
    pub fn delay_after(&self, failed: Mono) -> Option<u64> {
        self.current(failed).map(|entry| entry.delay_ms)
    }

    /// Delay and time of the last growth, to be remembered.
    pub fn parts(&self) -> Option<(u64, Mono)> {
        self.entry.map(|entry| (entry.delay_ms, entry.updated))
    }

    fn current(&self, failed: Mono) -> Option<Entry> {
        self.entry.filter(|entry| failed.0.saturating_sub(entry.updated.0) <= RESET_AFTER_MS)
    }
}

/// A delay as Go prints durations: `10s`, `1m20s`, `5m0s`.
pub fn go_seconds(millis: u64) -> String {
    let seconds = millis / 1000;
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// The first delay.
pub const BASE_MS: u64 = 10_000;
/// The longest delay.
pub const MAX_MS: u64 = 300_000;
/// A run of this length clears the delay.
const RESET_AFTER_MS: i64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_five_minutes_and_reset_after_ten_minutes_of_running() {
        let mut backoff = Backoff::default();
        let mut now = Mono(0);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let delay = backoff.delay_after(now);
            seen.push(delay.map_or_else(|| "0s".to_owned(), go_seconds));
            now = now.plus_millis(delay.unwrap_or(0));
            backoff.grow(now, now);
            now = now.plus_millis(5);
        }
        assert_eq!(seen, ["0s", "10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
        assert_eq!(backoff.delay_after(now.plus_millis(600_000)), None);
        backoff.grow(now.plus_millis(600_000), now.plus_millis(600_000));
        assert_eq!(backoff.parts().map(|(delay, _)| delay), Some(BASE_MS));
    }
}
