//! The crate's only unsafe code: processes, namespaces and mounts, for which the parts of `rustix` that the rest of the binary is built
//! with have no functions.

#![expect(unsafe_code, reason = "system calls without a safe function among the dependencies")]

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command},
    ptr,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    process::Pid,
};

/// Which of two a process is after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// Makes a copy of this process. Only for processes of one thread, as a shim is.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: no other thread exists whose locks would stay held for ever in the copy, so that all code can go on in it.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => {
            Pid::from_raw(pid).filter(|_| pid > 0).map(Forked::Parent).ok_or_else(io::Error::last_os_error)
        }
    }
}

/// Ends this process with nothing more being done: no destructors, no handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not come back.
    unsafe { libc::_exit(code) }
}

/// Sends a signal by its number, also one of those without names, to a process that is held.
pub(crate) fn signal(process: BorrowedFd<'_>, number: libc::c_int) -> io::Result<()> {
    let (info, flags) = (ptr::null::<libc::siginfo_t>(), 0);
    // SAFETY: where no information is given the kernel makes its own; the descriptor is open for as long as it is borrowed.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, info, flags) };
    check(libc::c_int::try_from(sent).unwrap_or(-1))
}

/// Starts a command that does something in its own process before its program begins. Only for processes of one thread.
pub(crate) fn spawn_after(
    command: &mut Command,
    first: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<Child> {
    // SAFETY: as in `fork`: it is called in a copy of a process with one thread.
    unsafe { command.pre_exec(first) }.spawn()
}

/// Becomes a user without any power.
pub(crate) fn become_nobody(id: libc::uid_t) -> io::Result<()> {
    // SAFETY: no groups are read where their number is 0; the others take no pointers.
    check(unsafe { libc::setgroups(0, ptr::null()) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresgid(id, id, id) })?;
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresuid(id, id, id) })
}

/// Keeps the files that this process was started with, but for its standard streams, from the programs that it starts.
pub(crate) fn keep_inherited_files() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number > libc::STDERR_FILENO) else { continue };
        // SAFETY: takes no pointers; a number that is no open file is an error without consequences.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes the standard streams of this process.
pub(crate) fn close_standard_streams() {
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: nothing in this process owns these; what uses them later fails with an error.
        unsafe { libc::close(stream) };
    }
}

/// Has ends of children forgotten by the kernel, here and in the program that this process becomes.
pub(crate) fn ignore_children() -> io::Result<()> {
    // SAFETY: the disposition is one of the two that are no functions.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the working directory, a mount of its own, the root of this process's mounts, and takes all others away.
pub(crate) fn keep_only_this_mount() -> io::Result<()> {
    let here = c".".as_ptr();
    // SAFETY: both are strings that end with a zero byte; the kernel only reads them.
    let pivoted = unsafe { libc::syscall(libc::SYS_pivot_root, here, here) };
    check(libc::c_int::try_from(pivoted).unwrap_or(-1))?;
    // SAFETY: as above. The old root lies over the new one.
    check(unsafe { libc::umount2(here, libc::MNT_DETACH) })
}

/// Becomes the program in an open file, without environment.
pub(crate) fn become_program(file: BorrowedFd<'_>, name: &CStr) -> io::Error {
    let (words, env) = ([name.as_ptr(), ptr::null()], [ptr::null::<libc::c_char>()]);
    let (fd, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the lists end with a null pointer, and what they point to ends with a zero byte and lives beyond the call.
    unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), words.as_ptr(), env.as_ptr(), flags) };
    io::Error::last_os_error()
}

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

/// Switches the loopback interface of this process's network namespace on.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all of its fields are numbers, and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = libc::c_char::try_from(*byte).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: the kernel reads the request, whose name ends with a zero byte.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
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

/// A copy of the mount that an open file or folder is in, from there on, with those below; it is nowhere until it is attached.
pub(crate) fn copy_mounts(at: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | AT_RECURSIVE;
    // SAFETY: the text ends with a zero byte; the descriptor is open for as long as it is borrowed.
    let opened = unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) };
    let fd = libc::c_int::try_from(opened).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts such a copy somewhere.
pub(crate) fn attach_mounts(tree: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let target = c_string(target)?;
    let (fd, flags) = (tree.as_raw_fd(), MOVE_MOUNT_F_EMPTY_PATH);
    // SAFETY: both texts end with a zero byte and live beyond the call; the descriptor is open for as long as it is borrowed.
    let moved = unsafe {
        libc::syscall(libc::SYS_move_mount, fd, c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags)
    };
    check(libc::c_int::try_from(moved).unwrap_or(-1))
}

/// `mount(2)` where only flags change.
pub(crate) fn change_mount(target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    let target = c_string(target)?;
    // SAFETY: as in `mount`; the kernel does not look at what is null here.
    check(unsafe { libc::mount(ptr::null(), target.as_ptr(), ptr::null(), flags, ptr::null()) })
}

/// Makes a mount and all below it read-only.
pub(crate) fn make_all_read_only(target: &Path) -> io::Result<()> {
    let target = c_string(target)?;
    // What is set, what is cleared, the propagation, a namespace of users.
    let attributes: [u64; 4] = [MOUNT_ATTR_RDONLY, 0, 0, 0];
    let (at, flags, size) = (libc::AT_FDCWD, AT_RECURSIVE, size_of_val(&attributes));
    // SAFETY: the text ends with a zero byte; both live beyond the call, and the kernel reads no more than the size that it is told.
    let changed = unsafe {
        libc::syscall(libc::SYS_mount_setattr, at, target.as_ptr(), flags, attributes.as_ptr(), size)
    };
    check(libc::c_int::try_from(changed).unwrap_or(-1))
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

/// `open_tree`: a copy, not the mount itself.
const OPEN_TREE_CLONE: libc::c_int = 1;
/// The flag of an interface that is on.
const IFF_UP: libc::c_short = 1;
/// With the mounts below.
const AT_RECURSIVE: libc::c_int = 0x8000;
/// `mount_setattr`.
const MOUNT_ATTR_RDONLY: u64 = 1;
/// `move_mount`: what is moved is the descriptor itself.
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
