//! A number of places of which nobody can take all from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
    each_max: usize,
}

/// One of them; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    taken: Arc<Taken>,
    origin: IpAddr,
}

/// How many places each origin has; those without any are not in the map.
#[derive(Debug, Default)]
struct Taken(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    /// So many places, of which one origin gets at most `each_max`.
    pub(super) fn new(count: usize, each_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: Arc::default(), each_max }
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A place for someone at `address`.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        let origin = origin(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(origin).or_default();
        if *count >= self.each_max {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { _permit: permit, taken: Arc::clone(&self.taken), origin })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.origin);
            }
        }
    }
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one owner of addresses has for sure: of IPv6 a network of 64 bits.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_others() {
        let places = Places::new(4, 3);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut crowd: Vec<Place> =
            std::iter::from_fn(|| places.take(address("2001:db8::1"))).take(9).collect();
        assert_eq!(crowd.len(), 3);
        assert!(places.take(address("2001:db8::2")).is_none(), "of the same network");
        let other = places.take(address("::ffff:10.0.0.1")).unwrap();
        assert!(places.take(address("10.0.0.2")).is_none(), "all are taken");
        drop(other);
        assert!(places.take(address("10.0.0.2")).is_some());
        crowd.pop();
        assert!(places.take(address("2001:db8::2")).is_some());
        drop(crowd);
        assert_eq!(places.free(), 4);
        assert!(places.taken.lock().is_empty());
    }
}
