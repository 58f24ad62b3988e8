//! kubectl's own configuration: where it is, and a context put into it beside those of others.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use serde_norway::{Mapping, Value};

use super::{
    NewContext, add,
    kubeconfig::{self, Context, Kubeconfig},
    load, save,
};

/// When the context becomes kubectl's current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Select {
    /// When no other is.
    IfNoneIs,
    /// In any case.
    Always,
}

/// What became of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The file that it is in.
    pub(crate) path: PathBuf,
    /// The current context.
    pub(crate) current: String,
}

/// The files that kubectl reads: those of `KUBECONFIG`, else the one in the home folder. None without either.
pub(crate) fn files() -> Vec<PathBuf> {
    let listed = env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    match listed {
        Some(listed) => env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .map(|home| PathBuf::from(home).join(".kube/config"))
            .into_iter()
            .collect(),
    }
}

/// Puts a context into the one of `files` that has it, else into the first that exists, else into the last, which is made. Contexts
/// of others stay as they are, also one of the same name.
///
/// # Errors
/// When that name is another's, a file is no configuration, or is being written by somebody else.
pub(crate) fn merge(files: &[PathBuf], new: NewContext<'_>, select: Select) -> Result<Merged> {
    let mut configs = Vec::new();
    for path in files.iter().filter(|path| path.exists()) {
        configs.push((path, load(path)?));
    }
    let has_it = |(_, config): &&(&PathBuf, Kubeconfig)| names(config, new.name);
    let chosen = configs.iter().find(has_it).or_else(|| configs.first()).map(|(path, _)| *path);
    let path = chosen.or_else(|| files.last()).ok_or_else(|| {
        anyhow!("neither KUBECONFIG nor HOME is set, so that there is no configuration of kubectl's")
    })?;
    // A link is followed, or it would be replaced by a file.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let elsewhere =
        configs.iter().map(|(_, config)| &config.current_context).find(|current| !current.is_empty());

    let _lock = Lock::take(&path)?;
    let mut config = if path.exists() { load(&path)? } else { Kubeconfig::default() };
    if names(&config, new.name) && !config.context(new.name).is_some_and(is_ours) {
        return Err(anyhow!(
            "{} has a context, cluster or user {:?} that is not of `dunlin dev`; it stays as it is",
            path.display(),
            new.name
        ));
    }
    let before = serde_norway::to_string(&config).context("cannot encode the configuration")?;
    let current = match select {
        Select::IfNoneIs => elsewhere.cloned().unwrap_or_else(|| new.name.to_owned()),
        Select::Always => new.name.to_owned(),
    };
    let own_current = config.current_context.clone();
    add(&mut config, new);
    mark(&mut config, new.name);
    config.current_context = if current == new.name { current.clone() } else { own_current };
    if serde_norway::to_string(&config).is_ok_and(|after| after != before) {
        save(&path, &config)?;
    }
    Ok(Merged { path, current })
}

/// Whether anything has this name.
fn names(config: &Kubeconfig, name: &str) -> bool {
    config.context(name).is_some()
        || kubeconfig::find(&config.clusters, name).is_some()
        || kubeconfig::find(&config.users, name).is_some()
}

/// Whether a context is one that was put there by this module.
fn is_ours(context: &Context) -> bool {
    let extensions = context.others.get(EXTENSIONS).and_then(Value::as_sequence);
    extensions.into_iter().flatten().any(|extension| extension["name"] == MARK)
}

/// Says in the context whose it is.
fn mark(config: &mut Kubeconfig, name: &str) {
    let field = |key: &str, value: Value| (Value::from(key), value);
    let mark = Mapping::from_iter([
        field("name", MARK.into()),
        field("extension", Mapping::from_iter([field("provider", MARK.into())]).into()),
    ]);
    for entry in config.contexts.iter_mut().filter(|entry| entry.name == name) {
        entry.value.others.insert(EXTENSIONS.to_owned(), Value::Sequence(vec![mark.clone().into()]));
    }
}

/// The lock that kubectl takes, too: a file beside the one that is written.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let start = Instant::now();
        loop {
            match fs::File::create_new(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if start.elapsed() >= LOCK_PATIENCE {
                        return Err(anyhow!(
                            "somebody else is writing {}; remove {} if nobody is",
                            path.display(),
                            lock.display()
                        ));
                    }
                    thread::sleep(LOCK_PAUSE);
                }
                Err(error) => {
                    return Err(anyhow!(error).context(format!("cannot make {}", lock.display())));
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever removed it took the lock for forgotten.
        let _ = fs::remove_file(&self.0);
    }
}

