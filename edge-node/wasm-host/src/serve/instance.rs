//! One instance of a handler, from its first request to its end.
//!
//! Requests come to it through an inbox, one or several at a time, see [`super::inside`]. Here, outside, where a guest that computes
//! cannot hold things up, its time is watched, and it is offered to the pool whenever it waits and has room.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    Server,
    answer::{Asked, Life},
    inside::Inside,
    load::{LATE_MARGIN, Load, Look},
    pool::Ready,
};
use crate::{
    outcome::{self, Cause},
    pooling::PooledHandler,
    schedule::{Panicked, Scheduled},
};

/// Hands a request to an instance, or starts one for it.
pub(super) fn give(server: &Arc<Server>, asked: Asked) {
    if let Some(asked) = server.pool.give(asked) {
        let server = Arc::clone(server);
        let tasks = server.tasks.clone();
        tasks.spawn(async move {
            let (mut next, mut was_alone) = (Some(asked), false);
            while let Some(asked) = next {
                next = match AssertUnwindSafe(run(&server, asked)).catch_unwind().await {
                    Ok(Ran::ToItsEnd) => server.pool.ended(),
                    Ok(Ran::Refused(asked, error)) => match server.pool.wait_for_memory(*asked) {
                        None => None,
                        // Others may have had their part of what was left.
                        Some(asked) if !was_alone => {
                            was_alone = true;
                            Some(asked)
                        }
                        Some(_asked) => {
                            server.trapped(&error);
                            server.pool.ended()
                        }
                    },
                    Err(_panic) => {
                        tracing::warn!("the host failed while it answered a request");
                        server.pool.ended()
                    }
                };
            }
        });
    }
}

/// What became of an instance.
enum Ran {
    ToItsEnd,
    /// There was no memory to make it, and the request that it was to be made for.
    Refused(Box<Asked>, wasmtime::Error),
}

type Returned = Result<wasmtime::Result<()>, Panicked>;

/// Runs an instance to its end.
async fn run(server: &Arc<Server>, first: Asked) -> Ran {
    let turn = server.run.turn();
    let slot = server.pooled.as_ref().and_then(PooledHandler::slot);
    let mut parts = server.run.parts();
    if let Some(slot) = &slot {
        parts.engine = &slot.engine;
    }
    let store = match parts.component_store(&turn, None) {
        Ok(store) => store,
        Err(error) if is_want_of_memory(server, &error) => return Ran::Refused(Box::new(first), error),
        Err(error) => {
            server.trapped(&error);
            return Ran::ToItsEnd;
        }
    };
    let load = Arc::new(Load::default());
    load.count_given();
    let (inbox, requests) = mpsc::channel(server.limits.concurrency);
    let life = Arc::clone(&first.life);
    load.begin(&life);
    inbox.try_send(first).unwrap_or_else(|_| unreachable!("the inbox is new"));
    let not_begun = Arc::new(Mutex::new(None));
    let inside = Inside {
        handler: slot.as_ref().map_or_else(|| server.handler.clone(), |slot| Arc::clone(&slot.handler)),
        slot,
        store,
        requests,
        load: Arc::clone(&load),
        dumps: server.run.guest.core_dumps.clone(),
        not_begun: Arc::clone(&not_begun),
    };
    let mut outside = Outside {
        server,
        inbox: load.is_open(&server.limits).then_some(inbox),
        guest: server.run.schedule(turn, Box::pin(inside.run())),
        timer: Box::pin(sleep_until(life.began + server.limits.answer + LATE_MARGIN)),
        load,
    };
    let is_single = outside.inbox.is_none();
    let left = async {
        match is_single {
            true => left(&life).await,
            false => std::future::pending().await,
        }
    };
    let returned = tokio::select! {
        biased;
        returned = outside.until_over() => returned,
        () = left => None,
        () = server.killed.cancelled() => None,
    };
    server.pool.withdraw(&outside.load);
    let not_begun = not_begun.lock().unwrap_or_else(PoisonError::into_inner).take();
    match returned {
        Some(Ok(Err(error))) if not_begun.is_some() && is_want_of_memory(server, &error) => {
            if let Some(asked) = not_begun {
                return Ran::Refused(Box::new(asked), error);
            }
        }
        Some(Ok(Err(error))) if outside.load.blame() => server.trapped(&error),
        Some(Err(_panicked)) => tracing::warn!("the host failed while it answered a request"),
        _ => {}
    }
    Ran::ToItsEnd
}

