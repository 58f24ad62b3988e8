//! WASM modules that were pushed: content-addressed files, and the names `dunlin.local/NAME:TAG` that point to them.
//!
//! Contents are files `modules/sha256/HEX` in the data folder, verified before they get that name. Names are keys of the store under
//! [`NAMES_PREFIX`], so that a watch of the store tells when one moves. What a module contains is looked at only as far as its
//! header; nodes decide whether they can run it.

mod blobs;
mod check;
mod content;
mod foreign;
mod images;
mod index;
mod platforms;
mod reach;
mod referrers;
mod room;
mod tidy;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use dunlin_coordinator_core::image::{NameError, Wanted};
use dunlin_link::{Digest, Revision, limits::MODULE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use tokio::{fs::File, io::AsyncRead};

use crate::store::{Compare, KeyValue, ListOptions, Store, StoreError, Txn, TxnOutcome, Write};

use self::blobs::Blobs;
pub(crate) use self::{
    blobs::BlobError,
    images::{PUSHED_MANIFEST_BYTES_MAX, PutError},
    reach::named_by,
    referrers::subject,
    room::{FREE_BYTES_MIN, has_room},
};
pub use self::{
    content::{Module, ModuleKind, OpenModule, UploadError},
    reach::Content,
};
pub use dunlin_coordinator_core::{dispatch::NAMES_PREFIX, image::ModuleName};

/// The coordinator's modules; cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    modules: PathBuf,
    /// Modules that are here only to be compiled.
    foreign: PathBuf,
    blobs: Blobs,
    store: Store,
}

/// A name and what it points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedModule {
    /// The name.
    pub name: ModuleName,
    /// The module.
    pub module: Module,
    /// Revision of the store at which the name came to mean this module.
    pub revision: Revision,
}

/// Why an image reference does not lead to a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It is no reference, or one to another registry, or nothing was pushed under its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No module has this digest.
    #[error("no module `{digest}` was pushed")]
    UnknownDigest {
        /// The digest.
        digest: Digest,
    },
    /// The store could not answer.
    #[error("failed to look the name up")]
    Store(#[from] StoreError),
    /// A name's entry in the store, or the module's file, cannot be read.
    #[error("failed to read the entry or file of `{name}`")]
    Unreadable {
        /// Whose.
        name: String,
        /// Why.
        source: io::Error,
    },
}

impl Artifacts {
    /// The modules in `data_folder`; makes the folders, and removes what uploads left that were cut off by a crash.
    ///
    /// # Errors
    /// When the folders cannot be made or emptied.
    pub fn open(data_folder: &Path, store: Store) -> io::Result<Self> {
        let modules = data_folder.join(MODULES);
        content::prepare(&modules)?;
        let foreign = data_folder.join(FOREIGN);
        content::prepare(&foreign)?;
        let blobs = Blobs::open(data_folder.join(BLOBS))?;
        Ok(Self { modules, foreign, blobs, store })
    }

    /// Stores a module under its digest, durably, once it is known to be one. Answers what it is; a module that is there already is
    /// not written again.
    ///
    /// # Errors
    /// When it is not a module, too large, not what `expected` says, or cannot be written; nothing is kept then.
    pub async fn upload(
        &self,
        content: impl AsyncRead + Send + Unpin,
        expected: Option<Digest>,
    ) -> Result<Module, UploadError> {
        content::upload(&self.modules, content, expected, MODULE_BYTES_MAX).await
    }

