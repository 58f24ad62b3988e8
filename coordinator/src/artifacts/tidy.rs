//! Removes what nobody names any more, now and then.

use std::{collections::BTreeSet, io, time::Duration};

use dunlin_link::Digest;
use dunlin_registry::manifest::{Manifest, ManifestError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Artifacts,
    images::{MANIFESTS_PREFIX, ManifestRecord, PutError},
    index,
};
use crate::store::{KeyValue, ListOptions};

impl Artifacts {
    /// Removes what nobody names any more, now and then until `stop`.
    pub(crate) async fn keep_tidy(self, stop: CancellationToken) {
        let mut turn = interval(SWEEP_INTERVAL);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(turn.tick()).await.is_some() {
            match self.sweep_blobs().await {
                Ok(0) => {}
                Ok(blobs) => info!(blobs, "removed blobs that no manifest names"),
                Err(error) => warn!(%error, "blobs could not be looked through"),
            }
        }
    }

    /// Removes blobs that no manifest of any repository names.
    async fn sweep_blobs(&self) -> Result<usize, PutError> {
        let (mut named, mut after) = (BTreeSet::new(), None);
        loop {
            let prefix = MANIFESTS_PREFIX.to_owned();
            let options = ListOptions { prefix, after, limit: Some(MANIFESTS_AT_ONCE), at: None };
            let page = self.store.list(options).await?;
            for item in &page.items {
                named.extend(self.named_by(item).await?);
            }
            after = page.items.last().map(|item| item.key.clone());
            if !page.more || after.is_none() {
                break;
            }
        }
        // What was pushed meanwhile is too young to go.
        let blobs = self.blobs.clone();
        let swept = tokio::task::spawn_blocking(move || blobs.sweep(&named)).await;
        Ok(swept.map_err(io::Error::other)??)
    }

    /// The content that a manifest names. One that is older than the keys by which that is found gets these.
    async fn named_by(&self, item: &KeyValue) -> Result<Vec<Digest>, PutError> {
        let record: ManifestRecord = serde_json::from_slice(&item.value).map_err(ManifestError::from)?;
        let place = item.key.strip_prefix(MANIFESTS_PREFIX).and_then(|place| place.rsplit_once('@'));
        if let Some((repository, digest)) = place
            && let Ok(digest) = digest.parse()
        {
            let entries = index::entries(repository, digest, &record)?;
            if let Some((first, _)) = entries.first()
                && self.store.get(first).await?.is_none()
            {
                self.commit(&entries, &[]).await?;
            }
        }
        let manifest = Manifest::parse(record.text.as_bytes(), &record.media_type)?;
        Ok(manifest.descriptors().iter().map(|descriptor| descriptor.digest).collect())
    }
}

/// How often blobs are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Manifests in memory at a time, each up to 1 MiB.
const MANIFESTS_AT_ONCE: usize = 32;
