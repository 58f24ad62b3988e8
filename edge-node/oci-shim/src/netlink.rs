//! The kernel's own language for networks, as far as a pod needs it.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Switches the loopback interface of this process's network namespace on.
pub(crate) fn raise_loopback() -> io::Result<()> {
    // The protocol for links and routes is the one with number 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &raise_link(LOOPBACK), SendFlags::empty())?;
    let mut answer = [0_u8; ANSWER_BYTES_MAX];
    let (_, length) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    acknowledged(&answer[..length])
}

/// A message that switches an interface on and asks for an answer.
fn raise_link(index: i32) -> Vec<u8> {
    let mut body = Vec::new();
    // Family, padding, and a type that is not looked at.
    body.extend_from_slice(&[0, 0, 0, 0]);
    body.extend_from_slice(&index.to_ne_bytes());
    // The flags, and which of them are meant.
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    message(RTM_NEWLINK, &body)
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&REQUEST_WITH_ANSWER.to_ne_bytes());
    // Number, and the sender's address, which the kernel knows.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    message
}

/// Reads an answer: a negative error number, or 0.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(HEADER_BYTES..HEADER_BYTES + 4);
    let error = error.and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::Error::other("the kernel answered with something else")),
    }
}

/// The first interface of every network namespace.
const LOOPBACK: i32 = 1;
/// Length, kind, flags, number, address.
const HEADER_BYTES: usize = 16;
/// `IFF_UP`.
const IFF_UP: u32 = 1;
/// `RTM_NEWLINK`: makes or changes an interface.
const RTM_NEWLINK: u16 = 16;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_WITH_ANSWER: u16 = 1 | 4;
/// `NLMSG_ERROR`: an answer, good ones included.
const NLMSG_ERROR: u16 = 2;
/// An answer repeats what was asked.
const ANSWER_BYTES_MAX: usize = 4096;
