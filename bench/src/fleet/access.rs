//! The administrator's access, as the coordinator writes it beside its data.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

/// Whom to speak to, and as whom.
#[derive(Clone)]
pub(super) struct Access {
    /// `host:port`.
    pub(super) server: String,
    pub(super) authority_pem: Vec<u8>,
    pub(super) certificate_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
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
    pub(super) fn read(path: &Path) -> Result<Self> {
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
}
