//! How the instances of a handler are used, with everything that a container did not say.

use std::{num::NonZeroU32, time::Duration};

use wasmtime_wasi_http::handler::ProxyPre;

use crate::{guest::Serving, program::Handler};

/// See [`Serving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) instances: usize,
    /// Requests that an instance takes at once, and in all.
    pub(super) concurrency: usize,
    pub(super) reuse: usize,
    /// Until an answer begins.
    pub(super) answer: Duration,
    /// For which an instance without requests is kept.
    pub(super) idle: Duration,
}

impl Limits {
    pub(super) fn of(serving: &Serving, handler: &Handler) -> Self {
        let (concurrency, reuse) = match **handler {
            // Its functions cannot be entered again while one waits.
            ProxyPre::P2(_) => (1, number(serving.reuse_max, 1)),
            ProxyPre::P3(_) => {
                (number(serving.concurrency, CONCURRENCY), number(serving.reuse_max, REUSE_MAX))
            }
        };
        Self {
            instances: number(serving.instances_max, INSTANCES_MAX),
            concurrency: concurrency.min(reuse),
            reuse,
            answer: serving.request_timeout.unwrap_or(ANSWER_MAX),
            idle: serving.idle_timeout.unwrap_or(IDLE_MAX),
        }
    }

    /// Requests that all instances together take at once.
    pub(super) fn requests_max(&self) -> usize {
        self.instances.saturating_mul(self.concurrency).min(REQUESTS_MAX)
    }
}

fn number(said: Option<NonZeroU32>, default: usize) -> usize {
    said.map_or(default, |number| usize::try_from(number.get()).unwrap_or(usize::MAX))
}

/// Instances of one container at once; more requests than these take wait.
const INSTANCES_MAX: usize = 64;

/// Requests that an instance of 0.3 takes at once.
const CONCURRENCY: usize = 16;

/// Requests after which an instance of 0.3 is replaced, so that what it leaks goes.
const REUSE_MAX: usize = 128;

/// How long a handler may take until its answer begins.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Long enough for the next request of a busy client, short enough that idle memory is nobody's.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Requests of one container at once, whatever it says: each holds buffers of ours.
const REQUESTS_MAX: usize = 4096;
