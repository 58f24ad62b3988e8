//! Tells what guests were refused, so that a person sees it without the guest's help: each refusal once in a while, and not too many.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::guest::OnDenied;

/// What one container was refused lately.
pub(super) struct Denials {
    tell: Option<OnDenied>,
    /// The oldest first.
    told: Mutex<VecDeque<(String, Instant)>>,
}

impl Denials {
    pub(super) fn told_to(tell: Option<OnDenied>) -> Self {
        Self { tell, told: Mutex::default() }
    }

    /// Something was refused.
    pub(super) fn note(&self, what: String, now: Instant) {
        let mut told = self.told();
        while told.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= PAUSE) {
            told.pop_front();
        }
        if told.len() >= TOLD_MAX || told.iter().any(|(known, _)| *known == what) {
            return;
        }
        if let Some(tell) = &self.tell {
            tell(&what);
        }
        told.push_back((what, now));
    }

    /// What was refused last, if that is not long ago.
    pub(super) fn last(&self, now: Instant) -> Option<String> {
        let told = self.told();
        let lately = told.back().filter(|(_, at)| now.saturating_duration_since(*at) < PAUSE);
        lately.map(|(what, _)| what.clone())
    }

    fn told(&self) -> MutexGuard<'_, VecDeque<(String, Instant)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").field("told", &self.told).finish_non_exhaustive()
    }
}

/// The same is told again after this time.
const PAUSE: Duration = Duration::from_secs(60);

/// Refusals that are told in that time; a guest that tries everything says nothing new with each.
const TOLD_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn each_is_told_once_in_a_while_and_not_too_many() {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let hears = Arc::clone(&heard);
        let denials =
            Denials::told_to(Some(Arc::new(move |what: &str| hears.lock().unwrap().push(what.to_owned()))));
        let start = Instant::now();
        for _ in 0..3 {
            denials.note("a".to_owned(), start);
        }
        assert_eq!((heard.lock().unwrap().len(), denials.last(start)), (1, Some("a".to_owned())));
        assert_eq!(denials.last(start + PAUSE), None);
        for number in 0..100 {
            denials.note(number.to_string(), start);
        }
        assert_eq!(heard.lock().unwrap().len(), TOLD_MAX);
        denials.note("a".to_owned(), start + PAUSE);
        assert_eq!(heard.lock().unwrap().len(), TOLD_MAX + 1);
    }
}