/// Until the answer begins an instance for one request ends with its client; after that it may finish what it does.
async fn left(life: &Life) {
    life.gone.cancelled().await;
    if life.is_answered() {
        std::future::pending::<()>().await;
    }
}

fn is_want_of_memory(server: &Server, error: &wasmtime::Error) -> bool {
    outcome::of_trap(error, &server.run.memory) == Cause::OutOfMemory
}

/// An instance as its own task sees it.
struct Outside<'a> {
    server: &'a Server,
    load: Arc<Load>,
    /// Dropped when it takes no more.
    inbox: Option<mpsc::Sender<Asked>>,
    guest: Scheduled<wasmtime::Result<()>>,
    timer: Pin<Box<Sleep>>,
}

impl Outside<'_> {
    /// What its guest returned; `None` when its time was over.
    async fn until_over(&mut self) -> Option<Returned> {
        let ending = self.server.ending.clone();
        let mut ending = Box::pin(async move { ending.cancelled().await }.fuse());
        poll_fn(|cx| {
            if self.inbox.is_some() && ending.poll_unpin(cx).is_ready() {
                self.load.retire();
            }
            loop {
                // Nothing is given to one that computes.
                if self.inbox.is_some() {
                    self.server.pool.withdraw(&self.load);
                }
                if !self.load.is_open(&self.server.limits) {
                    self.inbox = None;
                }
                if let Poll::Ready(returned) = self.guest.poll_unpin(cx) {
                    return Poll::Ready(Some(returned));
                }
                if self.is_over(cx) {
                    return Poll::Ready(None);
                }
                match self.take() {
                    Taken::Nothing => return Poll::Pending,
                    Taken::Something => {}
                }
            }
        })
        .await
    }

    /// Takes a request that waits, if there is room for one.
    fn take(&mut self) -> Taken {
        let Some(inbox) = &self.inbox else { return Taken::Nothing };
        if !self.load.is_open(&self.server.limits) {
            // From within it is seen that no more will come.
            return Taken::Something;
        }
        if !self.guest.is_waiting() || !is_empty(inbox) || !self.load.has_room(&self.server.limits) {
            return Taken::Nothing;
        }
        let ready = Ready { load: Arc::clone(&self.load), inbox: inbox.clone() };
        match self.server.pool.take_or_stand_by(ready) {
            None => Taken::Nothing,
            Some(asked) => {
                inbox.try_send(asked).unwrap_or_else(|_| unreachable!("the inbox is empty"));
                Taken::Something
            }
        }
    }

    /// Whether time says that it ends; otherwise wakes when that may change.
    fn is_over(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        loop {
            match self.load.look(&self.server.limits, Instant::now()) {
                Look::Over => return true,
                Look::Idle => {
                    // What was given meanwhile is found in the inbox by the next poll, which has been woken.
                    return self.inbox.is_none() || self.inbox.as_ref().is_some_and(is_empty);
                }
                Look::Until(until) => {
                    if until < self.timer.deadline() || self.timer.is_elapsed() {
                        self.timer.as_mut().reset(until);
                    }
                    if self.timer.as_mut().poll_unpin(cx).is_pending() {
                        return false;
                    }
                }
            }
        }
    }
}

/// Whether a request was taken.
enum Taken {
    Nothing,
    Something,
}

fn is_empty(inbox: &mpsc::Sender<Asked>) -> bool {
    inbox.capacity() == inbox.max_capacity()
}
