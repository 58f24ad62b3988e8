//! How the node knows the coordinator: by the digest in its token when it joins, by the cluster's authority ever after.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dunlin_link::{Digest, join, session::clock::RELEASED_AT_SECONDS};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// For joining: only a coordinator whose chain holds the authority of this digest is spoken to.
pub(super) fn join_config(ca: Digest) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = PinnedAuthority { ca, provider: Arc::clone(&provider) };
    let mut config =
        ClientConfig::builder_with_details(provider, Arc::new(FlooredClock { floor: RELEASED_AT }))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
    config.alpn_protocols = vec![join::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// For sessions: the coordinator of this authority, to which the node shows its own chain. `floor` is a time that has passed by the
/// coordinator's clock.
pub(super) fn session_config(
    authority: &CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    floor: Duration,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let clock = FlooredClock { floor: floor.max(RELEASED_AT) };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![join::SESSION_ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A machine without a clock of its own starts in 1970, or anywhere: it is not believed before what is known to have passed, nor
/// decades after it.
#[derive(Debug)]
struct FlooredClock {
    floor: Duration,
}

impl TimeProvider for FlooredClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let is_likely = (self.floor..self.floor + CLOCK_SPAN).contains(&now);
        Some(UnixTime::since_unix_epoch(if is_likely { now } else { self.floor }))
    }
}

/// Accepts a chain that leads to the authority of one digest, which the coordinator sends along.
#[derive(Debug)]
struct PinnedAuthority {
    ca: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = authority_of(intermediates, self.ca).ok_or_else(|| {
            Error::General("the coordinator is not of the cluster that the token is for".into())
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The words of [`PinnedAuthority`], which rustls hands on behind words of its own that say nothing.
pub(super) fn own_words(told: &str) -> &str {
    told.strip_prefix("unexpected error: ").unwrap_or(told)
}

/// The certificate of this digest in a chain.
pub(super) fn authority_of<'a>(chain: &[CertificateDer<'a>], ca: Digest) -> Option<CertificateDer<'a>> {
    chain.iter().find(|certificate| Digest::of(certificate) == ca).cloned()
}

/// 2026-01-01: before this there was no release of ours.
pub(crate) const RELEASED_AT: Duration = Duration::from_secs(RELEASED_AT_SECONDS);

/// How far a clock may be ahead of what is known to have passed: more than a machine is kept.
const CLOCK_SPAN: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_refused_in_words_of_ours() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = PinnedAuthority { ca: Digest::of(b"ours"), provider };
        let theirs = CertificateDer::from(b"theirs".to_vec());
        let name = ServerName::try_from("coordinator").unwrap();
        let refused = verifier.verify_server_cert(&theirs, &[], &name, &[], UnixTime::now()).unwrap_err();
        let refused = refused.to_string();
        assert_eq!(own_words(&refused), "the coordinator is not of the cluster that the token is for");
        assert_eq!(own_words("something else"), "something else");
    }

    #[test]
    fn an_unlikely_clock_reads_as_what_is_known() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let check = |floor: Duration, believed: bool| {
            let read = FlooredClock { floor }.current_time().unwrap().as_secs();
            assert_eq!(read != floor.as_secs(), believed, "{floor:?}");
        };
        check(RELEASED_AT.min(now - Duration::from_secs(60)), true);
        check(now + Duration::from_secs(60), false);
        check(now.saturating_sub(CLOCK_SPAN + Duration::from_secs(60)), false);
    }
}
