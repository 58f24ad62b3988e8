//! Which cluster, as whom, in which namespace: a file in kubeconfig's format, read by every command and written atomically.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::kubeconfig::{Cluster, Context, Kubeconfig, Named, User};
use crate::failure::UsageError;

pub(crate) mod kube;
pub(crate) mod kubeconfig;

/// Everything a connection needs, of the selected context.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The context's name, for messages.
    pub(crate) context: String,
    /// `host:port` of the coordinator.
    pub(crate) server: String,
    /// The cluster's certificate authority, PEM.
    pub(crate) authority_pem: Vec<u8>,
    /// The client's certificate, PEM.
    pub(crate) certificate_pem: Vec<u8>,
    /// The client's key, PEM.
    pub(crate) key_pem: Vec<u8>,
    /// Namespace of commands that name none.
    pub(crate) namespace: String,
}

/// A cluster and its first user, to be written as one context.
#[derive(Clone, Copy)]
pub(crate) struct NewContext<'a> {
    /// Name of the context, its cluster and its user.
    pub(crate) name: &'a str,
    /// `quic://host:port`, or `https://host:port` for kubectl.
    pub(crate) server: &'a str,
    /// The cluster's certificate authority, PEM.
    pub(crate) authority_pem: &'a str,
    /// The client's certificate, PEM.
    pub(crate) certificate_pem: &'a str,
    /// The client's key, PEM.
    pub(crate) key_pem: &'a str,
}

/// Writes a context over one of the same name, keeping its namespace, and selects it. With no path, the user's own file is meant;
/// answers the file that was written.
///
/// # Errors
/// When the file is not a configuration, or cannot be written.
pub(crate) fn install(path: Option<&Path>, new: NewContext<'_>) -> Result<PathBuf> {
    let path = own(path)?;
    let mut config = if path.exists() { load(&path)? } else { Kubeconfig::default() };
    add(&mut config, new);
    save(&path, &config)?;
    Ok(path)
}

/// The text of a configuration that holds nothing but this context, selected.
///
/// # Errors
/// When it cannot be encoded.
pub(crate) fn standalone(new: NewContext<'_>) -> Result<String> {
    let mut config = Kubeconfig::default();
    add(&mut config, new);
    serde_norway::to_string(&config).context("cannot encode the client configuration")
}

/// Puts a context in, and selects it.
fn add(config: &mut Kubeconfig, new: NewContext<'_>) {
    let namespace = config.context(new.name).and_then(|context| context.namespace.clone());
    let name = new.name.to_owned();
    kubeconfig::put(
        &mut config.clusters,
        Named {
            name: name.clone(),
            value: Cluster {
                server: new.server.to_owned(),
                authority_data: Some(STANDARD.encode(new.authority_pem)),
                ..Cluster::default()
            },
        },
    );
    kubeconfig::put(
        &mut config.users,
        Named {
            name: name.clone(),
            value: User {
                certificate_data: Some(STANDARD.encode(new.certificate_pem)),
                key_data: Some(STANDARD.encode(new.key_pem)),
                ..User::default()
            },
        },
    );
    kubeconfig::put(
        &mut config.contexts,
        Named {
            name: name.clone(),
            value: Context { cluster: name.clone(), user: name.clone(), namespace, ..Context::default() },
        },
    );
    config.current_context = name;
}

/// The file to read contexts from: the one asked for, else that of `DUNLIN_CONFIG`, else the user's own, else kubectl's.
///
/// # Errors
/// When no file is named and the user has no home folder.
pub(crate) fn locate(explicit: Option<&Path>) -> Result<PathBuf> {
    let own = own(explicit)?;
    if explicit.is_some() || variable("DUNLIN_CONFIG").is_some() || own.exists() {
        return Ok(own);
    }
    Ok(kube::files().into_iter().find(|path| path.exists()).unwrap_or(own))
}