    /// Makes `name` mean `module`, from the returned revision on. A name that means it already is not written again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tag(&self, name: &ModuleName, module: &Module) -> Result<Revision, StoreError> {
        let key = name_key(name);
        let value = Bytes::from(Entry::of(module).to_json());
        // What was pushed with a manifest before means nothing any more under this tag.
        let [tag, _, platforms] = images::keys_of_tag(name.repository(), name.tag());
        if let Some(found) = self.store.get(&key).await?
            && found.value == value
            && self.store.get(&tag).await?.is_none()
        {
            return Ok(found.mod_revision);
        }
        let written = self.commit(&[(key, value)], &[tag, platforms]).await?;
        Ok(written.expect("there is a key to write"))
    }

    /// Removes a name; its module stays, for pods that were given its digest. Answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn untag(&self, name: &ModuleName) -> Result<bool, StoreError> {
        let keys = images::keys_of_tag(name.repository(), name.tag());
        Ok(self.commit(&[], &keys).await?.is_some())
    }

    /// Every name, in order.
    ///
    /// # Errors
    /// When the store fails or holds an entry that is not ours.
    pub async fn names(&self) -> Result<Vec<NamedModule>, ResolveError> {
        let options = ListOptions { prefix: NAMES_PREFIX.to_owned(), after: None, limit: None, at: None };
        let page = self.store.list(options).await?;
        let named = |found: KeyValue| {
            let name = found.key.strip_prefix(NAMES_PREFIX).unwrap_or(&found.key);
            let entry_name = ModuleName::parse(name).map_err(|error| ResolveError::Unreadable {
                name: name.to_owned(),
                source: io::Error::other(error),
            })?;
            let module = named_module(name, &found.value)?;
            Ok(NamedModule { name: entry_name, module, revision: found.mod_revision })
        };
        // What a manifest's digest leads to has no name of its own.
        page.items.into_iter().filter(|found| !found.key.contains('@')).map(named).collect()
    }

    /// The module that an image reference means now: `dunlin.local/NAME`, `:TAG` (`latest` when absent) or `@sha256:...`, which
    /// wins over a tag.
    ///
    /// # Errors
    /// Says why there is none, in words for the user who wrote the reference.
    pub async fn resolve(&self, reference: &str) -> Result<Module, ResolveError> {
        match Wanted::parse(reference)? {
            Wanted::Digest { digest, pinned } => {
                if let Some(found) = self.store.get(&format!("{NAMES_PREFIX}{pinned}")).await? {
                    return named_module(&found.key, &found.value);
                }
                let found = content::inspect(&self.modules, digest).await;
                let name = digest.to_string();
                found
                    .map_err(|source| ResolveError::Unreadable { name, source })?
                    .ok_or(ResolveError::UnknownDigest { digest })
            }
            Wanted::Name(name) => match self.store.get(&name_key(&name)).await? {
                Some(found) => named_module(&found.key, &found.value),
                None => Err(NameError::Unknown { name }.into()),
            },
        }
    }

    /// The modules that can be compiled.
    pub(crate) fn stored(&self) -> io::Result<Vec<Digest>> {
        Ok([content::stored(&self.modules)?, content::stored(&self.foreign)?].concat())
    }

    /// Where the module of a digest is, if it can be compiled.
    pub(crate) fn module_path(&self, digest: Digest) -> PathBuf {
        let path = content::finished_path(&self.modules, digest);
        if path.is_file() { path } else { content::finished_path(&self.foreign, digest) }
    }

    /// Where names are.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// Content that is no module.
    pub(crate) const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Writes `puts` and removes those of `gone` that are there, in one transaction; answers its revision, if there was anything to do.
    async fn commit(
        &self,
        puts: &[(String, Bytes)],
        gone: &[String],
    ) -> Result<Option<Revision>, StoreError> {
        loop {
            let (compares, mut writes) = self.removal(gone).await?;
            writes.extend(puts.iter().map(|(key, value)| Write::Put(key.clone(), value.clone())));
            if writes.is_empty() {
                return Ok(None);
            }
            if let TxnOutcome::Committed(revision) = self.store.txn(Txn { compares, writes }).await? {
                return Ok(Some(revision));
            }
        }
    }

    /// What removes those of `keys` that are there. Whoever writes one of them meanwhile makes the transaction fail, and it is to be
    /// looked at again.
    async fn removal(&self, keys: &[String]) -> Result<(Vec<Compare>, Vec<Write>), StoreError> {
        let (mut compares, mut writes) = (Vec::new(), Vec::new());
        for key in keys {
            match self.store.get(key).await? {
                Some(found) => {
                    compares.push(Compare::ModRevision(key.clone(), found.mod_revision));
                    writes.push(Write::Delete(key.clone()));
                }
                None => compares.push(Compare::Absent(key.clone())),
            }
        }
        Ok((compares, writes))
    }

    /// A module's file, placed at `offset`, for sending it; `None` when there is none. An offset at or beyond the end leaves nothing
    /// to read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn open_module(&self, digest: Digest, offset: u64) -> io::Result<Option<OpenModule<File>>> {
        content::open(&self.modules, digest, offset).await
    }
}

/// The modules that are stored in a data folder.
pub(crate) fn stored_modules(data_folder: &Path) -> io::Result<Vec<Digest>> {
    content::stored(&data_folder.join(MODULES))
}

/// Where the module of a digest is in a data folder.
pub(crate) fn module_path(data_folder: &Path, digest: Digest) -> PathBuf {
    content::finished_path(&data_folder.join(MODULES), digest)
}

/// Gives a second data folder, on the same file system, those modules of the first that are what their names say; answers how many.
pub(crate) fn keep_modules(from: &Path, to: &Path) -> io::Result<u64> {
    content::keep_all(&from.join(MODULES), &to.join(MODULES))
}

/// What the store holds of a name.
#[derive(Serialize, Deserialize)]
struct Entry {
    digest: String,
    bytes: u64,
    kind: ModuleKind,
}

impl Entry {
    fn of(module: &Module) -> Self {
        Self { digest: module.digest.to_string(), bytes: module.bytes, kind: module.kind }
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always make JSON")
    }
}

/// The module that a name's record in the store points to.
fn named_module(name: &str, value: &[u8]) -> Result<Module, ResolveError> {
    let unreadable = |source: io::Error| ResolveError::Unreadable { name: name.to_owned(), source };
    let entry: Entry = serde_json::from_slice(value).map_err(|error| unreadable(error.into()))?;
    let digest = entry
        .digest
        .parse()
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(Module { digest, bytes: entry.bytes, kind: entry.kind })
}

fn name_key(name: &ModuleName) -> String {
    format!("{NAMES_PREFIX}{name}")
}

/// The folder of modules within a data folder.
const MODULES: &str = "modules";
/// The folder of those of other registries.
const FOREIGN: &str = "foreign";
/// The folder of all other content.
const BLOBS: &str = "blobs";
