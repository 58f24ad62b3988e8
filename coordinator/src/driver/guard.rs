//! A panic is the failure of what it was about, never of the driver, and so of the coordinator.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Does something about an object; `None` when that panicked. The panic's own message is logged by the hook that all panics go through.
pub(super) fn guarded<T>(about: &impl fmt::Debug, action: impl FnOnce() -> T) -> Option<T> {
    // What was half done shows in the view of one object, which its next change mends.
    let done = catch_unwind(AssertUnwindSafe(action)).ok();
    if done.is_none() {
        tracing::error!(?about, "the driver panicked over an object, and goes on without it");
    }
    done
}
