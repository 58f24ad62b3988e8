//! Request bodies: read to a bound, and no further.

use dunlin_api::Status;
use dunlin_link::limits::REQUEST_BODY_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A body that is still to be read.
pub(super) type Source<'a> = &'a mut (dyn AsyncRead + Send + Unpin);

/// Reads a whole body.
///
/// # Errors
/// 413 for one that is too long, once the bound is passed; 400 when it breaks off.
pub(super) async fn read(source: Source<'_>) -> Result<Vec<u8>, Status> {
    let mut body = Vec::new();
    let bound = u64::try_from(REQUEST_BODY_BYTES_MAX).expect("the bound is small") + 1;
    let read = source.take(bound).read_to_end(&mut body).await;
    read.map_err(|error| Status::bad_request(format!("the request's body broke off: {error}")))?;
    if body.len() > REQUEST_BODY_BYTES_MAX {
        return Err(Status::too_large(REQUEST_BODY_BYTES_MAX));
    }
    Ok(body)
}
