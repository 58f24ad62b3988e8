//! Which instance takes which request: one that has room, the one that was used last first, or else a new one.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::{answer::Asked, load::Load};

/// The instances of one container that have room, and the requests that wait for one.
pub(super) struct Pool {
    instances_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Instances that have room and do not compute.
    ready: Vec<Ready>,
    /// Requests that no instance has room for. Each has a place, which bounds them.
    waiting: VecDeque<Asked>,
    instances: usize,
}

/// An instance that takes another request.
pub(super) struct Ready {
    pub(super) load: Arc<Load>,
    pub(super) inbox: mpsc::Sender<Asked>,
}

impl Pool {
    pub(super) fn new(instances_max: usize) -> Self {
        Self { instances_max, state: Mutex::default() }
    }

    /// Hands a request to an instance, or has it wait for one. It comes back when a new instance is to be started for it, which is
    /// counted already.
    pub(super) fn give(&self, asked: Asked) -> Option<Asked> {
        let mut state = self.state();
        let asked = state.hand_out(asked)?;
        if state.instances < self.instances_max {
            state.instances += 1;
            return Some(asked);
        }
        state.waiting.push_back(asked);
        None
    }

    /// A request that waits, for an instance that has room; without one the instance is handed the next that comes.
    pub(super) fn take_or_stand_by(&self, ready: Ready) -> Option<Asked> {
        let mut state = self.state();
        if let Some(asked) = state.next_waiting() {
            ready.load.count_given();
            return Some(asked);
        }
        state.ready.push(ready);
        None
    }

    /// Takes an instance's readiness back. A request may be on its way to it all the same.
    pub(super) fn withdraw(&self, load: &Arc<Load>) {
        self.state().ready.retain(|ready| !Arc::ptr_eq(&ready.load, load));
    }

    /// Hands a request to another instance, or has it wait for one, because there was no memory for one of its own, which is not counted
    /// any more. It comes back when there is no other.
    pub(super) fn wait_for_memory(&self, asked: Asked) -> Option<Asked> {
        let mut state = self.state();
        if state.instances < 2 {
            return Some(asked);
        }
        state.instances -= 1;
        // One that already stands by looks at what waits no more.
        if let Some(asked) = state.hand_out(asked) {
            state.waiting.push_front(asked);
        }
        None
    }

    /// Counts the end of an instance. What it answers is a request for which another is to be started, which is counted already.
    pub(super) fn ended(&self) -> Option<Asked> {
        let mut state = self.state();
        let next = state.next_waiting();
        if next.is_none() {
            state.instances -= 1;
        }
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands a request to an instance that stands by. It comes back when none does.
    fn hand_out(&mut self, mut asked: Asked) -> Option<Asked> {
        while let Some(ready) = self.ready.pop() {
            ready.load.count_given();
            match ready.inbox.try_send(asked) {
                Ok(()) => return None,
                // It ended a moment ago.
                Err(mpsc::error::TrySendError::Closed(back) | mpsc::error::TrySendError::Full(back)) => {
                    asked = back;
                }
            }
        }
        Some(asked)
    }

    /// The oldest request whose client still waits.
    fn next_waiting(&mut self) -> Option<Asked> {
        while let Some(asked) = self.waiting.pop_front() {
            if !asked.answer.is_canceled() {
                return Some(asked);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::serve::answer::Life;

    fn asked() -> Asked {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        // Nobody waits for the answer: what is asked here is who gets the request.
        let (answer, _) = futures_channel::oneshot::channel();
        Asked { request: http::Request::new(body), answer, life: Arc::new(Life::new()), place }
    }

    #[test]
    fn who_stands_by_gets_a_request_that_there_is_no_memory_for() {
        let pool = Pool::new(2);
        let (first, second) = (pool.give(asked()), pool.give(asked()));
        assert!(first.is_some() && second.is_some(), "both start an instance");
        let (inbox, mut requests) = mpsc::channel(1);
        assert!(pool.take_or_stand_by(Ready { load: Arc::default(), inbox }).is_none());
        assert!(pool.wait_for_memory(second.unwrap()).is_none());
        assert!(requests.try_recv().is_ok());
        assert_eq!(pool.state().waiting.len(), 0);
        // The only one that is left has no other to wait for.
        assert!(pool.wait_for_memory(asked()).is_some());
    }
}
