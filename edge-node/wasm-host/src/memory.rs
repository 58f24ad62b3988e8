//! One container's memory: all linear memories and tables of its concurrent instances, summed and limited.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::ResourceLimiter;

/// The sum and its limit, shared by the instances of one container.
#[derive(Debug)]
pub(crate) struct MemoryAccount {
    limit: u64,
    /// Shared by what runs in the same container.
    used: Arc<AtomicU64>,
    /// Milliseconds from `created` to the last denial, plus one; zero is never.
    denied_at: AtomicU64,
    created: Instant,
}

impl MemoryAccount {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: Arc::default(), denied_at: AtomicU64::new(0), created: Instant::now() }
    }

    /// An account of the same memory for another guest, who is blamed for its own denials only.
    pub(crate) fn sibling(&self) -> Self {
        Self {
            limit: self.limit,
            used: Arc::clone(&self.used),
            denied_at: AtomicU64::new(0),
            created: Instant::now(),
        }
    }

    /// Bytes that all instances have now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
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
        match self.limit {
            limit if limit.is_multiple_of(1 << 20) => {
                format!("reached the memory limit of {} MiB", limit >> 20)
            }
            1 => "reached the memory limit of 1 byte".to_owned(),
            limit => format!("reached the memory limit of {limit} bytes"),
        }
    }

    fn charge(&self, bytes: u64) -> bool {
        let charged = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.limit)
        });
        if charged.is_err() {
            self.denied_at.store(self.age_millis(), Ordering::Relaxed);
        }
        charged.is_ok()
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn age_millis(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Charges one store's growth to its container, and gives it back with the store.
#[derive(Debug)]
pub(crate) struct StoreLimiter {
    account: Arc<MemoryAccount>,
    charged: u64,
    /// Of the growth that was allowed last, in case it then fails.
    last: u64,
}

impl StoreLimiter {
    pub(crate) fn new(account: Arc<MemoryAccount>) -> Self {
        Self { account, charged: 0, last: 0 }
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
        self.account.release(self.charged);
    }
}

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

    #[test]
    fn instances_share_one_limit_and_give_it_back() {
        let account = Arc::new(MemoryAccount::new(100));
        let mut first = StoreLimiter::new(Arc::clone(&account));
        let mut second = StoreLimiter::new(Arc::clone(&account));
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
        assert_eq!(account.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn siblings_share_memory_and_no_blame() {
        let account = MemoryAccount::new(100);
        let sibling = account.sibling();
        assert!(account.charge(60) && !sibling.charge(60));
        assert!(sibling.was_denied_lately() && !account.was_denied_lately());
        account.release(60);
        assert!(sibling.charge(60));
    }

    #[test]
    fn growth_beyond_a_memory_s_own_maximum_is_no_denial() {
        let account = Arc::new(MemoryAccount::new(100));
        let mut store = StoreLimiter::new(Arc::clone(&account));
        assert!(!store.memory_growing(0, 60, Some(50)).unwrap());
        store.memory_grow_failed(wasmtime::Error::msg("too large")).unwrap();
        assert!(!account.was_denied_lately());
    }
}
