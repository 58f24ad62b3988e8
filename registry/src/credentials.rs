//! Credentials, and which of them fit an image: pull Secrets, in the formats and by the rules that the kubelet has for them.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_link::reference::{DEFAULT_REGISTRY, Reference};
use serde::Deserialize;

/// What is shown to a registry. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Name and password.
    Basic {
        /// Name.
        username: String,
        /// Password.
        password: String,
    },
    /// A refresh token, which the registry's authority exchanges for others.
    Identity(String),
    /// A token that is shown as it is.
    Token(String),
}

/// Credentials by where they are good for, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// Pattern (`HOST[:PORT][/PATH]`, with `*` in parts of the host) and credential.
    entries: Vec<(String, Credential)>,
}

/// Why a Secret holds no credentials. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Neither of the keys.
    #[error("it has no key `.dockerconfigjson` or `.dockercfg`")]
    NoKey,
    /// Not JSON of that shape.
    #[error("its `{0}` is not the JSON that Docker writes")]
    Malformed(&'static str),
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

impl Keyring {
    /// Adds the credentials of a Secret, by its data's keys.
    ///
    /// # Errors
    /// When it holds none that can be read.
    pub fn add_secret<'a>(
        &mut self,
        data: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), SecretError> {
        let (mut config, mut older) = (None, None);
        for (key, value) in data {
            match key {
                CONFIG_KEY => config = Some(value),
                OLDER_KEY => older = Some(value),
                _ => {}
            }
        }
        let auths = match (config, older) {
            (Some(json), _) => {
                serde_json::from_slice::<DockerConfig>(json)
                    .map_err(|_| SecretError::Malformed(CONFIG_KEY))?
                    .auths
            }
            (None, Some(json)) => {
                serde_json::from_slice(json).map_err(|_| SecretError::Malformed(OLDER_KEY))?
            }
            (None, None) => return Err(SecretError::NoKey),
        };
        for (place, auth) in auths.into_iter().take(ENTRIES_MAX) {
            if let Some(credential) = auth.credential() {
                self.entries.push((pattern(&place), credential));
            }
        }
        // As the kubelet sorts: what begins alike and is longer comes first.
        self.entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        Ok(())
    }

    /// The credentials that fit an image, best first.
    pub fn of(&self, image: &Reference) -> Vec<Credential> {
        let fits = |pattern: &str| {
            fits(pattern, &image.registry, &image.repository)
                || image.registry == DEFAULT_REGISTRY && fits(pattern, HUB, &image.repository)
        };
        self.entries.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, it)| it.clone()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Credential {
    /// Name and password from `base64(NAME:PASSWORD)`.
    pub fn from_base64(auth: &str) -> Option<Self> {
        // Docker pads its files with zeros and lines.
        let decoded = STANDARD.decode(auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.trim_end_matches('\0').split_once(':')?;
        Some(Self::Basic { username: username.to_owned(), password: password.to_owned() })
    }

    /// Whose it is, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Basic { username, .. } => format!("those of `{username}`"),
            Self::Identity(_) => "the identity token".to_owned(),
            Self::Token(_) => "the token".to_owned(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl DockerAuth {
    fn credential(self) -> Option<Credential> {
        if !self.registrytoken.is_empty() {
            return Some(Credential::Token(self.registrytoken));
        }
        if !self.identitytoken.is_empty() {
            return Some(Credential::Identity(self.identitytoken));
        }
        if !self.username.is_empty() {
            return Some(Credential::Basic { username: self.username, password: self.password });
        }
        Credential::from_base64(&self.auth)
    }
}

/// Where credentials are good for, without scheme and the protocol's own path.
fn pattern(place: &str) -> String {
    let rest = place.strip_prefix("https://").or_else(|| place.strip_prefix("http://")).unwrap_or(place);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let versionless = path.strip_prefix("v1").or_else(|| path.strip_prefix("v2"));
    let path = match versionless {
        Some(after) if after.is_empty() || after.starts_with('/') => after.trim_start_matches('/'),
        _ => path,
    };
    let path = path.trim_end_matches('/');
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// Whether a pattern covers a repository: host by host part, where `*` stands for letters within one, and the beginning of the path.
fn fits(pattern: &str, host: &str, repository: &str) -> bool {
    let (pattern_host, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let port = |host: &str| host.split_once(':').map(|(_, port)| port.to_owned());
    let parts = |host: &str| -> Vec<String> {
        host.split(':').next().unwrap_or_default().split('.').map(str::to_owned).collect()
    };
    let (wanted, found) = (parts(pattern_host), parts(host));
    port(pattern_host) == port(host)
        && wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| glob(wanted, found))
        && repository.starts_with(path)
}

/// Whether a pattern with any number of `*` covers a text: each piece between them is taken where it comes first, so that the time is
/// bounded by the product of their lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, others)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let (between, last) = others.rsplit_once('*').unwrap_or(("", others));
    for piece in between.split('*') {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// Key of Secrets of type `kubernetes.io/dockerconfigjson`.
pub const CONFIG_KEY: &str = ".dockerconfigjson";
/// Key of Secrets of type `kubernetes.io/dockercfg`.
pub const OLDER_KEY: &str = ".dockercfg";
/// What files of Docker call its hub.
const HUB: &str = "index.docker.io";
/// Registries of one Secret: several times what anybody has.
const ENTRIES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(json: &str) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add_secret([(CONFIG_KEY, json.as_bytes())]).unwrap();
        keyring
    }

    #[test]
    fn credentials_fit_as_the_kubelet_has_it() {
        let check = |place: &str, image: &str, expected: bool| {
            let auths = format!(r#"{{"auths": {{"{place}": {{"username": "u", "password": "p"}}}}}}"#);
            let found = keyring(&auths).of(&image.parse().unwrap());
            assert_eq!(!found.is_empty(), expected, "{place} for {image}");
        };
        check("ghcr.io", "ghcr.io/a/b", true);
        check("https://ghcr.io/v2/", "ghcr.io/a/b", true);
        check("ghcr.io/a", "ghcr.io/a/b", true);
        check("ghcr.io/c", "ghcr.io/a/b", false);
        check("ghcr.io:443", "ghcr.io/a/b", false);
        check("host:5000", "host:5000/a", true);
        check("*.example.com", "one.example.com/a", true);
        check("*.example.com", "one.two.example.com/a", false);
        check("r*y.example.com", "registry.example.com/a", true);
        check("r*i*y.example.com", "registry.example.com/a", true);
        check("r*x*y.example.com", "registry.example.com/a", false);
        check("re*ery.example.com", "rery.example.com/a", false);
        check("**.example.com", "registry.example.com/a", true);
        let many = format!("{}b.example.com", "a*".repeat(60));
        check(&many, &format!("{}.example.com/a", "a".repeat(200)), false);
        check("https://index.docker.io/v1/", "hello", true);
        check("docker.io", "team/hello", true);
        check("docker.io", "ghcr.io/hello", false);
    }

    #[test]
    fn longer_places_come_first_and_every_form_is_read() {
        let found = keyring(
            r#"{"auths": {
                "r.io": {"auth": "dTpwOnE="},
                "r.io/team": {"identitytoken": "i"},
                "r.io/team/one": {"registrytoken": "t"}
            }}"#,
        );
        let found = found.of(&"r.io/team/one".parse().unwrap());
        let basic = Credential::Basic { username: "u".to_owned(), password: "p:q".to_owned() };
        assert_eq!(found, [Credential::Token("t".into()), Credential::Identity("i".into()), basic]);
        let mut older = Keyring::default();
        older
            .add_secret([(OLDER_KEY, br#"{"r.io": {"username": "u", "password": "p"}}"#.as_slice())])
            .unwrap();
        assert_eq!(older.of(&"r.io/a".parse().unwrap()).len(), 1);
        assert_eq!(older.add_secret([("other", b"".as_slice())]), Err(SecretError::NoKey));
        assert_eq!(
            older.add_secret([(CONFIG_KEY, b"x".as_slice())]),
            Err(SecretError::Malformed(CONFIG_KEY))
        );
        assert_eq!(format!("{:?}", Credential::Token("t".into())), "the token");
    }
}
