//! Where a registry is: its mirrors and itself, each with how it is reached and what is shown to it.

use std::{collections::BTreeMap, fs, net::IpAddr, sync::Arc};

use dunlin_link::reference::{DEFAULT_REGISTRY, Reference, Source};
use http::Uri;
use rustls::ClientConfig;

use crate::{
    config::{ConfigError, HostAuth, HostConfig, HostTls, RegistriesConfig},
    credentials::Credential,
    tls,
};

/// All that is configured, checked.
#[derive(Debug)]
pub(crate) struct Endpoints {
    mirrors: BTreeMap<String, Vec<Arc<Endpoint>>>,
    hosts: BTreeMap<String, Arc<Endpoint>>,
    tls: Arc<Tls>,
}

/// How each host is spoken to with TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    hosts: BTreeMap<String, Arc<ClientConfig>>,
    /// Hosts of which nothing is configured.
    others: Arc<ClientConfig>,
}

/// One place that answers the distribution protocol.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) scheme: Scheme,
    /// `HOST[:PORT]`, as it goes into the `Host` header.
    pub(crate) authority: String,
    /// Before `/v2/`, without a slash at its end.
    pub(crate) prefix: String,
    /// Its own, and those of the hosts that it sends us to.
    pub(crate) tls: Arc<Tls>,
    /// What the configuration shows to it.
    pub(crate) credential: Option<Credential>,
    /// Whether it stands for another registry, and has to be told which.
    pub(crate) is_mirror: bool,
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
}

impl Endpoints {
    /// Checks a configuration and reads the files that it names.
    pub(crate) fn new(config: &RegistriesConfig) -> Result<Self, ConfigError> {
        let roots = tls::machine_roots();
        let mut problems = Vec::new();
        let others = tls::client_config(&HostTls::default(), &roots).map_err(|why| ConfigError(vec![why]))?;
        let mut tls_of_hosts = BTreeMap::new();
        for (name, host) in &config.configs {
            match tls::client_config(&host.tls, &roots) {
                Ok(tls) => {
                    tls_of_hosts.insert(host_of(name).to_owned(), tls);
                }
                Err(why) => problems.push(format!("configs `{name}`: {why}")),
            }
        }
        let tls = Arc::new(Tls { hosts: tls_of_hosts, others });
        let mut hosts = BTreeMap::new();
        for (name, host) in &config.configs {
            match Endpoint::configured(name, host, &tls) {
                Ok(endpoint) => {
                    hosts.insert(name.clone(), Arc::new(endpoint));
                }
                Err(why) => problems.push(format!("configs `{name}`: {why}")),
            }
        }
        let mut this = Self { mirrors: BTreeMap::new(), hosts, tls };
        for (name, mirror) in &config.mirrors {
            let mut endpoints = Vec::new();
            for url in &mirror.endpoint {
                match this.mirror(url) {
                    Some(endpoint) => endpoints.push(Arc::new(endpoint)),
                    None => {
                        problems.push(format!("mirrors `{name}`: `{url}` is not https://HOST[:PORT][/PATH]"))
                    }
                }
            }
            this.mirrors.insert(name.clone(), endpoints);
        }
        if problems.is_empty() { Ok(this) } else { Err(ConfigError(problems)) }
    }

    /// Where an image may be, in the order in which they are asked.
    pub(crate) fn of(&self, image: &Reference) -> Vec<Arc<Endpoint>> {
        let registry = image.registry.as_str();
        if image.source != Source::Registry {
            return self.of_url(registry);
        }
        let mirrors = self.mirrors.get(registry).or_else(|| self.mirrors.get("*"));
        let mut endpoints = mirrors.cloned().unwrap_or_default();
        let own = self.hosts.get(registry).or_else(|| {
            // Under either of the names that the hub has.
            (registry == DEFAULT_REGISTRY).then(|| self.hosts.get(HUB))?
        });
        endpoints.push(own.cloned().unwrap_or_else(|| {
            Arc::new(Endpoint {
                scheme: scheme_of(registry, &HostConfig::default()),
                authority: host_of(registry).to_owned(),
                prefix: String::new(),
                tls: Arc::clone(&self.tls),
                credential: None,
                is_mirror: false,
            })
        }));
        endpoints
    }

    /// Where a file of `host` may be: mirrors of this very host, then itself, by TLS whatever else is said of it.
    fn of_url(&self, host: &str) -> Vec<Arc<Endpoint>> {
        let own = Endpoint {
            scheme: Scheme::Https,
            authority: host.to_owned(),
            prefix: String::new(),
            tls: Arc::clone(&self.tls),
            credential: self.hosts.get(host).and_then(|host| host.credential.clone()),
            is_mirror: false,
        };
        let mirrors = self.mirrors.get(host).cloned().unwrap_or_default();
        mirrors.into_iter().chain([Arc::new(own)]).collect()
    }

    fn mirror(&self, url: &str) -> Option<Endpoint> {
        let uri: Uri = url.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return None;
        }
        let path = uri.path().trim_end_matches('/');
        let host = self.hosts.get(authority.as_str());
        Some(Endpoint {
            scheme,
            authority: authority.to_string(),
            prefix: path.strip_suffix("/v2").unwrap_or(path).to_owned(),
            tls: Arc::clone(&self.tls),
            credential: host.and_then(|host| host.credential.clone()),
            is_mirror: true,
        })
    }
}

impl Endpoint {
    fn configured(name: &str, host: &HostConfig, tls: &Arc<Tls>) -> Result<Self, String> {
        let parsed: Result<http::uri::Authority, _> = host_of(name).parse();
        if parsed.is_err() || name.contains('@') {
            return Err("not HOST[:PORT]".to_owned());
        }
        Ok(Self {
            scheme: scheme_of(name, host),
            authority: host_of(name).to_owned(),
            prefix: String::new(),
            tls: Arc::clone(tls),
            credential: host.auth.as_ref().map(credential).transpose()?,
            is_mirror: false,
        })
    }
}