/// The file that holds contexts of this program: the one asked for, else that of `DUNLIN_CONFIG`, else the user's own.
///
/// # Errors
/// When no file is named and the user has no home folder.
pub(crate) fn own(explicit: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = explicit {
        return Ok(path.to_owned());
    }
    if let Some(path) = variable("DUNLIN_CONFIG") {
        return Ok(path);
    }
    let base = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let base = base.ok_or_else(|| {
        UsageError(
            "neither HOME nor XDG_CONFIG_HOME is set; name the client configuration with --config".to_owned(),
        )
    })?;
    Ok(base.join("dunlin/config"))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Reads the file.
///
/// # Errors
/// When it is missing or is no configuration.
pub(crate) fn load(path: &Path) -> Result<Kubeconfig> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let advice =
                "start a cluster here with `dunlin dev`, or name a client configuration with --config";
            return Err(UsageError(format!(
                "no cluster is configured: {} does not exist; {advice}",
                path.display()
            ))
            .into());
        }
        other => other.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut config: Kubeconfig = serde_norway::from_str(&text)
        .map_err(|error| UsageError(format!("{} is not a client configuration: {error}", path.display())))?;
    config.folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(config)
}

/// Replaces the file in one step; it holds a private key, so that only its owner may read it.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn save(path: &Path, config: &Kubeconfig) -> Result<()> {
    let text = serde_norway::to_string(config).context("cannot encode the client configuration")?;
    let folder =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // A named temporary file is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Looks up a context, or the current one, with all that it names.
///
/// # Errors
/// [`UsageError`] naming the part that is missing or malformed.
pub(crate) fn access(config: &Kubeconfig, context: Option<&str>) -> Result<Access> {
    let wrong = |message: String| anyhow::Error::from(UsageError(message));
    let name = context.unwrap_or(&config.current_context);
    if name.is_empty() {
        return Err(wrong(
            "no context is selected; choose one with `dunlin config use-context NAME`".to_owned(),
        ));
    }
    let context = config.context(name).ok_or_else(|| {
        wrong(format!("there is no context {name:?}; `dunlin config get-contexts` lists them"))
    })?;
    let cluster = kubeconfig::find(&config.clusters, &context.cluster).ok_or_else(|| {
        wrong(format!("context {name:?} names cluster {:?}, which is missing", context.cluster))
    })?;
    let user = kubeconfig::find(&config.users, &context.user)
        .ok_or_else(|| wrong(format!("context {name:?} names user {:?}, which is missing", context.user)))?;
    let server = address(&cluster.server).ok_or_else(|| {
        let server = &cluster.server;
        wrong(format!(
            "server {server:?} of context {name:?} is not of the form quic://HOST:PORT or https://HOST:PORT"
        ))
    })?;
    let pem = |field: &str, data: &Option<String>, file: &Option<PathBuf>| match (data, file) {
        (Some(data), _) => STANDARD
            .decode(data)
            .map_err(|_| wrong(format!("{field}-data of context {name:?} is not base64"))),
        (None, Some(file)) => {
            let path = config.folder.join(file);
            fs::read(&path)
                .with_context(|| format!("cannot read {field} of context {name:?}, {}", path.display()))
        }
        (None, None) => Err(wrong(format!(
            "context {name:?} has no {field}-data; dunlin shows a client certificate, and takes neither tokens nor plugins"
        ))),
    };
    Ok(Access {
        context: name.to_owned(),
        server,
        authority_pem: pem("certificate-authority", &cluster.authority_data, &cluster.authority_file)?,
        certificate_pem: pem("client-certificate", &user.certificate_data, &user.certificate_file)?,
        key_pem: pem("client-key", &user.key_data, &user.key_file)?,
        namespace: context.namespace.clone().unwrap_or_else(|| "default".to_owned()),
    })
}

/// `host:port` of a server's URL. One for HTTPS will do: QUIC has the same port.
fn address(server: &str) -> Option<String> {
    let secure = server.strip_prefix("https://");
    let authority = server.strip_prefix("quic://").or(secure)?.trim_end_matches('/');
    if authority.is_empty() || authority.contains('/') {
        return None;
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, secure) {
        (true, _) => Some(authority.to_owned()),
        (false, Some(_)) => Some(format!("{authority}:443")),
        (false, None) => None,
    }
}

