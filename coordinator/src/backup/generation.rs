//! The record of the last restore, in the store: what the coordinator shows its nodes.

use bytes::Bytes;
use dunlin_link::restore::SignedRestore;

use crate::store::{Store, StoreError};

/// Why it is not known whether the cluster was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The store cannot say.
    #[error("failed to read the record of the last restore")]
    Store(#[from] StoreError),
    /// The record is not what a restore writes.
    #[error("the record of the last restore, `{RESTORE_KEY}` in the store, is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The record is of another cluster than the certificate authority beside the store.
    #[error(
        "the store is of cluster {store} and the certificate authority of cluster {authority}; they do not belong together"
    )]
    OtherCluster {
        /// What the record says.
        store: String,
        /// What the authority says.
        authority: String,
    },
}

/// The record of the last restore; `None` for a cluster that never was restored.
pub(crate) async fn last_restore(
    store: &Store,
    cluster_id: &str,
) -> Result<Option<SignedRestore>, GenerationError> {
    let Some(found) = store.get(RESTORE_KEY).await? else { return Ok(None) };
    let restore: SignedRestore = serde_json::from_slice(&found.value).map_err(GenerationError::Malformed)?;
    if restore.record.cluster_id != cluster_id {
        let (store, authority) = (restore.record.cluster_id, cluster_id.to_owned());
        return Err(GenerationError::OtherCluster { store, authority });
    }
    Ok(Some(restore))
}

/// How a record lies in the store.
pub(super) fn encode(restore: &SignedRestore) -> Bytes {
    serde_json::to_vec(restore).expect("strings and numbers always make JSON").into()
}

/// Where the record is.
pub(super) const RESTORE_KEY: &str = "/dunlin/restore";
