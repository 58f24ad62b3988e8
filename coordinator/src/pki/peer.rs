//! Who is on the other side of a connection, by its certificate.

use std::{ops::Range, sync::Arc};

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{NODE_GROUP, NODE_USER_PREFIX, is_node_name},
};
use rustls_pki_types::CertificateDer;

use super::GROUP_SEPARATOR;
use crate::service::{CREDENTIAL_ID, User};

/// What a verified client certificate says. Its chain was checked by TLS, its time was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// CN is the name, O are the groups.
    pub user: Arc<User>,
    /// Digest of the public key.
    pub key: Digest,
    /// When its certificate is valid.
    pub validity: Range<UnixMillis>,
}

/// A certificate that says nothing usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client certificate has no readable subject")]
pub struct PeerError;

impl Peer {
    /// Reads the leaf of a verified chain.
    ///
    /// # Errors
    /// When its subject has no common name in readable text.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| PeerError)?;
        let subject = parsed.subject();
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).map_err(|_| PeerError)
        };
        let name = subject.iter_common_name().next().map(text).ok_or(PeerError)??;
        if name.is_empty() {
            return Err(PeerError);
        }
        let mut groups = Vec::new();
        for organization in subject.iter_organization() {
            groups.extend(text(organization)?.split(GROUP_SEPARATOR).map(str::to_owned));
        }
        let millis = |time: x509_parser::time::ASN1Time| UnixMillis(time.timestamp().saturating_mul(1000));
        let validity = millis(parsed.validity().not_before)..millis(parsed.validity().not_after);
        let credential = format!("X509SHA256={}", Digest::of(certificate).hex());
        let user = User::new(name, groups).authenticated().with_extra(CREDENTIAL_ID, credential);
        Ok(Self { user: Arc::new(user), key: Digest::of(parsed.public_key().raw), validity })
    }

    /// The node that this is, if it is one.
    pub fn node(&self) -> Option<NodeName> {
        let name = self.user.name.strip_prefix(NODE_USER_PREFIX)?;
        let is_node = self.user.groups.iter().any(|group| group == NODE_GROUP) && is_node_name(name);
        is_node.then(|| NodeName::new(name))
    }
}
