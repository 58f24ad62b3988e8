//! An instance as its guest's thread sees it: made, given requests as they come within its store's event loop, until no more do.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;
use wasmtime::{AsContextMut as _, Store, component::Accessor};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    handler::{Prepared, Proxy},
};

use super::{answer::Asked, load::Load};
use crate::{
    coredump::{self, CoreDumps},
    pooling::Slot,
    program::Handler,
    state::ComponentState,
};

/// What an instance is made of.
pub(super) struct Inside {
    pub(super) slot: Option<Slot>,
    pub(super) store: Store<ComponentState>,
    pub(super) handler: Handler,
    pub(super) requests: mpsc::Receiver<Asked>,
    pub(super) load: Arc<Load>,
    pub(super) dumps: Option<Arc<dyn CoreDumps>>,
    /// Where its first request is left if it cannot be made.
    pub(super) not_begun: Arc<Mutex<Option<Asked>>>,
}

impl Inside {
    pub(super) async fn run(self) -> wasmtime::Result<()> {
        // Dropped in the reverse order: what is in the slot goes first.
        let Self { slot: _slot, mut store, handler, mut requests, load, dumps, not_begun } = self;
        let proxy = match handler.instantiate_async(&mut store).await {
            Ok(proxy) => proxy,
            Err(error) => {
                *not_begun.lock().unwrap_or_else(PoisonError::into_inner) = requests.try_recv().ok();
                return Err(error);
            }
        };
        let ran =
            store.run_concurrent(async |accessor| answer_all(accessor, &proxy, requests, &load).await).await;
        let returned = ran.and_then(|returned| returned);
        if let Err(error) = &returned {
            coredump::keep(&mut store, error, dumps.as_deref());
        }
        returned
    }
}

/// Within the event loop of an instance: answers what comes until no more does.
async fn answer_all(
    accessor: &Accessor<ComponentState>,
    proxy: &Proxy,
    mut requests: mpsc::Receiver<Asked>,
    load: &Arc<Load>,
) -> wasmtime::Result<()> {
    let mut answering = FuturesUnordered::new();
    let mut is_open = true;
    loop {
        let is_idle = load.state().is_idle;
        tokio::select! {
            biased;
            Some(done) = answering.next() => done?,
            asked = requests.recv(), if is_open => match asked {
                Some(asked) => answering.push(answer(accessor, proxy, asked, load)),
                None => is_open = false,
            },
            () = poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)), if answering.is_empty() && !is_idle => {
                load.state().is_idle = true;
            }
            else => return Ok(()),
        }
    }
}

async fn answer(
    accessor: &Accessor<ComponentState>,
    proxy: &Proxy,
    asked: Asked,
    load: &Arc<Load>,
) -> wasmtime::Result<()> {
    let Asked { request, answer, life, place } = asked;
    load.begin(&life);
    let prepared = accessor.with(|mut store| {
        Prepared::new(
            store.as_context_mut(),
            proxy,
            request,
            |state: &mut ComponentState| state.http(),
            answer,
        )
    })?;
    // Time is watched from outside, where it passes in any case.
    prepared.run(accessor, std::future::pending()).await?;
    load.finish(&life);
    drop(place);
    Ok(())
}