/// How a host is spoken to. One of the machine's loopback of which nothing is said goes without TLS, as with containerd and Docker.
fn scheme_of(name: &str, host: &HostConfig) -> Scheme {
    let is_silent = host.tls == HostTls::default();
    let is_plain = host.plain_http.unwrap_or_else(|| is_silent && is_loopback(name));
    if is_plain { Scheme::Http } else { Scheme::Https }
}

fn is_loopback(name: &str) -> bool {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Tls {
    /// How `HOST[:PORT]` is spoken to. What is configured of a host is for that host alone: one that it sends us to gets neither its
    /// certificate nor its leniency.
    pub(crate) fn of(&self, authority: &str) -> Arc<ClientConfig> {
        Arc::clone(self.hosts.get(authority).unwrap_or(&self.others))
    }
}

impl Scheme {
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

fn credential(auth: &HostAuth) -> Result<Credential, String> {
    if !auth.token.is_empty() {
        return Ok(Credential::Token(auth.token.clone()));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credential::Identity(auth.identity_token.clone()));
    }
    if !auth.auth.is_empty() {
        return Credential::from_base64(&auth.auth)
            .ok_or_else(|| "`auth` is not base64 of NAME:PASSWORD".to_owned());
    }
    if auth.username.is_empty() {
        return Err("`auth` names no user and no token".to_owned());
    }
    let password = match &auth.password_file {
        None => auth.password.clone(),
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| format!("`{}`: {error}", file.display()))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    Ok(Credential::Basic { username: auth.username.clone(), password })
}

/// Where a registry answers.
fn host_of(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { HUB } else { registry }
}

/// Where docker.io answers.
const HUB: &str = "registry-1.docker.io";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mirror;

    #[test]
    fn mirrors_come_before_the_registry_itself() {
        let mirror = |urls: &[&str]| Mirror { endpoint: urls.iter().map(|url| (*url).to_owned()).collect() };
        let auth = HostAuth { username: "u".into(), password: "p".into(), ..HostAuth::default() };
        let config = RegistriesConfig {
            mirrors: BTreeMap::from([
                ("docker.io".into(), mirror(&["https://one.local:5000/hub", "http://two.local/v2/"])),
                ("*".into(), mirror(&["https://three.local"])),
            ]),
            configs: BTreeMap::from([
                ("one.local:5000".into(), HostConfig { auth: Some(auth), ..HostConfig::default() }),
                ("plain.local".into(), HostConfig { plain_http: Some(true), ..HostConfig::default() }),
            ]),
        };
        let endpoints = Endpoints::new(&config).unwrap();
        let places = |image: &str| {
            let found = endpoints.of(&image.parse().unwrap());
            let shown = |it: &Arc<Endpoint>| {
                format!("{:?} {}{} {:?}", it.scheme, it.authority, it.prefix, it.credential)
            };
            found.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(
            places("hello"),
            [
                "Https one.local:5000/hub Some(those of `u`)",
                "Http two.local None",
                "Https registry-1.docker.io None"
            ]
        );
        assert_eq!(places("plain.local/a"), ["Https three.local None", "Http plain.local None"]);
    }

    #[test]
    fn hosts_of_the_machine_go_without_tls_unless_something_is_said() {
        let silent = HostConfig::default();
        let check = |name: &str, host: &HostConfig, expected: &str| {
            assert_eq!(format!("{:?}", scheme_of(name, host)), expected, "{name}");
        };
        for name in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
            check(name, &silent, "Http");
            check(name, &HostConfig { plain_http: Some(false), ..HostConfig::default() }, "Https");
            let tls = HostTls { insecure_skip_verify: true, ..HostTls::default() };
            check(name, &HostConfig { tls, ..HostConfig::default() }, "Https");
        }
        for name in ["docker.io", "localhost.example:5000", "192.0.2.1:5000", "128.0.0.1"] {
            check(name, &silent, "Https");
        }
    }

    #[test]
    fn what_is_configured_of_a_host_is_not_for_whom_it_names() {
        let tls = HostTls { insecure_skip_verify: true, ..HostTls::default() };
        let config = RegistriesConfig {
            configs: BTreeMap::from([
                ("lenient.local:5000".into(), HostConfig { tls, ..HostConfig::default() }),
                ("docker.io".into(), HostConfig::default()),
            ]),
            ..RegistriesConfig::default()
        };
        let tls = Endpoints::new(&config).unwrap().tls;
        let is_default = |authority: &str| Arc::ptr_eq(&tls.of(authority), &tls.others);
        assert!(!is_default("lenient.local:5000") && !is_default(HUB));
        assert!(is_default("lenient.local") && is_default("storage.local"));
    }

    #[test]
    fn every_problem_is_told() {
        let broken: RegistriesConfig = serde_json::from_str(
            r#"{"mirrors": {"a": {"endpoint": ["b", "ftp://c", "https://u@d"]}},
                "configs": {"e": {"tls": {"ca": "/nowhere", "cert": "x"}}, "f": {"auth": {}}, "g h": {}}}"#,
        )
        .unwrap();
        let text = Endpoints::new(&broken).unwrap_err().to_string();
        for part in
            ["`b`", "`ftp://c`", "`https://u@d`", "`e`: `/nowhere`", "`f`: `auth` names", "`g h`: not"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(serde_json::from_str::<RegistriesConfig>(r#"{"configs": {"a": {"tsl": {}}}}"#).is_err());
    }
}
