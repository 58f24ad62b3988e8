//! The administrator's access, as the coordinator writes it beside its data, and TLS by it.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, client::WantsClientCert};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::Deserialize;

/// Whom to speak to, and as whom.
#[derive(Clone)]
pub(crate) struct Access {
    /// `host:port`.
    pub(crate) server: String,
    pub(crate) authority_pem: Vec<u8>,
    pub(crate) certificate_pem: Vec<u8>,
    pub(crate) key_pem: Vec<u8>,
}

/// As much of the file as an access takes: it has one cluster and one user.
#[derive(Deserialize)]
struct File {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    server: String,
    #[serde(rename = "certificate-authority-data")]
    authority: String,
}

#[derive(Deserialize)]
struct NamedUser {
    user: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(rename = "client-certificate-data")]
    certificate: String,
    #[serde(rename = "client-key-data")]
    key: String,
}

impl Access {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).context("the coordinator has not written its access file")?;
        let file: File = serde_norway::from_str(&text).context("the access file is malformed")?;
        let cluster = file.clusters.into_iter().next().context("the access file names no cluster")?.cluster;
        let user = file.users.into_iter().next().context("the access file names no user")?.user;
        let decode = |text: &str| BASE64_STANDARD.decode(text).context("the access file is malformed");
        Ok(Self {
            server: cluster.server.trim_start_matches("quic://").to_owned(),
            authority_pem: decode(&cluster.authority)?,
            certificate_pem: decode(&user.certificate)?,
            key_pem: decode(&user.key)?,
        })
    }

    /// TLS as the administrator.
    pub(crate) fn tls(&self, protocols: &[&[u8]]) -> Result<ClientConfig> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate_pem).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key_pem)?;
        let config = self.server_checked()?.with_client_auth_cert(chain, key)?;
        Ok(speaking(config, protocols))
    }

    /// TLS as nobody: for clients that show a token.
    pub(crate) fn anonymous_tls(&self, protocols: &[&[u8]]) -> Result<ClientConfig> {
        Ok(speaking(self.server_checked()?.with_no_client_auth(), protocols))
    }

    fn server_checked(&self) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.authority_pem) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        Ok(builder.with_root_certificates(roots))
    }
}

fn speaking(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}
