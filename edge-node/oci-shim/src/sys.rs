//! The crate's only unsafe code: namespaces and mounts, for which the parts of `rustix` that the rest of the binary is built with have
//! no functions.

#![expect(unsafe_code, reason = "system calls without a safe function among the dependencies")]

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr,
};

/// Leaves namespaces for new ones. `flags` are `CLONE_NEW*` alone: a process has nothing in its own memory that hangs on them.
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    debug_assert_eq!(flags & (libc::CLONE_FILES | libc::CLONE_VM | libc::CLONE_THREAD), 0);
    // SAFETY: takes no pointers, and namespaces are no memory; the table of descriptors stays shared as it was.
    check(unsafe { libc::unshare(flags) })
}

/// Goes into the namespace behind `namespace`, which is of the kind `kind` (`CLONE_NEW*`).
pub(crate) fn enter(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed; no memory is involved.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) })
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &Path,
    target: &Path,
    kind: &CStr,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    let (source, target) = (c_string(source)?, c_string(target)?);
    let (source, target) = (source.as_ptr(), target.as_ptr());
    // SAFETY: all four are strings that end with a zero byte and live beyond the call; the kernel only reads them.
    check(unsafe { libc::mount(source, target, kind.as_ptr(), flags, options.as_ptr().cast()) })
}

/// `mount(2)` where only flags change.
pub(crate) fn change_mount(target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: as in `mount`; the kernel does not look at what is null here.
    check(unsafe { libc::mount(ptr::null(), target.as_ptr(), ptr::null(), flags, ptr::null()) })
}

/// Takes a mount away, now or when nobody uses it any more.
pub(crate) fn unmount(target: &Path) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: as in `mount`.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

fn check(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
