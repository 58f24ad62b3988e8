//! Which way to the coordinator: UDP, or TCP where UDP is blocked, and which of them is tried first and for how long.

use std::time::Duration;

use rand::Rng;
use serde::Deserialize;

/// How a node reaches its coordinator, as its operator wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC on UDP, and over TCP while UDP does not pass.
    #[default]
    Auto,
    /// QUIC on UDP, nothing else.
    Quic,
    /// QUIC over TCP, nothing else.
    Tcp,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its own datagrams.
    Udp,
    /// A tunnel.
    Tcp,
}

/// What was learned of the ways in this network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    transport: Transport,
    /// By which the coordinator was last reached.
    last: Option<Way>,
}

/// What to try: a way, and another one beside it once the first has had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) first: Way,
    pub(super) then: Option<(Way, Duration)>,
}

impl Ways {
    pub(super) const fn new(transport: Transport) -> Self {
        Self { transport, last: None }
    }

    /// The coordinator was reached.
    pub(super) fn reached(&mut self, way: Way) {
        self.last = Some(way);
    }

    /// The network changed, or nothing answered: what was learned counts no more.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// How to try next.
    pub(super) const fn plan(&self) -> Plan {
        let (first, then) = match (self.transport, self.last) {
            (Transport::Quic, _) => (Way::Udp, None),
            (Transport::Tcp, _) => (Way::Tcp, None),
            (Transport::Auto, None) => (Way::Udp, Some((Way::Tcp, PATIENCE))),
            // A coordinator that comes back has thousands to answer; that it is slow does not mean that UDP is blocked.
            (Transport::Auto, Some(Way::Udp)) => (Way::Udp, Some((Way::Tcp, PATIENCE_KNOWN))),
            (Transport::Auto, Some(Way::Tcp)) => (Way::Tcp, Some((Way::Udp, PATIENCE))),
        };
        Plan { first, then }
    }

    /// Whether a connection that uses `way` should be given up for a better one, if there is one.
    pub(super) fn is_makeshift(&self, way: Way) -> bool {
        self.transport == Transport::Auto && way == Way::Tcp
    }
}

/// When to look whether UDP passes again: rare enough to cost nothing, for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes {
    bound: Duration,
}

impl Probes {
    pub(super) const fn new() -> Self {
        Self { bound: PROBE_FIRST }
    }

    /// The time until the next look; half of it is chance, so that a fleet does not look at once.
    pub(super) fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(PROBE_MAX);
        rng.random_range(bound / 2..=bound)
    }
}

/// What UDP is given before TCP is tried beside it: two round trips of a slow radio link, with a repeat.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same where UDP is known to pass.
const PATIENCE_KNOWN: Duration = Duration::from_secs(10);

/// Bound of the first delay between looks at UDP.
const PROBE_FIRST: Duration = Duration::from_secs(20);

/// Largest bound.
const PROBE_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn plans_follow_what_was_learned() {
        let check = |transport, last: Option<Way>, first, then: Option<(Way, Duration)>| {
            let mut ways = Ways::new(transport);
            last.into_iter().for_each(|way| ways.reached(way));
            assert_eq!(ways.plan(), Plan { first, then });
        };
        check(Transport::Auto, None, Way::Udp, Some((Way::Tcp, PATIENCE)));
        check(Transport::Auto, Some(Way::Udp), Way::Udp, Some((Way::Tcp, PATIENCE_KNOWN)));
        check(Transport::Auto, Some(Way::Tcp), Way::Tcp, Some((Way::Udp, PATIENCE)));
        check(Transport::Quic, Some(Way::Tcp), Way::Udp, None);
        check(Transport::Tcp, Some(Way::Udp), Way::Tcp, None);
        let mut ways = Ways::new(Transport::Auto);
        ways.reached(Way::Tcp);
        assert!(ways.is_makeshift(Way::Tcp) && !ways.is_makeshift(Way::Udp));
        ways.forget();
        assert_eq!(ways.plan().first, Way::Udp);
        assert!(!Ways::new(Transport::Tcp).is_makeshift(Way::Tcp));
    }

    #[test]
    fn probes_become_rare_and_never_end() {
        let (mut probes, mut rng) = (Probes::new(), SmallRng::seed_from_u64(1));
        let delays: Vec<Duration> = (0..20).map(|_| probes.next_delay(&mut rng)).collect();
        assert!(delays[0] >= PROBE_FIRST / 2 && delays[0] <= PROBE_FIRST);
        assert!(delays[6..].iter().all(|delay| *delay >= PROBE_MAX / 2 && *delay <= PROBE_MAX));
    }
}
