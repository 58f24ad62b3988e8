//! One container's memory, summed over its concurrent instances and limited: linear memories, tables, what each instance costs the
//! host in any case, and what the host holds for it besides.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::ResourceLimiter;

use crate::{
    holdings::Holdings,
    total::{Claim, TotalMemory},
};

/// The sum and its limit, shared by the instances of one container.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    limit: u64,
    /// That of all containers, and how this one takes of it.
    total: Arc<TotalMemory>,
    claim: Claim,
    /// Whether it was the sum of all that refused last.
    is_total_spent: AtomicBool,
    /// Shared by what runs in the same container.
    sums: Arc<Sums>,
    /// Milliseconds from `created` to the last denial, plus one; zero is never.
    denied_at: AtomicU64,
    created: Instant,
}

#[derive(Debug, Default)]
struct Sums {
    bytes: AtomicU64,
    /// Open files and sockets.
    descriptors: AtomicU64,
}

/// A guest has more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    /// The limit is in the account, which says so.
    #[error("more than the container's memory limit would be needed {0}")]
    Memory(For),
    #[error("the container has more than {DESCRIPTORS_MAX} files and sockets open")]
    Descriptors,
}

/// What memory was needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Instance,
    Holdings,
}

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instance => "for one more instance",
            Self::Holdings => "for handles, headers and buffers that the host keeps for it",
        })
    }
}

impl MemoryAccount {
    /// Of a container with this limit, or with that of those which have none.
    pub(crate) fn new(limit: Option<u64>, total: Arc<TotalMemory>) -> Self {
        Self {
            limit: limit.unwrap_or_else(|| total.default_limit()),
            claim: if limit.is_some() { Claim::Limited } else { Claim::Unlimited },
            total,
            is_total_spent: AtomicBool::new(false),
            sums: Arc::default(),
            denied_at: AtomicU64::new(0),
            created: Instant::now(),
        }
    }

    /// An account of the same memory for another guest, who is blamed for its own denials only.
    pub(crate) fn sibling(&self) -> Self {
        Self {
            limit: self.limit,
            total: Arc::clone(&self.total),
            claim: self.claim,
            is_total_spent: AtomicBool::new(false),
            sums: Arc::clone(&self.sums),
            denied_at: AtomicU64::new(0),
            created: Instant::now(),
        }
    }

    /// Bytes that all instances have now.
    pub(crate) fn used(&self) -> u64 {
        self.sums.bytes.load(Ordering::Relaxed)
    }

    /// Whether the limit refused something so recently that the guest's end is most likely its doing. Runtimes that collect garbage
    /// and go on after a refusal are not blamed for what happens later.
    pub(crate) fn was_denied_lately(&self) -> bool {
        let denied_at = self.denied_at.load(Ordering::Relaxed);
        let age = Duration::from_millis(self.age_millis().saturating_sub(denied_at));
        denied_at != 0 && age < DENIAL_BLAMED
    }

    /// Says what the limit is, for a person.
    pub(crate) fn denial(&self) -> String {
        if self.is_total_spent.load(Ordering::Relaxed) {
            return format!("all guests of this node together reached {} MiB", self.total.max() >> 20);
        }
        match self.limit {
            limit if limit.is_multiple_of(1 << 20) => {
                format!("reached the memory limit of {} MiB", limit >> 20)
            }
            1 => "reached the memory limit of 1 byte".to_owned(),
            limit => format!("reached the memory limit of {limit} bytes"),
        }
    }

    fn charge(&self, bytes: u64) -> bool {
        let charged = self.sums.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.limit)
        });
        if charged.is_ok() && self.total.charge(bytes, self.claim) {
            return true;
        }
        if charged.is_ok() {
            self.sums.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.is_total_spent.store(charged.is_ok(), Ordering::Relaxed);
        self.denied_at.store(self.age_millis(), Ordering::Relaxed);
        false
    }

    fn release(&self, bytes: u64) {
        self.sums.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.total.release(bytes);
    }

    fn age_millis(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Charges one store to its container, and gives everything back with the store.
#[derive(Debug)]
pub(crate) struct StoreLimiter {
    account: Arc<MemoryAccount>,
    charged: u64,
    /// Of the growth that was allowed last, in case it then fails.
    last: u64,
    /// What the host held when it was looked at last; its bytes are in `charged`.
    holdings: Holdings,
}

impl StoreLimiter {
    /// Charges what an instance costs before it has a memory.
    ///
    /// # Errors
    /// When that alone is more than is left.
    pub(crate) fn new(account: Arc<MemoryAccount>) -> Result<Self, Exceeded> {
        let mut limiter = Self { account, charged: 0, last: 0, holdings: Holdings::default() };
        if limiter.grow(INSTANCE_BYTES) { Ok(limiter) } else { Err(Exceeded::Memory(For::Instance)) }
    }

    /// Charges what the host holds for the store now, in the place of what it held before.
    ///
    /// # Errors
    /// When that is more than the container may have: its guest is to end.
    pub(crate) fn hold(&mut self, holdings: Holdings) -> Result<(), Exceeded> {
        let before = std::mem::replace(&mut self.holdings, holdings);
        let sum = &self.account.sums.descriptors;
        sum.fetch_add(holdings.descriptors, Ordering::Relaxed);
        let descriptors = sum.fetch_sub(before.descriptors, Ordering::Relaxed) - before.descriptors;
        let fewer = before.bytes.saturating_sub(holdings.bytes);
        self.account.release(fewer);
        self.charged -= fewer;
        let more = holdings.bytes.saturating_sub(before.bytes);
        if !self.grow(more) {
            self.holdings.bytes = before.bytes;
            return Err(Exceeded::Memory(For::Holdings));
        }
        if descriptors > DESCRIPTORS_MAX { Err(Exceeded::Descriptors) } else { Ok(()) }
    }

    fn grow(&mut self, bytes: u64) -> bool {
        if !self.account.charge(bytes) {
            return false;
        }
        self.charged += bytes;
        self.last = bytes;
        true
    }

    fn undo(&mut self) {
        self.account.release(self.last);
        self.charged -= self.last;
        self.last = 0;
    }
}

impl ResourceLimiter for StoreLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.last = 0;
            return Ok(false);
        }
        Ok(self.grow((desired - current) as u64))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.last = 0;
            return Ok(false);
        }
        Ok(self.grow((desired - current) as u64 * size_of::<usize>() as u64))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_PER_STORE_MAX
    }

    fn tables(&self) -> usize {
        TABLES_PER_STORE_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_STORE_MAX
    }
}

