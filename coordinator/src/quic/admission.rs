//! How many may knock at the port at a time, and what those are told for whom there is no room.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The port's places; each is given back when what was given is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    handshakes: Arc<Semaphore>,
    strangers: Semaphore,
    tunnels: Arc<Semaphore>,
    knocking: Arc<Semaphore>,
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
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            strangers: Semaphore::new(STRANGERS_MAX),
            tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)),
            knocking: Arc::new(Semaphore::new(KNOCKING_MAX)),
        }
    }

    /// What to do with the first packet of a connection on UDP.
    pub(super) fn verdict(&self, address: AddressProof) -> Verdict {
        let free = self.handshakes.available_permits();
        match address {
            AddressProof::Validated => Verdict::of_validated(free),
            AddressProof::Claimed => Verdict::of_claimed(free),
        }
    }

    /// A place for a handshake.
    pub(super) fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).try_acquire_owned().ok()
    }

    /// A place for a connection without a certificate.
    pub(super) fn stranger(&self) -> Option<SemaphorePermit<'_>> {
        self.strangers.try_acquire().ok()
    }

    /// A place for a TCP connection, and one for the time until it is known who is inside.
    pub(super) fn tunnel(&self) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let tunnel = Arc::clone(&self.tunnels).try_acquire_owned().ok()?;
        Some((tunnel, Arc::clone(&self.knocking).try_acquire_owned().ok()?))
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

/// Those of them whose address may be made up.
const UNVALIDATED_HANDSHAKES_MAX: usize = 32;

/// Connections without a certificate at a time: machines that join, and clients that are told they need one.
const STRANGERS_MAX: usize = 256;

/// TCP connections at a time: as many as sessions.
const TUNNELS_MAX: usize = crate::sessions::SESSIONS_MAX;

/// Those of them of which nothing is known yet.
const KNOCKING_MAX: usize = 256;

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
