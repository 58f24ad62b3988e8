//! Core dumps of guests that trapped: their memories and globals, and the frames they were in, in the format that tools for WebAssembly read.

use std::sync::{Mutex, TryLockError};

use wasmtime::{Store, WasmCoreDump};
use wasmtime_wasi::I32Exit;

/// Keeps core dumps.
pub trait CoreDumps: Send + Sync + 'static {
    /// Whether one would be kept now.
    fn is_wanted(&self) -> bool;

    /// Keeps one. It may take as long as writing a file of [`CORE_BYTES_MAX`] and a little more does.
    fn keep(&self, dump: Vec<u8>);

    /// None is made, because the guest's memories have so many bytes.
    fn left_out(&self, memory_bytes: usize);
}

/// Hands over what a trap left in a store, if it was a trap, if it is wanted and not too large, and if no other is being made.
pub(crate) fn keep<T: 'static>(store: &mut Store<T>, error: &wasmtime::Error, dumps: Option<&dyn CoreDumps>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let Some((dumps, core)) = dumps.zip(error.downcast_ref::<WasmCoreDump>()) else { return };
    if error.downcast_ref::<I32Exit>().is_some() {
        return;
    }
    let bytes: usize = core.memories().iter().map(|memory| memory.data_size(&*store)).sum();
    if !dumps.is_wanted() {
        return;
    }
    if bytes > CORE_BYTES_MAX {
        return dumps.left_out(bytes);
    }
    // Making one takes three times its memory for a moment, and the time of a disk: nobody waits for another's.
    let _alone = match ONE_AT_A_TIME.try_lock() {
        Ok(alone) => alone,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    // Another instance may have left one meanwhile.
    if dumps.is_wanted() {
        dumps.keep(core.serialize(store, "guest"));
    }
}

/// How the description of a dump begins that wasmtime puts among an error's causes; it is no cause.
pub(crate) const DESCRIPTION_START: &str = "wasm coredump generated while executing";

/// The most that the memories of a guest may have for a dump of it to be made: what a trap costs the node is bounded.
pub const CORE_BYTES_MAX: usize = 32 << 20;
