//! How large an object may become. A request is bounded by itself; what many of them add to one object is bounded here.
//!
//! Only what clients write is checked: what nodes and controllers add is bounded by what it is made of, and a deletion has to
//! succeed whatever the size of what is deleted.

use std::io;

use dunlin_api::Status;
use dunlin_link::limits::OBJECT_BYTES_MAX;
use serde_json::Value;

/// Checks a new object.
///
/// # Errors
/// 413 when it is too large.
pub(super) fn check_new(object: &Value) -> Result<(), Status> {
    if json_bytes(object) > OBJECT_BYTES_MAX { Err(Status::too_large(OBJECT_BYTES_MAX)) } else { Ok(()) }
}

/// Checks a change; one that does not make the object larger is always let through.
///
/// # Errors
/// 413 when the object would be too large.
pub(super) fn check_change(current: &Value, new: &Value) -> Result<(), Status> {
    let bytes = json_bytes(new);
    if bytes > OBJECT_BYTES_MAX && bytes > json_bytes(current) {
        return Err(Status::too_large(OBJECT_BYTES_MAX));
    }
    Ok(())
}

fn json_bytes(object: &Value) -> usize {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, object).expect("counting cannot fail");
    count.0
}

/// Takes any bytes, and keeps their number.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
