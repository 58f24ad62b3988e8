//! Which registries are reached how, in the words of k3s' `registries.yaml`: `mirrors` and `configs`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// Everything that is configured about registries. Nothing configured means: by TLS, with the machine's own authorities, anonymously.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistriesConfig {
    /// By registry as references name it, or `*` for all: where else its images are.
    pub mirrors: BTreeMap<String, Mirror>,
    /// By `HOST[:PORT]` of a registry or mirror: how it is reached.
    #[serde(alias = "auths")]
    pub configs: BTreeMap<String, HostConfig>,
}

/// Where a registry's images are, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mirror {
    /// URLs, asked in this order and before the registry itself. `http://` means no TLS.
    #[serde(alias = "endpoints")]
    pub endpoint: Vec<String>,
}

/// How one host is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostConfig {
    /// Whose credentials are shown.
    pub auth: Option<HostAuth>,
    /// Which certificates are trusted and shown.
    pub tls: HostTls,
    /// Without TLS: what is fetched is verified by digest, names and credentials are open to whoever listens. Where nothing is said, hosts
    /// of the machine's loopback are reached so, unless something is said of TLS with them.
    pub plain_http: Option<bool>,
}

/// Credentials for a host; `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostAuth {
    /// User name.
    pub username: String,
    /// The user's password.
    pub password: String,
    /// File that holds the password, in place of `password`.
    pub password_file: Option<PathBuf>,
    /// User name and password as `base64(NAME:PASSWORD)`, in place of both.
    pub auth: String,
    /// A refresh token, which the registry's authority exchanges for others.
    #[serde(alias = "identity_token")]
    pub identity_token: String,
    /// A token that is shown to the registry as it is.
    pub token: String,
}

/// TLS with a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostTls {
    /// File of authorities that are trusted beside the machine's own, in PEM.
    #[serde(alias = "ca_file", alias = "caFile")]
    pub ca: Option<PathBuf>,
    /// File of the certificate that this node shows, in PEM.
    #[serde(alias = "cert_file", alias = "certFile")]
    pub cert: Option<PathBuf>,
    /// File of that certificate's key, in PEM.
    #[serde(alias = "key_file", alias = "keyFile")]
    pub key: Option<PathBuf>,
    /// Takes any certificate: whoever is on the way can be the registry.
    #[serde(alias = "insecure_skip_verify")]
    pub insecure_skip_verify: bool,
}

/// What is wrong with a configuration; each line a problem.
#[derive(Debug, thiserror::Error)]
#[error("invalid registries:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl std::fmt::Debug for HostAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostAuth").field("username", &self.username).finish_non_exhaustive()
    }
}
