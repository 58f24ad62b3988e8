//! A container's output: its log, and whoever is attached.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use dunlin_wasm_host::{Output, Stream};

use super::{log::Log, tap::Tap};

/// Gives everything to the log and to each tap, and waits for the slowest of them: a caller misses nothing.
#[derive(Debug)]
pub(crate) struct Tee {
    log: Arc<Log>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taps: Vec<Arc<Tap>>,
    /// Nothing more will be written.
    is_closed: bool,
}

/// One caller's place; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Attached {
    tee: Arc<Tee>,
    tap: Arc<Tap>,
}

impl Tee {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, state: Mutex::default() }
    }

    /// Gives a caller all that is written from now on.
    pub(crate) fn attach(self: &Arc<Self>, tap: Tap) -> Attached {
        let tap = Arc::new(tap);
        let mut state = self.state();
        if state.is_closed {
            tap.close();
        }
        state.taps.push(Arc::clone(&tap));
        drop(state);
        Attached { tee: Arc::clone(self), tap }
    }

    /// Nothing more will be written.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.taps.iter().for_each(|tap| tap.close());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attached {
    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.tee.state().taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
        // Guests that wait for this one go on.
        self.tap.leave();
    }
}

impl Output for Tee {
    fn room(&self) -> usize {
        self.state().taps.iter().map(|tap| tap.room()).fold(self.log.room(), usize::min)
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        self.log.push(stream, bytes);
        self.state().taps.iter().for_each(|tap| tap.push(stream, bytes));
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.log.poll_room(cx));
        for tap in self.state().taps.iter() {
            std::task::ready!(tap.poll_room(cx));
        }
        Poll::Ready(())
    }
}