impl Drop for StoreLimiter {
    fn drop(&mut self) {
        self.account.sums.descriptors.fetch_sub(self.holdings.descriptors, Ordering::Relaxed);
        self.account.release(self.charged);
    }
}

/// What an instance costs besides its memories: its store, its stack as far as it is touched, page tables, and the buffers of its
/// standard streams. Measured as 53 KiB for an idle one, its first touched pages included.
const INSTANCE_BYTES: u64 = 64 << 10;

/// Files and sockets that one container may have open: the process has some ten thousands for all.
const DESCRIPTORS_MAX: u64 = 4096;

/// An end within this time after a denial counts as caused by it.
const DENIAL_BLAMED: Duration = Duration::from_secs(5);

/// Components of interpreted languages consist of a few dozen core instances.
const INSTANCES_PER_STORE_MAX: usize = 512;

/// Each instance has a table or two.
const TABLES_PER_STORE_MAX: usize = 512;

/// Each memory reserves address space; real components have one to five.
const MEMORIES_PER_STORE_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(limit: u64) -> MemoryAccount {
        MemoryAccount::new(Some(limit), Arc::new(TotalMemory::of(1 << 40)))
    }

    /// An account with room for so many bytes beside so many instances.
    fn account(room: u64, instances: u64) -> Arc<MemoryAccount> {
        Arc::new(limited(room + instances * INSTANCE_BYTES))
    }

    fn store(account: &Arc<MemoryAccount>) -> StoreLimiter {
        StoreLimiter::new(Arc::clone(account)).unwrap()
    }

    #[test]
    fn instances_share_one_limit_and_give_it_back() {
        let account = account(100, 2);
        let (mut first, mut second) = (store(&account), store(&account));
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(!account.was_denied_lately());
        assert!(!second.memory_growing(0, 60, None).unwrap());
        assert!(account.was_denied_lately());
        assert!(second.table_growing(0, 5, None).unwrap());
        assert!(!second.memory_growing(0, 1, None).unwrap());
        drop(first);
        assert!(second.memory_growing(0, 60, None).unwrap());
        second.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(second.memory_growing(0, 60, None).unwrap());
        drop(second);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn an_instance_costs_something_before_it_grows() {
        let account = account(INSTANCE_BYTES - 1, 1);
        let first = store(&account);
        let refused = StoreLimiter::new(Arc::clone(&account)).unwrap_err();
        assert_eq!(refused, Exceeded::Memory(For::Instance));
        assert!(account.was_denied_lately());
        drop(first);
        store(&account);
    }

    #[test]
    fn what_the_host_holds_counts_until_it_is_gone() {
        let account = account(100, 2);
        let (mut first, mut second) = (store(&account), store(&account));
        let some = |bytes, descriptors| Holdings { bytes, descriptors };
        first.hold(some(60, DESCRIPTORS_MAX - 1)).unwrap();
        assert_eq!(second.hold(some(50, 1)), Err(Exceeded::Memory(For::Holdings)));
        first.hold(some(20, DESCRIPTORS_MAX - 1)).unwrap();
        second.hold(some(50, 1)).unwrap();
        assert_eq!(second.hold(some(0, 2)), Err(Exceeded::Descriptors));
        drop(first);
        second.hold(some(100, 2)).unwrap();
        drop(second);
        assert_eq!((account.used(), account.sums.descriptors.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn siblings_share_memory_and_no_blame() {
        let account = limited(100);
        let sibling = account.sibling();
        assert!(account.charge(60) && !sibling.charge(60));
        assert!(sibling.was_denied_lately() && !account.was_denied_lately());
        account.release(60);
        assert!(sibling.charge(60));
    }

    #[test]
    fn all_containers_share_what_there_is() {
        let total = Arc::new(TotalMemory::of(8 << 20));
        let one = MemoryAccount::new(Some(6 << 20), Arc::clone(&total));
        let other = MemoryAccount::new(None, Arc::clone(&total));
        assert!(one.charge(5 << 20) && !other.charge(2 << 20));
        assert!(other.was_denied_lately() && other.used() == 0);
        assert_eq!(other.denial(), "all guests of this node together reached 7 MiB");
        assert!(!one.charge(2 << 20));
        assert_eq!(one.denial(), "reached the memory limit of 6 MiB");
        one.release(5 << 20);
        assert!(other.charge(4 << 20) && !other.charge(1));
        assert_eq!(other.denial(), "reached the memory limit of 4 MiB");
    }

    #[test]
    fn growth_beyond_a_memory_s_own_maximum_is_no_denial() {
        let account = account(100, 1);
        let mut store = store(&account);
        assert!(!store.memory_growing(0, 60, Some(50)).unwrap());
        store.memory_grow_failed(wasmtime::Error::msg("too large")).unwrap();
        assert!(!account.was_denied_lately());
    }
}
