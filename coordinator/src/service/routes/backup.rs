//! Taking a backup, and how scheduled snapshots fare.

use std::{io, sync::Arc};

use bytes::Bytes;
use dunlin_api::Status;
use dunlin_link::{UnixMillis, with_causes};
use futures_util::stream;

use super::{Call, not_served};
use crate::{
    backup::{self, Collected, Modules},
    service::{ApiService, Backups, ByteStream, response::Response},
};

impl ApiService {
    /// The manifest, after its length in four bytes, then records as a backup's body has them. Sealing is the client's work, so that
    /// no passphrase is sent anywhere.
    pub(super) async fn take_backup(&self, call: Call<'_>) -> Result<Response, Status> {
        let modules = if call.query.flag("withoutModules") { Modules::LeftOut } else { Modules::Included };
        let Ok(permit) = Arc::clone(&self.inner.backup_turn).try_acquire_owned() else {
            return Err(Status::too_many_requests(
                "another backup is being taken, please try again later",
                10,
            ));
        };
        let source = self.backups()?.source.clone();
        let now = UnixMillis(self.clock().now().as_millisecond());
        let collected = backup::collect(source, modules, now).await;
        let collected = collected.map_err(|error| Status::internal(with_causes(&error)))?;
        let manifest = serde_json::to_vec(&collected.manifest).map_err(Status::internal)?;
        let length = u32::try_from(manifest.len()).map_err(Status::internal)?;
        let start = Bytes::from([&length.to_le_bytes()[..], &manifest].concat());
        let parts = stream::unfold((Some(start), collected), next_part);
        Ok(Response::parts("application/octet-stream", ByteStream::new(parts)).holding(permit))
    }

    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    pub(super) async fn snapshot_status(&self) -> Result<Response, Status> {
        let status = self.backups()?.snapshots.status();
        Ok(Response::json(200, &serde_json::to_value(status).map_err(Status::internal)?))
    }

    fn backups(&self) -> Result<&Backups, Status> {
        self.inner.attached.backups.get().ok_or_else(not_served)
    }
}

async fn next_part(
    (start, mut collected): (Option<Bytes>, Collected),
) -> Option<(io::Result<Bytes>, (Option<Bytes>, Collected))> {
    let part = match start {
        Some(start) => Ok(start),
        None => match collected.next().await? {
            Ok(part) => Ok(part),
            Err(error) => {
                // The answer has begun: the client sees it cut off, and this says why.
                tracing::error!(error = &error as &dyn std::error::Error, "a backup was not made to its end");
                Err(io::Error::other(error))
            }
        },
    };
    Some((part, (None, collected)))
}
