//! Counts what a piece of code allocates on its thread.

#![expect(
    unsafe_code,
    reason = "an allocator that counts cannot be written without; it only passes calls on"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator with the same arguments; counting touches only this thread's cells, which have no
// destructor and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.with(|now| now.set(now.get().saturating_sub(layout.size())));
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` gave the pointer.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn grow(bytes: usize) {
    let now = NOW.with(|now| {
        now.set(now.get() + bytes);
        now.get()
    });
    PEAK.with(|peak| peak.set(peak.get().max(now)));
    TOTAL.with(|total| total.set(total.get() + bytes));
}

/// What code took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The most that was allocated at a time.
    pub(crate) peak: usize,
    /// All that was ever allocated: a count of the work that was done, the same on every machine.
    pub(crate) total: usize,
}

/// What `code` takes.
pub(crate) fn taken(code: impl FnOnce()) -> Taken {
    let (before, total) = (NOW.with(Cell::get), TOTAL.with(Cell::get));
    PEAK.with(|peak| peak.set(before));
    code();
    Taken { peak: PEAK.with(Cell::get).saturating_sub(before), total: TOTAL.with(Cell::get) - total }
}
