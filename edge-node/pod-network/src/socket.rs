//! One netlink socket: requests that are acknowledged, lists, and batches. It stays in the network namespace in which it was opened.

use std::{io, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

use crate::wire::{Message, Received, messages, u32_at};

/// A socket of the kernel's for one family of requests.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// For links, addresses and routes.
    pub(crate) fn route() -> io::Result<Self> {
        // Links and routes have the protocol with number 0.
        Self::open(None)
    }

    /// For the packet filter and tracked connections.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // What machines allow everybody is too little for a table with some thousand ports.
        sockopt::set_socket_send_buffer_size_force(&socket, BATCH_BYTES_MAX)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// Sends a request and waits until the kernel says that it is done.
    pub(crate) fn ask(&mut self, message: Message) -> io::Result<()> {
        self.fetch(message, |_| {})
    }

    /// Sends a request and hands what it is answered to `each`, one message after the other.
    pub(crate) fn fetch(&mut self, message: Message, mut each: impl FnMut(Received<'_>)) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let bytes = message.finish(sequence);
        send(&self.socket, &bytes, SendFlags::empty())?;
        loop {
            let datagram = self.receive()?;
            let Some(datagram) = datagram else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel stopped answering"));
            };
            for received in messages(datagram) {
                // What an earlier request that failed left behind.
                if received.sequence != sequence {
                    continue;
                }
                match received.kind {
                    // A list that could not be finished ends with why.
                    DONE if received.body.len() < 4 => return Ok(()),
                    DONE => return outcome(received.body),
                    ERROR => return outcome(received.body),
                    _ => each(received),
                }
            }
        }
    }

    /// Sends messages that are carried out as one or not at all. The error has the position of the message that was refused, if the
    /// kernel blamed one.
    pub(crate) fn batch(&mut self, batch: Batch) -> Result<(), BatchError> {
        let none = |source: io::Error| BatchError { position: None, source };
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for message in batch.messages {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend_from_slice(&message.finish(self.sequence));
        }
        send(&self.socket, &bytes, SendFlags::empty()).map_err(|error| none(error.into()))?;
        // All answers are there when the sending returns. Only refusals are answered, and the last message, which asks for it.
        let mut result = None;
        while let Some(datagram) = self.receive().map_err(none)? {
            for received in messages(datagram).filter(|received| received.kind == ERROR) {
                let position = usize::try_from(received.sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                let answer =
                    outcome(received.body).map_err(|source| BatchError { position: Some(position), source });
                match result {
                    Some(Err(_)) => {}
                    _ => result = Some(answer),
                }
            }
        }
        result.unwrap_or_else(|| Err(none(io::Error::other("the kernel did not answer"))))
    }

    /// What is there; `None` when nothing is. The kernel answers before a request's sending returns, and goes on with a list when a
    /// part of it is fetched, so nothing is ever waited for.
    fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        let received = recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        match received {
            Ok((_, length)) => {
                let datagram = self.buffer.get(..length);
                datagram.map(Some).ok_or_else(|| io::Error::other("the kernel's answer is too long"))
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Messages for `Socket::batch`.
#[derive(Debug)]
pub(crate) struct Batch {
    messages: Vec<Message>,
}

impl Batch {
    /// `messages` between their begin and end; the last one has to ask for an answer.
    pub(crate) fn new(begin: Message, messages: Vec<Message>, end: Message) -> Self {
        Self { messages: std::iter::once(begin).chain(messages).chain([end]).collect() }
    }
}

/// A batch that was refused.
#[derive(Debug)]
pub(crate) struct BatchError {
    /// Of the message that the kernel blames, the batch's begin being 0.
    pub(crate) position: Option<usize>,
    pub(crate) source: io::Error,
}

/// Reads an answer: a negative error number, or 0.
fn outcome(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}

/// The kernel sends lists in datagrams of at most 32 KiB, and repeats a refused message in its answer.
const DATAGRAM_BYTES_MAX: usize = 128 * 1024;
/// Of a batch with all ports that a node can have.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// `NLMSG_ERROR`: an answer, good ones included.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list.
const DONE: u16 = 3;
/// `NLM_F_ACK`.
pub(crate) const ACK: u16 = 4;
/// `NLM_F_DUMP`: a list.
pub(crate) const LIST: u16 = 0x300;
/// `NLM_F_REPLACE`.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: not if it is there.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: behind what is there.
pub(crate) const APPEND: u16 = 0x800;
