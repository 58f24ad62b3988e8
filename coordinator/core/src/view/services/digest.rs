//! What stands for an endpoint in a slice.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::discovery::v1::Endpoint;
use serde::Serialize;

/// An endpoint, by who it is and by all that it says. Digests live in memory only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointDigest {
    /// Of its addresses, host name and target: endpoints that differ here are two.
    pub identity: u64,
    /// Of everything.
    pub whole: u64,
}

impl EndpointDigest {
    /// That of an endpoint.
    pub fn of(endpoint: &Endpoint) -> Self {
        let target = endpoint.target_ref.as_ref();
        let target = target.map(|target| (&target.kind, &target.namespace, &target.name, &target.uid));
        Self { identity: digest(&(&endpoint.addresses, &endpoint.hostname, target)), whole: digest(endpoint) }
    }
}

/// A digest of a value as it is written.
pub(super) fn digest(value: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    // What these types write cannot fail to be written; if it did, the digest would differ and the object be written again.
    serde_json::to_vec(value).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
