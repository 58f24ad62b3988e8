//! TLS of the connection: the cluster's own authority and nothing else, and the user's certificate.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::context::Access;

/// Builds the configuration from a context's PEM texts.
///
/// # Errors
/// When one of them is malformed; the message names it.
pub(super) fn config(access: &Access) -> Result<ClientConfig> {
    let part = |what: &str| format!("context {:?} has a malformed {what}", access.context);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&access.authority_pem) {
        let certificate = certificate.with_context(|| part("certificate-authority-data"))?;
        roots.add(certificate).with_context(|| part("certificate-authority-data"))?;
    }
    if roots.is_empty() {
        return Err(anyhow!("{}: it holds no certificate", part("certificate-authority-data")));
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&access.certificate_pem)
        .collect::<Result<_, _>>()
        .with_context(|| part("client-certificate-data"))?;
    let key = PrivateKeyDer::from_pem_slice(&access.key_pem).with_context(|| part("client-key-data"))?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("TLS 1.3 is not available")?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .with_context(|| part("client certificate or key"))?;
    config.alpn_protocols = vec![dunlin_link::rpc::ALPN.to_vec()];
    Ok(config)
}
