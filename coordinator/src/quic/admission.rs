//! How many may knock at the port at a time, and what those are told for whom there is no room.

mod complaints;
mod places;

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tracing::warn;

use self::{
    complaints::Complaints,
    places::{Place, Places},
};

/// The port's places; each is given back when what was given is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    handshakes: Places,
    strangers: Semaphore,
    tunnels: Arc<Semaphore>,
    knocking: Places,
    https: Places,
    complaints: Complaints,
}

/// What is known of the address that a packet names as its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressProof {
    /// The sender receives there.
    Validated,
    /// It may be made up.
    Claimed,
}

/// What becomes of the first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The handshake begins.
    Accept,
    /// The sender shows first that it receives at its address; nothing is kept meanwhile.
    Retry,
    /// There is no room.
    Refuse,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            handshakes: Places::new(HANDSHAKES_MAX, HANDSHAKES_EACH_MAX),
            strangers: Semaphore::new(STRANGERS_MAX),
            tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)),
            knocking: Places::new(KNOCKING_MAX, KNOCKING_EACH_MAX),
            https: Places::new(HTTPS_MAX, HTTPS_EACH_MAX),
            complaints: Complaints::default(),
        }
    }

    /// What to do with the first packet of a connection on UDP.
    pub(super) fn verdict(&self, address: AddressProof) -> Verdict {
        let free = self.handshakes.free();
        match address {
            AddressProof::Validated => Verdict::of_validated(free),
            AddressProof::Claimed => Verdict::of_claimed(free),
        }
    }

    /// A place for a handshake with someone at `address`.
    pub(super) fn handshake(&self, address: IpAddr) -> Option<Place> {
        self.handshakes.take(address)
    }

    /// A place for a connection without a certificate.
    pub(super) fn stranger(&self) -> Option<SemaphorePermit<'_>> {
        self.strangers.try_acquire().ok()
    }

    /// A place for a TCP connection, and one for the time until it is known who is inside.
    pub(super) fn tunnel(&self, address: IpAddr) -> Option<(OwnedSemaphorePermit, Place)> {
        let tunnel = Arc::clone(&self.tunnels).try_acquire_owned().ok()?;
        Some((tunnel, self.knocking.take(address)?))
    }

    /// A place for a connection of HTTPS.
    pub(super) fn https(&self, address: IpAddr) -> Option<Place> {
        self.https.take(address)
    }

    /// Logs that someone was turned away of whom nothing is known, unless that was logged often enough of late.
    pub(super) fn complain(
        &self,
        remote: SocketAddr,
        reason: &'static str,
        error: Option<&(dyn Error + 'static)>,
    ) {
        let Some(left_out) = self.complaints.next(reason, Instant::now()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        warn!(%remote, left_out, error, "refused a connection: {reason}");
    }
}

impl Verdict {
    /// For a sender that receives at its address.
    const fn of_validated(free: usize) -> Self {
        if free == 0 { Self::Refuse } else { Self::Accept }
    }

    /// For an address that may be made up: such ones must not take all places.
    const fn of_claimed(free: usize) -> Self {
        if free > HANDSHAKES_MAX - UNVALIDATED_HANDSHAKES_MAX { Self::Accept } else { Self::Retry }
    }
}

/// A handshake over a slow radio link, with a repeat or two.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection without a certificate may last: a join, and the time to take the answer.
pub(super) const STRANGER_TIMEOUT: Duration = Duration::from_secs(40);

/// Handshakes under way at a time; each costs the coordinator a signature.
const HANDSHAKES_MAX: usize = 256;

/// Those of them with one address, so that others still come in; many nodes may share one.
const HANDSHAKES_EACH_MAX: usize = 192;

/// Those of them whose address may be made up.
const UNVALIDATED_HANDSHAKES_MAX: usize = 32;

/// Connections without a certificate at a time: machines that join, and clients that are told they need one.
const STRANGERS_MAX: usize = 256;

/// TCP connections at a time: as many as sessions.
const TUNNELS_MAX: usize = crate::sessions::SESSIONS_MAX;

/// Connections of HTTPS at a time.
const HTTPS_MAX: usize = 4096;

/// Those of them with one address; all pods of a node may share its own.
const HTTPS_EACH_MAX: usize = 1024;

/// TCP connections of which nothing is known yet.
const KNOCKING_MAX: usize = 256;

/// Those of them with one address.
const KNOCKING_EACH_MAX: usize = 192;

#[cfg(test)]
mod tests {
    use super::{HANDSHAKES_MAX, UNVALIDATED_HANDSHAKES_MAX, Verdict};

    #[test]
    fn made_up_addresses_cannot_take_all_handshakes() {
        let check = |under_way: usize, unvalidated, validated| {
            let free = HANDSHAKES_MAX - under_way;
            assert_eq!((Verdict::of_claimed(free), Verdict::of_validated(free)), (unvalidated, validated));
        };
        check(0, Verdict::Accept, Verdict::Accept);
        check(UNVALIDATED_HANDSHAKES_MAX - 1, Verdict::Accept, Verdict::Accept);
        check(UNVALIDATED_HANDSHAKES_MAX, Verdict::Retry, Verdict::Accept);
        check(HANDSHAKES_MAX - 1, Verdict::Retry, Verdict::Accept);
        check(HANDSHAKES_MAX, Verdict::Retry, Verdict::Refuse);
    }
}
