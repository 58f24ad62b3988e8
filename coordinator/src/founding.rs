//! Which authority the store belongs to: it names the one beside it, so that neither goes on without the other or with another's.
//!
//! A first start makes the store, then the authority, then this record, each durable before the next: cut off between them, it goes on
//! where it was. An authority is made for nothing but an empty store; by another one every node and every token would be foreign.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dunlin_link::Revision;
use serde::{Deserialize, Serialize};

use crate::{
    pki::{Pki, PkiError},
    store::{Compare, Store, StoreError, Txn, Write},
};

/// What the store says of its authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Founding {
    cluster_id: String,
    /// Of the authority's certificate.
    ca_digest: String,
}

/// Why store and authority cannot be used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// The store cannot say.
    #[error("failed to read or write which authority the store belongs to")]
    Store(#[from] StoreError),
    /// The record is not what a first start writes.
    #[error("the record of the store's authority, `{FOUNDING_KEY}` in the store, is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The authority cannot be read or made.
    #[error("failed to open the certificate authority")]
    Pki(#[from] PkiError),
    /// The store is in use and has no authority.
    #[error(
        "`{path}` is missing, the certificate authority of the cluster in the store; nodes accept no other, so put the file back, or \
         restore the cluster from a backup: dunlin restore FILE --data-dir {data_dir} --replace"
    )]
    Missing {
        /// The authority's file.
        path: PathBuf,
        /// The folder of both.
        data_dir: PathBuf,
    },
    /// The authority is not the one that the store belongs to.
    #[error(
        "`{path}` is the authority of cluster {authority} and not the one of the store beside it, of cluster {store}; put back the one \
         that belongs to the store, or restore the cluster from a backup"
    )]
    Foreign {
        /// The authority's file.
        path: PathBuf,
        /// The cluster that it names.
        authority: String,
        /// The cluster that the store names; the same for another authority of that name.
        store: String,
    },
}

impl Founding {
    fn of(pki: &Pki) -> Self {
        Self { cluster_id: pki.cluster_id().to_owned(), ca_digest: pki.digest().to_string() }
    }
}

/// The authority of the store's cluster; a new one when nothing was ever written to the store. Writes nothing to the store.
pub(crate) async fn authority(store: &Store, data_dir: &Path) -> Result<Pki, FoundingError> {
    let founding = match store.get(FOUNDING_KEY).await? {
        Some(found) => Some(serde_json::from_slice(&found.value).map_err(FoundingError::Malformed)?),
        None => None,
    };
    let path = Pki::file(data_dir);
    match (Pki::load(data_dir)?, founding) {
        (Some(pki), Some(founding)) if Founding::of(&pki) != founding => {
            let (authority, store) = (pki.cluster_id().to_owned(), founding.cluster_id);
            Err(FoundingError::Foreign { path, authority, store })
        }
        (Some(pki), _) => Ok(pki),
        (None, None) if store.revision() == Revision(0) => Ok(Pki::create(data_dir)?),
        (None, _) => Err(FoundingError::Missing { path, data_dir: data_dir.to_owned() }),
    }
}

/// Records the authority of a store that names none yet: of a new one, or one of an earlier release.
pub(crate) async fn record(store: &Store, pki: &Pki) -> Result<(), FoundingError> {
    if store.get(FOUNDING_KEY).await?.is_some() {
        return Ok(());
    }
    let value = serde_json::to_vec(&Founding::of(pki)).expect("strings always make JSON");
    let key = FOUNDING_KEY.to_owned();
    let compares = vec![Compare::Absent(key.clone())];
    store.txn(Txn { compares, writes: vec![Write::Put(key, Bytes::from(value))] }).await?;
    Ok(())
}

/// Where the record is.
const FOUNDING_KEY: &str = "/dunlin/founding";
