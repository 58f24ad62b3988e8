//! How the port tells clients of an earlier coordinator that their connection is gone (stateless reset, RFC 9000, section 10.3).
//!
//! The token that proves it is derived from the connection's id and a secret that outlives the process: after a crash the next
//! coordinator answers the first packet of an old connection, and its node need not wait for the silence to grow too long.

use std::{sync::Arc, time::Duration};

use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use rand::Rng;
use ring::hmac;

use crate::pki::Pki;

/// The configuration of the cluster's port.
pub(super) fn endpoint_config(pki: &Pki) -> EndpointConfig {
    let key = hmac::Key::new(hmac::HMAC_SHA256, pki.reset_secret().as_bytes());
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(|| Box::new(AnyId)).min_reset_interval(RESET_INTERVAL_MIN);
    config
}

/// Random ids. Unlike quinn's own, they hold no check by a key of this process, for which ids of the last one would be noise.
#[derive(Debug)]
struct AnyId;

impl ConnectionIdGenerator for AnyId {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_BYTES];
        rand::rng().fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Thousands of nodes speak within one keep-alive, and each that is not answered waits for silence to tell it. A reset is shorter than the
/// packet that it answers, so nobody's traffic is multiplied by it.
const RESET_INTERVAL_MIN: Duration = Duration::from_micros(100);

/// As long as quinn's own.
const ID_BYTES: usize = 8;
