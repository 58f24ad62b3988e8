//! Whether the cluster's authority, which the node pinned when it joined, has signed the record of a restore.

use dunlin_link::restore::RestoreAuthority;
use rustls::SignatureScheme;
use rustls_pki_types::CertificateDer;

/// The pinned authority's public key.
#[derive(Debug)]
pub(super) struct PinnedKey {
    /// As an elliptic curve point.
    point: Vec<u8>,
}

impl PinnedKey {
    /// The key of a certificate; `None` when the certificate is malformed.
    pub(super) fn of(authority: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(authority).ok()?;
        Some(Self { point: parsed.public_key().subject_public_key.data.to_vec() })
    }
}

impl RestoreAuthority for PinnedKey {
    fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool {
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.mapping.iter();
        let mut fitting = algorithms
            .filter(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256)
            .flat_map(|(_, algorithms)| algorithms.iter());
        fitting.any(|algorithm| algorithm.verify_signature(&self.point, statement, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SigningKey};

    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_one_statement() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let pinned = PinnedKey::of(certificate.der()).unwrap();
        let signature = key.sign(b"restored").unwrap();
        assert!(pinned.has_signed(b"restored", &signature));
        assert!(!pinned.has_signed(b"restores", &signature));
        assert!(!pinned.has_signed(b"restored", &KeyPair::generate().unwrap().sign(b"restored").unwrap()));
        assert!(!pinned.has_signed(b"restored", b""));
        assert!(PinnedKey::of(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