impl std::fmt::Debug for Access {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("context", &self.context)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewContext<'_> {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewContext")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{NewContext, access, install, load};

    const NEW: NewContext<'_> = NewContext {
        name: "dev",
        server: "quic://127.0.0.1:6443",
        authority_pem: "ca",
        certificate_pem: "cert",
        key_pem: "key",
    };

    #[test]
    fn an_installed_context_is_selected_and_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config");
        install(Some(&path), NEW).unwrap();
        install(Some(&path), NewContext { name: "other", ..NEW }).unwrap();
        let written = install(Some(&path), NewContext { server: "quic://[::1]:7", ..NEW }).unwrap();

        assert_eq!(std::fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600);
        let config = load(&path).unwrap();
        assert_eq!(config.current_context, "dev");
        assert_eq!(config.contexts.len(), 2);
        let access = access(&config, None).unwrap();
        assert_eq!((access.server.as_str(), access.namespace.as_str()), ("[::1]:7", "default"));
        assert_eq!(access.key_pem, b"key");
    }

    #[test]
    fn a_file_of_kubectl_keeps_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let theirs = "{apiVersion: v1, kind: Config, preferences: {colors: true}, current-context: theirs, \
            clusters: [{name: theirs, cluster: {server: 'https://x', tls-server-name: y}}], \
            users: [{name: theirs, user: {exec: {command: z}}}], contexts: [{name: theirs, context: {cluster: theirs, user: theirs}}]}";
        std::fs::write(&path, theirs).unwrap();
        install(Some(&path), NewContext { server: "https://127.0.0.1:6443", ..NEW }).unwrap();
        let config = load(&path).unwrap();
        let text = serde_norway::to_string(&config).unwrap();
        for kept in ["colors: true", "tls-server-name: y", "command: z", "server: https://x"] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        assert_eq!((config.current_context.as_str(), config.contexts.len()), ("dev", 2));
        let alone = super::standalone(NewContext { server: "https://h:1", ..NEW }).unwrap();
        assert!(alone.contains("server: https://h:1") && alone.contains("current-context: dev"), "{alone}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |text: &str, expected: &str| {
            let config = serde_norway::from_str(text).unwrap();
            let error = access(&config, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("{}", "no context is selected");
        check("current-context: a", "there is no context \"a\"");
        check(
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}]}",
            "names cluster \"c\", which is missing",
        );
        check(
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], \
             clusters: [{name: c, cluster: {server: 'http://x'}}], users: [{name: u, user: {}}]}",
            "is not of the form quic://HOST:PORT or https://HOST:PORT",
        );
        check(
            "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], \
             clusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: YQ==}}], \
             users: [{name: u, user: {token: t}}]}",
            "has no client-certificate-data",
        );
    }

    #[test]
    fn a_file_of_kubectl_names_servers_and_files_its_own_way() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("ca.pem", "ca"), ("c.pem", "cert"), ("k.pem", "key")] {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let path = dir.path().join("config");
        let text = "{current-context: a, contexts: [{name: a, context: {cluster: c, user: u}}], \
             clusters: [{name: c, cluster: {server: 'https://x', certificate-authority: ca.pem}}], \
             users: [{name: u, user: {client-certificate: c.pem, client-key: k.pem}}]}";
        std::fs::write(&path, text).unwrap();
        let access = access(&load(&path).unwrap(), None).unwrap();
        assert_eq!((access.server.as_str(), access.key_pem.as_slice()), ("x:443", b"key".as_slice()));
        for (server, expected) in [
            ("https://h:6443/", Some("h:6443")),
            ("quic://[::1]:7", Some("[::1]:7")),
            ("https://[::1]", Some("[::1]:443")),
            ("quic://h", None),
            ("https://h:1/path", None),
            ("h:1", None),
        ] {
            assert_eq!(super::address(server).as_deref(), expected, "{server}");
        }
    }
}
