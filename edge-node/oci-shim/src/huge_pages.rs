//! Folders of large pages, which are volumes of pods. They are mounted on the machine, by whoever keeps volumes: so they are there for as
//! long as the pod, whatever becomes of its shim. The system calls are here, where all of them are.

use std::{ffi::CString, io, path::Path};

use dunlin_link::Bytes;
use rustix::fs::statfs;

use crate::sys;

/// Makes a folder one of large pages of this size, into which everybody may write who gets there, as a group's if there is one. It may be
/// one already.
///
/// # Errors
/// When the machine has no such pages, or refuses.
pub fn mount(dir: &Path, page: Bytes, gid: Option<u32>) -> io::Result<()> {
    if is_mounted(dir) {
        return Ok(());
    }
    // What is made in there is the group's, too.
    let owner = gid.map_or_else(|| "mode=0777".to_owned(), |gid| format!("mode=02777,gid={gid}"));
    let options = CString::new(format!("pagesize={},{owner}", page.0))?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    let mounted = sys::mount(Path::new("nodev"), dir, c"hugetlbfs", flags, &options);
    mounted.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::other(format!("this machine has no pages of {} bytes", page.0)),
        _ => error,
    })
}

/// Makes a folder what it was before; nothing happens to one that is none of large pages.
///
/// # Errors
/// When the machine refuses.
pub fn unmount(dir: &Path) -> io::Result<()> {
    if is_mounted(dir) { sys::unmount(dir) } else { Ok(()) }
}

fn is_mounted(dir: &Path) -> bool {
    // The kind's number has another sign and size on each processor; it is positive and has 32 bits everywhere.
    statfs(dir).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == HUGETLBFS))
}

/// What `statfs` says of such a folder.
const HUGETLBFS: u64 = 0x9584_58f6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_folder_is_none_of_large_pages() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted(dir.path()) && !is_mounted(&dir.path().join("none")));
        unmount(dir.path()).unwrap();
        if rustix::process::geteuid().is_root() {
            let error = mount(dir.path(), Bytes(12_345), None).unwrap_err().to_string();
            assert_eq!(error, "this machine has no pages of 12345 bytes");
        }
    }
}
