//! Pulls from a real registry (Debian's `docker-registry`, filled by `skopeo`), and from a scripted one that does what real ones do
//! seldom; and modules by URL from a server of files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod layout;
mod real;
mod scripted;
mod server;
mod web;

use std::{collections::BTreeMap, path::Path};

use dunlin_link::Digest;
use dunlin_registry::{
    Client, Keyring, PullError, RegistriesConfig,
    config::{HostConfig, Mirror},
    manifest::Platform,
};

/// A configuration in which these hosts are reached as said.
fn config<const N: usize>(hosts: [(&str, HostConfig); N]) -> RegistriesConfig {
    let configs = hosts.into_iter().map(|(name, host)| (name.to_owned(), host)).collect();
    RegistriesConfig { mirrors: BTreeMap::new(), configs }
}

fn plain() -> HostConfig {
    HostConfig { plain_http: Some(true), ..HostConfig::default() }
}

fn mirrored(registry: &str, urls: &[String]) -> RegistriesConfig {
    let mirror = Mirror { endpoint: urls.to_vec() };
    RegistriesConfig { mirrors: BTreeMap::from([(registry.to_owned(), mirror)]), configs: BTreeMap::new() }
}

/// Pulls an image's module to a file; answers the image's digest and the module's length.
async fn pull(
    config: &RegistriesConfig,
    keyring: &Keyring,
    image: &str,
    file: &Path,
) -> Result<(String, u64), PullError> {
    let client = Client::new(config).unwrap();
    let wanted = [Platform::wasm("wasi"), Platform::wasm("wasip1")];
    let resolved = client.resolve(&image.parse().unwrap(), keyring, &wanted).await?;
    let fetched = resolved.fetch_module((file, None), BYTES_MAX).await?;
    assert_eq!(fetched.digest, Digest::of(&std::fs::read(file).unwrap()));
    assert!(resolved.module()?.is_none_or(|module| module == fetched.digest));
    Ok((resolved.digest.to_string(), fetched.bytes))
}

fn keyring(json: &str) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.add_secret([(".dockerconfigjson", json.as_bytes())]).unwrap();
    keyring
}

const BYTES_MAX: u64 = 16 << 20;