const EXTENSIONS: &str = "extensions";

/// Name of the extension that tells our contexts from others'.
const MARK: &str = "dunlin-dev";

/// kubectl holds the lock for as long as one write takes.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

    use super::{Select, merge};
    use crate::context::{NewContext, access, load};

    const NEW: NewContext<'_> = NewContext {
        name: "dev",
        server: "https://127.0.0.1:6443",
        authority_pem: "ca",
        certificate_pem: "cert",
        key_pem: "key",
    };

    const THEIRS: &str = "{apiVersion: v1, kind: Config, preferences: {colors: true}, current-context: theirs, \
        clusters: [{name: theirs, cluster: {server: 'https://x', tls-server-name: y}}], \
        users: [{name: theirs, user: {exec: {command: z}}}], contexts: [{name: theirs, context: {cluster: theirs, user: theirs}}]}";

    fn files(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let files = names.iter().map(|name| dir.path().join(name)).collect();
        (dir, files)
    }

    #[test]
    fn a_missing_file_is_made_with_the_context_selected() {
        let (_dir, files) = files(&["deep/config"]);
        let merged = merge(&files, NEW, Select::IfNoneIs).unwrap();
        assert_eq!((merged.current.as_str(), merged.path.file_name()), ("dev", files[0].file_name()));
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::metadata(&files[0]).unwrap().modified().unwrap();
        merge(&files, NEW, Select::IfNoneIs).unwrap();
        assert_eq!(fs::metadata(&files[0]).unwrap().modified().unwrap(), before, "nothing is written twice");
        let config = load(&files[0]).unwrap();
        assert_eq!(config.contexts.len(), 1);
        assert_eq!(access(&config, None).unwrap().server, "127.0.0.1:6443");
        merge(&files, NewContext { server: "https://[::1]:7", ..NEW }, Select::IfNoneIs).unwrap();
        assert_eq!(access(&load(&files[0]).unwrap(), None).unwrap().server, "[::1]:7");
        assert!(!files[0].with_file_name("config.lock").exists());
    }

    #[test]
    fn others_stay_as_they_are() {
        let (_dir, files) = files(&["none", "config"]);
        fs::write(&files[1], THEIRS).unwrap();
        let link = files[1].with_file_name("link");
        std::os::unix::fs::symlink(&files[1], &link).unwrap();
        let merged = merge(&[files[0].clone(), link.clone()], NEW, Select::IfNoneIs).unwrap();
        assert_eq!(merged.current, "theirs");
        assert!(link.is_symlink() && !files[0].exists());
        let text = fs::read_to_string(&files[1]).unwrap();
        for kept in [
            "colors: true",
            "tls-server-name: y",
            "command: z",
            "server: https://x",
            "current-context: theirs",
        ] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        assert_eq!(merge(&files, NEW, Select::Always).unwrap().current, "dev");
        assert!(fs::read_to_string(&files[1]).unwrap().contains("current-context: dev"));
        let refused = merge(&files, NewContext { name: "theirs", ..NEW }, Select::Always).unwrap_err();
        assert!(refused.to_string().contains("is not of `dunlin dev`"), "{refused}");
    }

    #[test]
    fn what_cannot_be_read_or_locked_is_left_alone() {
        let (_dir, files) = files(&["config"]);
        fs::write(&files[0], "a: [").unwrap();
        assert!(merge(&files, NEW, Select::Always).is_err());
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), "a: [");
        fs::write(&files[0], "{clusters: null, contexts: null, users: null, current-context: ''}").unwrap();
        let lock = files[0].with_file_name("config.lock");
        fs::write(&lock, "").unwrap();
        let refused = merge(&files, NEW, Select::Always).unwrap_err().to_string();
        assert!(refused.contains("somebody else is writing"), "{refused}");
        fs::remove_file(&lock).unwrap();
        assert_eq!(merge(&files, NEW, Select::IfNoneIs).unwrap().current, "dev");
        assert!(merge(&[], NEW, Select::Always).is_err());
    }
}
