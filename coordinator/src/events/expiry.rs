//! Which stored events have outlived their hour.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use dunlin_coordinator_core::ObjectKey;
use jiff::Timestamp;

/// The stored events by the time they were last seen.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    seen: HashMap<ObjectKey, Timestamp>,
    oldest_first: BTreeSet<(Timestamp, ObjectKey)>,
}

impl Expiry {
    /// An event was written, or seen once more, at `at`.
    pub(super) fn seen(&mut self, key: &ObjectKey, at: Timestamp) {
        self.gone(key);
        self.seen.insert(key.clone(), at);
        self.oldest_first.insert((at, key.clone()));
    }

    /// An event is gone.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        if let Some(at) = self.seen.remove(key) {
            self.oldest_first.remove(&(at, key.clone()));
        }
    }

    /// Takes out at most `count` events that have expired at `now`, the oldest first.
    pub(super) fn take(&mut self, now: Timestamp, count: usize) -> Vec<ObjectKey> {
        let expired = self.oldest_first.iter().take_while(|(at, _)| *at + TIME_TO_LIVE <= now);
        let keys: Vec<ObjectKey> = expired.take(count).map(|(_, key)| key.clone()).collect();
        for key in &keys {
            self.gone(key);
        }
        keys
    }
}

/// Kubernetes' default.
const TIME_TO_LIVE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_oldest_go_first_and_a_repeat_counts_anew() {
        let [a, b, c] = ["a", "b", "c"].map(|name| ObjectKey::new("ns", name));
        let mut expiry = Expiry::default();
        expiry.seen(&a, at(0));
        expiry.seen(&b, at(1));
        expiry.seen(&c, at(2));
        expiry.seen(&a, at(100));
        expiry.gone(&c);
        assert_eq!(expiry.take(at(3600), 9), []);
        assert_eq!(expiry.take(at(3601), 9), [b]);
        assert_eq!(expiry.take(at(9999), 0), []);
        assert_eq!(expiry.take(at(9999), 9), [a]);
        assert_eq!(expiry.take(at(9999), 9), []);
    }
}
