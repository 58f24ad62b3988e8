//! Tells which namespaces have buckets, and removes those of namespaces that were deleted.

use std::{io, path::PathBuf, sync::Arc};

use dunlin_edge_node_core::sandbox::stream::{BucketNamespaces, BucketVerdicts, BucketsStart};
use dunlin_link::{
    frame::encode,
    limits::EXEC_FRAME_BYTES_MAX,
    stream::{StreamAnswer, StreamRefusal},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::Containers;
use crate::{frames::read_frame, local::keyvalue::Judged};

pub(super) async fn serve(
    containers: &Arc<Containers>,
    start: BucketsStart,
    (reader, writer): (&mut (impl AsyncRead + Unpin), &mut (impl AsyncWrite + Unpin)),
) -> io::Result<()> {
    let path = PathBuf::from(start.file);
    let names = match containers.keyvalues().namespaces(path.clone()).await {
        Ok(names) => names,
        Err(error) => {
            let refused = StreamAnswer::Refused { reason: StreamRefusal::Failed, message: error.to_string() };
            return writer.write_all(&encode(&refused)).await;
        }
    };
    writer.write_all(&encode(&StreamAnswer::Opened)).await?;
    writer.write_all(&encode(&BucketNamespaces { names })).await?;
    while let Some(frame) = read_frame(reader, EXEC_FRAME_BYTES_MAX).await? {
        let said: BucketVerdicts = frame.decode().map_err(io::Error::other)?;
        match containers.keyvalues().judge(path.clone(), said).await {
            Ok(Judged { noted, gone }) => {
                if !noted.is_empty() {
                    tracing::info!(namespaces = ?noted, "learned which namespaces have buckets");
                }
                if !gone.is_empty() {
                    tracing::info!(namespaces = ?gone, "removed the buckets of deleted namespaces");
                }
            }
            // Asked again another time.
            Err(error) => tracing::warn!(%error, "buckets of deleted namespaces could not be removed"),
        }
    }
    writer.shutdown().await
}
