//! The crate's only unsafe code: the system call for which the parts of `rustix` that the rest of the binary is built with have no
//! function.

#![expect(unsafe_code, reason = "a system call without a safe function among the dependencies")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Moves the calling thread into a network namespace. Only this thread: others stay where they are.
pub(crate) fn enter_network(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is involved.
    let returned = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
