//! Reading all of a cluster's state as records: one revision of the store, the authority's files, and modules.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use dunlin_link::{Digest, UnixMillis};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

use super::{
    FORMAT, GenerationError, Manifest, Modules, last_restore,
    records::{self, Counts, FILE_BYTES_MAX},
};
use crate::{
    artifacts,
    founding::{self, FoundingError},
    store::{Export, OpenError, Store, StoreError, StoreOptions},
};

/// Where a cluster's state is.
#[derive(Clone, Debug)]
pub struct Source {
    /// The open store.
    pub store: Store,
    /// The coordinator's data folder.
    pub data_dir: PathBuf,
    /// Which cluster.
    pub cluster_id: String,
}

/// A state that is being read; dropping it ends that.
#[derive(Debug)]
pub struct Collected {
    /// What it is of.
    pub manifest: Manifest,
    parts: mpsc::Receiver<Result<Bytes, CollectError>>,
}

/// Why a state cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The folder holds no cluster.
    #[error("`{0}` holds no cluster: there is no store in it")]
    NoCluster(PathBuf),
    /// The store cannot be opened.
    #[error("failed to open the store; is the coordinator stopped?")]
    Open(#[from] OpenError),
    /// The store cannot be read.
    #[error("failed to read the store")]
    Store(#[from] StoreError),
    /// It is not known how often the cluster was restored.
    #[error("failed to tell which restore of the cluster this is")]
    Generation(#[from] GenerationError),
    /// Store and authority do not belong together, or the authority cannot be read.
    #[error("failed to tell which cluster this is")]
    Founding(#[from] FoundingError),
    /// A file cannot be read.
    #[error("failed to read `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A module's file is not what was pushed.
    #[error(
        "the module {0} is damaged on the coordinator's disk; push it again, or leave modules out of the backup"
    )]
    DamagedModule(Digest),
    /// Nobody took what was read.
    #[error("the backup was not taken on within {} s", STALL_MAX.as_secs())]
    Stalled,
}

/// Begins to read a running coordinator's state.
///
/// # Errors
/// When the store cannot be read.
pub async fn collect(source: Source, modules: Modules, now: UnixMillis) -> Result<Collected, CollectError> {
    let restore = last_restore(&source.store, &source.cluster_id).await?;
    let export = source.store.export().await?;
    let manifest = Manifest {
        format: FORMAT,
        cluster_id: source.cluster_id.clone(),
        created_at: now,
        revision: export.revision,
        restore_generation: restore.map_or(0, |restore| restore.record.generation),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        modules,
    };
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    tokio::spawn(async move {
        let mut telling = Telling { parts: sender, waiting: Vec::new(), counts: Counts::default() };
        if let Err(error) = telling.tell_all(&source.data_dir, export, modules).await {
            // Whoever listened is gone, or hears why the rest is missing.
            let _ = telling.parts.send(Err(error)).await;
        }
    });
    Ok(Collected { manifest, parts })
}

/// Begins to read a stopped coordinator's state; the store, which is closed by whoever asked when all is read, comes along.
///
/// # Errors
/// When there is none, or it is in use.
pub async fn collect_offline(
    data_dir: &Path,
    modules: Modules,
    now: UnixMillis,
) -> Result<(Store, Collected), CollectError> {
    let folder = data_dir.join("store");
    if !folder.join("store.redb").exists() || !data_dir.join("pki/ca.pem").exists() {
        return Err(CollectError::NoCluster(data_dir.to_owned()));
    }
    let store = Store::open(&StoreOptions::new(folder))?;
    let collecting = async {
        let pki = founding::authority(&store, data_dir).await?;
        let cluster_id = pki.cluster_id().to_owned();
        let source = Source { store: store.clone(), data_dir: data_dir.to_owned(), cluster_id };
        collect(source, modules, now).await
    };
    match collecting.await {
        Ok(collected) => Ok((store, collected)),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

impl Collected {
    /// The next bytes of records; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, CollectError>> {
        self.parts.recv().await
    }
}

struct Telling {
    parts: mpsc::Sender<Result<Bytes, CollectError>>,
    waiting: Vec<u8>,
    counts: Counts,
}

impl Telling {
    async fn tell_all(
        &mut self,
        data_dir: &Path,
        mut export: Export,
        modules: Modules,
    ) -> Result<(), CollectError> {
        for (name, content) in authority_files(&data_dir.join("pki"))? {
            records::encode_file(&name, &content, &mut self.waiting);
            self.counts.files += 1;
        }
        while let Some(values) = export.next().await {
            for value in values? {
                records::encode_value(&value, &mut self.waiting);
                self.counts.values += 1;
            }
            self.flush().await?;
        }
        drop(export);
        if modules == Modules::Included {
            for digest in artifacts::stored_modules(data_dir).map_err(file_error(data_dir))? {
                self.tell_module(data_dir, digest).await?;
            }
        }
        records::encode_end(self.counts, &mut self.waiting);
        self.flush().await
    }

    async fn tell_module(&mut self, data_dir: &Path, digest: Digest) -> Result<(), CollectError> {
        use sha2::{Digest as _, Sha256};
        let path = artifacts::module_path(data_dir, digest);
        let mut file = tokio::fs::File::open(&path).await.map_err(file_error(&path))?;
        let bytes = file.metadata().await.map_err(file_error(&path))?.len();
        records::encode_module(&digest, bytes, &mut self.waiting);
        self.counts.modules += 1;
        let mut hash = Sha256::new();
        let mut rest = bytes;
        let mut chunk = vec![0; CHUNK_BYTES];
        while rest > 0 {
            let most = usize::try_from(rest).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let length = file.read(&mut chunk[..most]).await.map_err(file_error(&path))?;
            if length == 0 {
                return Err(CollectError::DamagedModule(digest));
            }
            hash.update(&chunk[..length]);
            self.waiting.extend_from_slice(&chunk[..length]);
            rest -= length as u64;
            self.flush().await?;
        }
        if Digest::from_bytes(hash.finalize().into()) != digest {
            return Err(CollectError::DamagedModule(digest));
        }
        Ok(())
    }

    /// Hands over what waits. Who takes it may be slow, but not for ever: pages of the database are kept meanwhile.
    async fn flush(&mut self) -> Result<(), CollectError> {
        let part = Bytes::from(std::mem::take(&mut self.waiting));
        let sent = tokio::time::timeout(STALL_MAX, self.parts.send(Ok(part))).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(CollectError::Stalled) }
    }
}

/// Names and contents of the regular files in `pki/`.
fn authority_files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, CollectError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(file_error(folder))? {
        let entry = entry.map_err(file_error(folder))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(file_error(&path))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let small = usize::try_from(metadata.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
        // Names that begin with a dot are files that a crash left half written.
        if metadata.is_file() && small && !name.is_empty() && !name.starts_with('.') {
            files.push((name, fs::read(&path).map_err(file_error(&path))?));
        }
    }
    files.sort();
    Ok(files)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CollectError {
    move |source| CollectError::File { path: path.to_owned(), source }
}

/// Parts that wait for who takes them: a few hundred KiB.
const PARTS_MAX: usize = 2;

/// Read of a module at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// How long whoever takes a backup may take for one part.
const STALL_MAX: Duration = Duration::from_secs(60);
