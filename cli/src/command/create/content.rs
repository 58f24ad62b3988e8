//! `create configmap` and `create secret`: data from words and files.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::OutputArgs;
use crate::{
    builder::content::{self, Data},
    failure::UsageError,
    resource::{self, Kind},
};

/// Options of `create configmap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create configmap settings --from-literal=mode=fast --from-literal=level=3
  dunlin create configmap site --from-file=index.html --from-file=logo=images/logo.png
  dunlin create configmap env --from-env-file=site.env")]
pub(crate) struct ConfigMapArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create secret`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create secret generic db --from-literal=password=hunter2
  dunlin create secret tls web --cert=web.crt --key=web.key
  dunlin create secret docker-registry hub --docker-server=hub.example --docker-username=joe --docker-password=secret")]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    of: SecretOf,
}

#[derive(Debug, clap::Subcommand)]
enum SecretOf {
    /// Data of any kind.
    Generic(Generic),
    /// A certificate and its key.
    Tls(Tls),
    /// A login at a registry.
    DockerRegistry(DockerRegistry),
}

#[derive(Debug, clap::Args)]
struct Generic {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    sources: SourceArgs,
    /// Its type.
    #[arg(long = "type", value_name = "TYPE")]
    of: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Tls {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// File of the certificate, PEM.
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// File of its key, PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct DockerRegistry {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The registry.
    #[arg(long, value_name = "URL", default_value = "https://index.docker.io/v1/")]
    docker_server: String,
    /// Who logs in.
    #[arg(long, value_name = "USER")]
    docker_username: String,
    /// That user's password.
    #[arg(long, value_name = "PASSWORD")]
    docker_password: String,
    /// That user's address.
    #[arg(long, value_name = "EMAIL")]
    docker_email: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Where data comes from.
#[derive(Debug, clap::Args)]
struct SourceArgs {
    /// KEY=VALUE; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// FILE, KEY=FILE, or a folder for all its files; may be repeated.
    #[arg(long, value_name = "FILE")]
    from_file: Vec<String>,
    /// File with a NAME=VALUE on each line; may be repeated.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_literal", "from_file"])]
    from_env_file: Vec<PathBuf>,
}

impl ConfigMapArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let data = self.sources.data(&format!("ConfigMap {:?}", self.name))?;
        Ok((resource::find("configmaps")?, content::config_map(&self.name, &data)))
    }
}

impl SecretArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let object = match &self.of {
            SecretOf::Generic(args) => {
                let data = args.sources.data(&format!("Secret {:?}", args.name))?;
                content::secret(&args.name, args.of.as_deref(), &data)
            }
            SecretOf::Tls(args) => args.object()?,
            SecretOf::DockerRegistry(args) => args.object()?,
        };
        Ok((resource::find("secrets")?, object))
    }

    pub(super) const fn output(&self) -> &OutputArgs {
        match &self.of {
            SecretOf::Generic(args) => &args.output,
            SecretOf::Tls(args) => &args.output,
            SecretOf::DockerRegistry(args) => &args.output,
        }
    }
}

impl Tls {
    fn object(&self) -> Result<Value> {
        let mut data = Data::default();
        for (key, file, label) in
            [("tls.crt", &self.cert, "CERTIFICATE-----"), ("tls.key", &self.key, "PRIVATE KEY-----")]
        {
            let bytes = read(file)?;
            if !String::from_utf8_lossy(&bytes).contains(label) {
                bail!("{} holds no {}", file.display(), label.trim_end_matches('-').to_lowercase());
            }
            data.add("Secret", key, bytes)?;
        }
        Ok(content::secret(&self.name, Some("kubernetes.io/tls"), &data))
    }
}

impl DockerRegistry {
    fn object(&self) -> Result<Value> {
        let email = self.docker_email.as_deref();
        let login =
            content::registry_login(&self.docker_server, &self.docker_username, &self.docker_password, email);
        let mut data = Data::default();
        data.add("Secret", ".dockerconfigjson", login.into_bytes())?;
        Ok(content::secret(&self.name, Some("kubernetes.io/dockerconfigjson"), &data))
    }
}

impl SourceArgs {
    /// All data, in the order of files, then words.
    fn data(&self, owner: &str) -> Result<Data> {
        let mut data = Data::default();
        for file in &self.from_env_file {
            let bytes = read(file)?;
            let text =
                String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", file.display()))?;
            for (name, value) in content::env_file(&text, |name| std::env::var(name).ok())? {
                data.add(owner, &name, value.into_bytes())?;
            }
        }
        for source in &self.from_file {
            for (key, path) in files(source)? {
                data.add(owner, &key, read(&path)?)?;
            }
        }
        for literal in &self.from_literal {
            let (key, value) = literal
                .split_once('=')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| UsageError(format!("invalid literal source {literal}, expected key=value")))?;
            data.add(owner, key, value.as_bytes().to_vec())?;
        }
        Ok(data)
    }
}

/// Files that a source names, by key: one, or those that lie in a folder.
fn files(source: &str) -> Result<Vec<(String, PathBuf)>> {
    let name_of = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.map(str::to_owned).ok_or_else(|| anyhow!("{} has no name that can be a key", path.display()))
    };
    if let Some((key, path)) = source.split_once('=') {
        if key.is_empty() || path.is_empty() {
            return Err(UsageError(format!("{source:?} is neither FILE nor KEY=FILE")).into());
        }
        if Path::new(path).is_dir() {
            bail!("cannot give a key name for a directory path");
        }
        return Ok(vec![(key.to_owned(), path.into())]);
    }
    let path = PathBuf::from(source);
    if !path.is_dir() {
        return Ok(vec![(name_of(&path)?, path)]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("error reading {source}"))? {
        let path = entry.with_context(|| format!("error reading {source}"))?.path();
        if path.is_file() {
            found.push((name_of(&path)?, path));
        }
    }
    found.sort();
    Ok(found)
}

/// A file as a whole.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("error reading {}", path.display()))?;
    let mut bounded = file.take(FILE_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).with_context(|| format!("error reading {}", path.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!(
            "{} is larger than {FILE_BYTES_MAX} bytes, which is more than an object may hold",
            path.display()
        );
    }
    Ok(bytes)
}

/// As much as the server lets the data of one object have.
const FILE_BYTES_MAX: u64 = 1 << 20;
