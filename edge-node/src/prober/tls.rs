//! TLS to containers, as Kubernetes' probes have it: whoever answers is believed, because what is asked is whether somebody does.

use std::sync::Arc;

use dunlin_registry::tls::AnyCertificate;
use rustls::{ClientConfig, version::TLS13};

/// A side that looks at no certificate.
pub(super) fn config() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = AnyCertificate::new(Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)
        .expect("ring knows TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// What this build of the crate knows.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&TLS13];
