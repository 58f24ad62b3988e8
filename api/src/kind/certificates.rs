//! Kinds of the group `certificates.k8s.io`.

mod certificate_signing_request;

pub use self::certificate_signing_request::CLIENT_SIGNER;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&certificate_signing_request::KIND];
