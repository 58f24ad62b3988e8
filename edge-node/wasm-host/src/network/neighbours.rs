//! Where the containers of a host listen. Of the machine's loopback network guests reach these places and no others: whatever listens
//! on all addresses of the machine would answer at every other one of them, and is the machine's own.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::guest::{Listening, Transport};

/// The places of all containers of a host.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    places: Mutex<Places>,
    /// Where the API is, if that is an address of the machine itself.
    api: OnceLock<SocketAddr>,
}

#[derive(Debug, Default)]
struct Places {
    /// By how many containers have each.
    counts: HashMap<SocketAddr, usize>,
    /// Where ports of pods are that their addresses, as others know them, do not lead to on this machine.
    stand_ins: HashMap<(Transport, SocketAddr), SocketAddr>,
}

/// Places of one container, for as long as it is there.
#[derive(Debug)]
pub(super) struct Declared {
    neighbours: Arc<Neighbours>,
    places: Vec<SocketAddr>,
    stand_ins: Vec<(Transport, SocketAddr)>,
}

impl Neighbours {
    /// From here on guests reach the API at `address`, whoever else listens on the machine. The first address stays.
    pub(crate) fn lead_to_api(&self, address: SocketAddr) {
        let _first = self.api.get_or_init(|| address);
    }

    pub(super) fn declare(self: &Arc<Self>, listen: &[Listening], pod_ip: Option<IpAddr>) -> Declared {
        let places: Vec<_> = listen.iter().map(|listening| listening.address).collect();
        let mut known = self.places();
        for place in &places {
            *known.counts.entry(*place).or_default() += 1;
        }
        let mut stand_ins = Vec::new();
        for listening in listen.iter().filter(|listening| listening.address.ip().is_loopback()) {
            let Some(ip) = pod_ip else { continue };
            let port = (listening.transport, SocketAddr::new(ip, listening.port));
            known.stand_ins.insert(port, listening.address);
            stand_ins.push(port);
        }
        drop(known);
        Declared { neighbours: Arc::clone(self), places, stand_ins }
    }

    /// Whether some container declared a port to be there.
    fn has(&self, place: SocketAddr) -> bool {
        self.places().counts.contains_key(&place)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Declared {
    /// Whether some container of the same host declared a port to be there.
    pub(super) fn is_neighbour(&self, place: SocketAddr) -> bool {
        self.neighbours.has(place)
    }

    /// Whether the API is there.
    pub(super) fn is_api(&self, place: SocketAddr) -> bool {
        self.neighbours.api.get() == Some(&place)
    }

    /// Where the port of a pod is on this machine, if a container of the same host declared it.
    pub(super) fn stand_in(&self, transport: Transport, port: SocketAddr) -> Option<SocketAddr> {
        self.neighbours.places().stand_ins.get(&(transport, port)).copied()
    }

    /// The pod's port that is there.
    pub(super) fn stands_for(&self, place: SocketAddr) -> Option<SocketAddr> {
        let known = self.neighbours.places();
        known.stand_ins.iter().find(|(_, there)| **there == place).map(|((_, port), _)| *port)
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        let mut known = self.neighbours.places();
        for place in &self.places {
            if let Some(count) = known.counts.get_mut(place) {
                *count -= 1;
                if *count == 0 {
                    known.counts.remove(place);
                }
            }
        }
        // Whoever declares the same again comes after this one in time, and has another place of the same pod then.
        for port in &self.stand_ins {
            if known.stand_ins.get(port).is_some_and(|place| !known.counts.contains_key(place)) {
                known.stand_ins.remove(port);
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
        let pod_ip = "10.42.0.5".parse().ok();
        let port = "10.42.0.5:80".parse().unwrap();
        let first = neighbours.declare(&[Listening::tcp(place)], pod_ip);
        let second = neighbours.declare(&[Listening::tcp(place)], pod_ip);
        drop(first);
        assert_eq!(second.stand_in(Transport::Tcp, port), Some(place));
        assert_eq!(second.stand_in(Transport::Udp, port), None);
        assert_eq!(second.stands_for(place), Some(port));
        assert!(second.is_neighbour(place) && !second.is_neighbour("127.42.0.5:81".parse().unwrap()));
        drop(second);
        let known = neighbours.places();
        assert!(known.counts.is_empty() && known.stand_ins.is_empty());
    }
}
