//! A second engine, whose instances take slots that were reserved ahead: for handlers that make an instance for every request, which
//! costs them a good part of what they do.
//!
//! It is made for the first such handler, and only where there is address space for it; it falls back in steps, in the end to none.
//! Whoever finds no slot free allocates on demand, so that nothing depends on it.

use std::{path::Path, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::handler::ProxyPre;

use crate::{
    engine,
    program::{Handler, Kind, Linkers},
    target::{Profile, Target},
};

/// The engine, and what its slots are lent by.
pub(crate) struct Pooling {
    pub(crate) engine: Engine,
    linkers: Linkers,
    slots: Arc<Semaphore>,
}

/// A handler whose instances may take slots.
#[derive(Clone)]
pub(crate) struct PooledHandler {
    engine: Engine,
    handler: Handler,
    slots: Arc<Semaphore>,
}

/// One instance's slot, until this is dropped; to be dropped after its store.
pub(crate) struct Slot {
    pub(crate) engine: Engine,
    pub(crate) handler: Handler,
    _permit: OwnedSemaphorePermit,
}

impl Pooling {
    /// The largest that this process can have; `None` where it can have none that is worth it.
    pub(crate) fn start(target: Target) -> Option<Self> {
        if target.profile != Profile::Wide {
            return None;
        }
        let mut slots = SLOTS_MAX;
        while slots >= SLOTS_MIN {
            match Self::with_slots(target, slots) {
                Ok(pooling) => return Some(pooling),
                Err(error) => tracing::debug!(slots, error = %format!("{error:#}"), "no pool of this size"),
            }
            slots /= 2;
        }
        None
    }

    fn with_slots(target: Target, slots: u32) -> wasmtime::Result<Self> {
        let mut config = engine::running_config(target)?;
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
        let engine = Engine::new(&config)?;
        let linkers = Linkers::new(&engine)?;
        let slots = Arc::new(Semaphore::new(usize::try_from(slots).unwrap_or(0)));
        Ok(Self { engine, linkers, slots })
    }

    /// Maps a program once more for slots; `None` when it makes no instance per request, or needs more than a slot has.
    pub(crate) fn handler(&self, artifact: &Path, present: &Handler) -> Option<PooledHandler> {
        if !matches!(**present, ProxyPre::P2(_)) {
            return None;
        }
        match self.linkers.load(&self.engine, artifact).ok()?.kind {
            Kind::Component(exported) => Some(PooledHandler {
                engine: self.engine.clone(),
                handler: exported.handler?,
                slots: Arc::clone(&self.slots),
            }),
            Kind::Module(_) => None,
        }
    }
}

impl PooledHandler {
    /// A slot, if one is free.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Slot { engine: self.engine.clone(), handler: Arc::clone(&self.handler), _permit: permit })
    }
}

/// Room for so many instances of components, whatever each needs up to its own bounds.
fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots * MEMORIES)
        .total_tables(slots * TABLES)
        .total_stacks(slots * STACKS)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        // Where the kernel tells which pages were touched (6.7), these alone are wiped, wherever they lie, and none is given back: a small
        // handler touches its stack, some way up, and a little data. Giving a page back stops all other threads for a moment.
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(WARM_SLOTS);
    pool
}

/// Twice what one handler has if it says nothing; 1 TiB of address space, of which 340 MiB count where what may be written to is limited.
const SLOTS_MAX: u32 = 128;

/// Fewer than a busy handler takes are not worth an engine.
const SLOTS_MIN: u32 = 16;

/// What toolchains make of one program: the program, adapters, and what ties them together.
const CORE_INSTANCES: u32 = 8;

/// One, and one of an adapter that was not merged.
const MEMORIES: u32 = 2;

/// One of each core instance that calls by pointers.
const TABLES: u32 = 4;

/// A task of the program, and one that ends while the next begins.
const STACKS: u32 = 2;

/// What is wiped rather than given back: small handlers touch no more, and giving back and faulting in again costs more than half of
/// an instantiation.
const KEPT_BYTES: usize = 64 << 10;

/// The same of stacks.
const STACK_KEPT_BYTES: usize = 16 << 10;

/// Slots that keep this for their last program: 2.5 MiB at most.
const WARM_SLOTS: u32 = 16;
