//! Where the containers of a host listen. Of the machine's loopback network guests reach these places and no others: whatever listens
//! on all addresses of the machine would answer at every other one of them, and is the machine's own.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::guest::Listening;

/// The places of all containers of a host, by how many have each.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    places: Mutex<HashMap<SocketAddr, usize>>,
}

/// Places of one container, for as long as it is there.
#[derive(Debug)]
pub(super) struct Declared {
    neighbours: Arc<Neighbours>,
    places: Vec<SocketAddr>,
}

impl Neighbours {
    pub(super) fn declare(self: &Arc<Self>, listen: &[Listening]) -> Declared {
        let places: Vec<_> = listen.iter().map(|listening| listening.address).collect();
        let mut counts = self.places();
        for place in &places {
            *counts.entry(*place).or_default() += 1;
        }
        drop(counts);
        Declared { neighbours: Arc::clone(self), places }
    }

    /// Whether some container declared a port to be there.
    fn has(&self, place: SocketAddr) -> bool {
        self.places().contains_key(&place)
    }

    fn places(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Declared {
    /// Whether some container of the same host declared a port to be there.
    pub(super) fn is_neighbour(&self, place: SocketAddr) -> bool {
        self.neighbours.has(place)
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        let mut counts = self.neighbours.places();
        for place in &self.places {
            if let Some(count) = counts.get_mut(place) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_as_long_as_somebody_has_it() {
        let neighbours = Arc::<Neighbours>::default();
        let place = "127.42.0.5:80".parse().unwrap();
        let first = neighbours.declare(&[Listening::tcp(place)]);
        let second = neighbours.declare(&[Listening::tcp(place)]);
        drop(first);
        assert!(second.is_neighbour(place) && !second.is_neighbour("127.42.0.5:81".parse().unwrap()));
        drop(second);
        assert!(!neighbours.has(place) && neighbours.places().is_empty());
    }
}
