//! The one TLS configuration of the coordinator's port, for all its protocols.

use std::sync::Arc;

use dunlin_link::{join, rpc};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring::sign::any_supported_type,
    server::{
        NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Pki, PkiError, ServingCertificate};
use crate::{
    https::{ALPN_H2, ALPN_HTTP1},
    service::Clock,
};

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The coordinator's certificate cannot be made.
    #[error("failed to make the coordinator's certificate")]
    Certificate(#[from] PkiError),
    /// The TLS library refuses a certificate or key.
    #[error("failed to configure TLS")]
    Configure(#[from] Error),
    /// The TLS library refuses the authority.
    #[error("failed to configure the check of client certificates")]
    Verifier(#[from] VerifierBuilderError),
}

impl Pki {
    /// The configuration: client certificates are asked for and not required; no session is resumed and nothing is sent before the
    /// handshake ends, because either would pass by the checks of a connection.
    ///
    /// # Errors
    /// When no certificate can be made for the coordinator.
    pub fn server_config(&self, clock: Clock) -> Result<ServerConfig, TlsError> {
        let (certificate, key) = self.issue_server(vec![join::SERVER_NAME.to_owned()])?;
        let key = any_supported_type(&key)?;
        let certified = CertifiedKey::new(vec![certificate, self.certificate().clone()], key);
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        self.port_config(clock, &[join::SESSION_ALPN, join::ALPN, rpc::ALPN], resolver)
    }

    /// The same for TCP: tunnels, which carry the protocols of [`Pki::server_config`] inside, and HTTPS.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn tcp_config(
        &self,
        clock: Clock,
        certificate: Arc<ServingCertificate>,
    ) -> Result<ServerConfig, TlsError> {
        self.port_config(clock, &[dunlin_tunnel::ALPN, ALPN_H2, ALPN_HTTP1], certificate)
    }

    fn port_config(
        &self,
        clock: Clock,
        protocols: &[&[u8]],
        certificate: Arc<dyn ResolvesServerCert>,
    ) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().clone())?;
        let chain =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(DateTolerant { chain }))
            .with_cert_resolver(certificate);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.now().as_second()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Checks a client's chain to the cluster's authority and lets one fault through, its leaf's dates: a node whose power failed for a year,
/// or whose certificate was issued while the coordinator's clock was ahead, is still known by its key. What it may do is decided where keys
/// are looked up.
#[derive(Debug)]
struct DateTolerant {
    chain: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for DateTolerant {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.chain.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => {
                // Everything else about the certificate is checked as of its last valid second.
                let last = last_valid_second(end_entity).ok_or(CertificateError::BadEncoding)?;
                self.chain.verify_client_cert(end_entity, intermediates, last)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }
}

fn last_valid_second(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
}
