//! The time of day, handed to the service so that tests choose it.

use std::{fmt, sync::Arc, time::Instant};

use dunlin_api::time::format_time;
use dunlin_link::UnixMillis;
use jiff::Timestamp;

/// Tells the time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// The machine's clock, which is not believed below `floor`: there it counts on from the floor by itself.
    pub fn not_before(floor: Timestamp) -> Self {
        let made = Instant::now();
        Self::new(move || {
            let lowest = floor.checked_add(made.elapsed()).unwrap_or(Timestamp::MAX);
            Timestamp::now().max(lowest)
        })
    }

    /// A clock that answers what `read` says.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// The time now as the link carries it.
    pub fn now_millis(&self) -> UnixMillis {
        UnixMillis(self.now().as_millisecond())
    }

    /// The time now as `metav1.Time` writes it: UTC, whole seconds.
    pub fn now_text(&self) -> String {
        format_time(self.now())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
