//! How a runtime hands over a terminal: its descriptor, as a message on a socket.

use std::{
    io::{self, IoSliceMut},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::socket::SocketPath;

/// Where a runtime is told to send a terminal.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    socket: SocketPath,
}

impl Console {
    /// Opens the socket at `path`; whoever opened it removes it.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        let socket = SocketPath::of(path)?;
        let listener = UnixListener::bind(socket.path())?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, socket })
    }

    /// What the runtime gets to know.
    pub(crate) fn path(&self) -> &Path {
        self.socket.path()
    }

    /// The terminal that was sent; `WouldBlock` as long as nobody has connected.
    pub(crate) fn terminal(&self) -> io::Result<OwnedFd> {
        let (stream, _address) = self.listener.accept()?;
        receive_terminal(&stream)
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn receive_terminal(stream: &UnixStream) -> io::Result<OwnedFd> {
    stream.set_nonblocking(false)?;
    // The runtime sends at once; one that was killed in between must not hold up the pod.
    stream.set_read_timeout(Some(SEND_MAX))?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; NAME_BYTES_MAX];
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = descriptors.flatten();
    descriptors.next().ok_or_else(|| io::Error::other("the runtime sent no terminal"))
}

/// Its name comes, too, and is not needed.
const NAME_BYTES_MAX: usize = 256;
/// How long it may take from the connection to the message.
const SEND_MAX: Duration = Duration::from_secs(5);
