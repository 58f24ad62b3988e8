//! What is learned while guests run: the addresses that allowed names meant, and who sent datagrams. The oldest goes first.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::egress::Ports;

/// See the file.
#[derive(Debug, Default)]
pub(super) struct Known {
    resolved: VecDeque<Resolved>,
    /// Those that a datagram came from, and who may be answered.
    peers: VecDeque<SocketAddr>,
}

/// What an allowed name meant.
#[derive(Debug)]
struct Resolved {
    ip: IpAddr,
    /// Those that are allowed of the name.
    ports: Ports,
    /// When that was said last.
    at: Instant,
}

impl Known {
    /// A name that allows `ports` means `ip`.
    pub(super) fn resolved(&mut self, ip: IpAddr, ports: &Ports, now: Instant) {
        // What is said again is the newest.
        self.resolved.retain(|known| known.is_fresh(now) && !(known.ip == ip && known.ports == *ports));
        push(&mut self.resolved, Resolved { ip, ports: ports.clone(), at: now });
    }

    /// A datagram came from there.
    pub(super) fn heard(&mut self, peer: SocketAddr) {
        if !self.has_heard(peer) {
            push(&mut self.peers, peer);
        }
    }

    /// Whether a name lately meant this address and allows the port.
    pub(super) fn allows(&self, address: SocketAddr, now: Instant) -> bool {
        let ip = address.ip().to_canonical();
        self.resolved
            .iter()
            .any(|known| known.ip == ip && known.is_fresh(now) && known.ports.contains(address.port()))
    }

    pub(super) fn has_heard(&self, peer: SocketAddr) -> bool {
        self.peers.contains(&peer)
    }
}

impl Resolved {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < RESOLVED_LASTS
    }
}

fn push<T>(known: &mut VecDeque<T>, new: T) {
    if known.len() >= KNOWN_MAX {
        known.pop_front();
    }
    known.push_back(new);
}

/// Addresses of a kind that are remembered; each connection or datagram looks through them.
const KNOWN_MAX: usize = 512;

/// How long an address counts as the name's without being looked up again: it may be somebody else's by then. Longer than clients keep
/// what they looked up.
const RESOLVED_LASTS: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_name_s_for_as_long_as_it_is_looked_up() {
        let (mut known, start) = (Known::default(), Instant::now());
        let (ip, ports) = ("192.0.2.1".parse().unwrap(), Ports::These(vec![443]));
        let address = SocketAddr::new(ip, 443);
        known.resolved(ip, &ports, start);
        assert!(known.allows(address, start + RESOLVED_LASTS / 2));
        assert!(!known.allows(SocketAddr::new(ip, 80), start));
        assert!(!known.allows(address, start + RESOLVED_LASTS));
        known.resolved(ip, &ports, start + RESOLVED_LASTS / 2);
        assert!(known.allows(address, start + RESOLVED_LASTS) && known.resolved.len() == 1);
        let other = "192.0.2.2".parse().unwrap();
        known.resolved(other, &ports, start + 2 * RESOLVED_LASTS);
        assert_eq!(known.resolved.len(), 1, "the first is forgotten");
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut known = Known::default();
        let peer = |number: usize| SocketAddr::from(([192, 0, 2, 1], u16::try_from(number + 1).unwrap()));
        for number in 0..=KNOWN_MAX {
            known.heard(peer(number));
            known.heard(peer(number));
        }
        assert!(!known.has_heard(peer(0)) && known.has_heard(peer(1)) && known.has_heard(peer(KNOWN_MAX)));
    }
}
