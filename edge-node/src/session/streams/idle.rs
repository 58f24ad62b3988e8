//! Notices that a stream is used no more.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// When a stream was last used.
#[derive(Debug)]
pub(super) struct Idle {
    began: Instant,
    /// Milliseconds from `began`.
    used_at: AtomicU64,
}

impl Idle {
    /// A stream that begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), used_at: AtomicU64::new(0) }
    }

    /// Something was passed on.
    pub(super) fn used(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used_at.store(elapsed, Ordering::Relaxed);
    }

    /// Ends when nothing was passed on for [`IDLE_MAX`].
    pub(super) async fn over(&self) {
        loop {
            let until = self.began + Duration::from_millis(self.used_at.load(Ordering::Relaxed)) + IDLE_MAX;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Kubernetes' `streamingConnectionIdleTimeout`.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(4 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_used_goes_on() {
        let idle = Idle::new();
        tokio::time::advance(IDLE_MAX / 2).await;
        idle.used();
        let began = Instant::now();
        idle.over().await;
        assert_eq!(began.elapsed().as_secs(), IDLE_MAX.as_secs());
    }
}
