//! Content that somebody is working with, so that it is not removed meanwhile. Removals pass it over: they never wait for a pull, nor a
//! pull for more than one of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_link::Digest;

/// Which content is being worked with; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<HashMap<Digest, usize>>>);

/// Keeps some content from being removed until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Pins,
    digest: Digest,
}

impl Pins {
    /// From here on the content stays, if it is there. Waits for a removal of it that has begun.
    pub(crate) fn hold(&self, digest: Digest) -> Pin {
        *self.lock().entry(digest).or_default() += 1;
        Pin { pins: self.clone(), digest }
    }

    /// Removes some content, unless it is held. Until `remove` has returned it cannot be.
    pub(crate) fn unless_held<T>(&self, digest: &Digest, remove: impl FnOnce() -> T) -> Option<T> {
        let held = self.lock();
        (!held.contains_key(digest)).then(remove)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        // A count is changed as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut held = self.pins.lock();
        if let Some(count) = held.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_not_removed() {
        let (pins, digest) = (Pins::default(), Digest::of(b"x"));
        let is_removable = || pins.unless_held(&digest, || ()).is_some();
        assert!(is_removable());
        let (one, two) = (pins.hold(digest), pins.hold(digest));
        drop(one);
        assert!(!is_removable());
        assert!(pins.unless_held(&Digest::of(b"y"), || ()).is_some());
        drop(two);
        assert!(is_removable());
    }
}
