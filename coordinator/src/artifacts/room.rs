//! What is left of the disk. Whatever is taken in leaves some of it: the store goes on writing.

use std::{io, path::Path};

/// Whether `bytes` more leave enough of the disk that a folder is on.
pub(crate) fn has_room(folder: &Path, bytes: u64) -> io::Result<bool> {
    let disk = rustix::fs::statvfs(folder)?;
    // What whoever is not root may still take.
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Ok(free.saturating_sub(bytes) >= FREE_BYTES_MIN)
}

/// Whether it is time to look again, where so many bytes came upon others: once in each span.
pub(super) const fn is_due(before: u64, came: u64) -> bool {
    (before + came) / SPAN_BYTES != before / SPAN_BYTES
}

/// What everything that is taken in leaves.
pub(crate) const FREE_BYTES_MIN: u64 = 512 << 20;

/// How often it is looked at.
const SPAN_BYTES: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_too_little_has_no_room() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_room(folder.path(), u64::MAX).unwrap());
        assert!(has_room(&folder.path().join("none"), 0).is_err());
        assert!(is_due(SPAN_BYTES - 1, 1) && !is_due(SPAN_BYTES, 1));
    }
}
