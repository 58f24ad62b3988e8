//! Sockets inside a pod, for whoever is outside.

use std::{io, net::IpAddr, os::fd::OwnedFd, path::Path};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::namespace::Namespace;

/// A TCP socket that can be connected to `address`, in the network namespace at a path such as `/proc/PID/fd/N`. It does not block, and
/// stays inside: whoever connects it reaches the localhost that is there. Waits for the kernel, on a thread of its own.
///
/// # Errors
/// When the namespace is gone, or is the caller's own.
pub fn tcp_socket(namespace: &Path, address: IpAddr) -> io::Result<OwnedFd> {
    let namespace = Namespace::open(namespace)?;
    if namespace.identity()? == Namespace::current()?.identity()? {
        return Err(io::Error::other("the pod's network namespace is the machine's"));
    }
    let family = match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    namespace.run(|| Ok(socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?))
}
