//! Which node of the machine has which blocks of addresses: as long as it runs it listens on a socket that is named after them. Such names
//! are the network namespace's, as bridges are; they need no rights, and go with the process however it ends.

use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    thread,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt::socket_peercred,
};

/// Blocks that nobody else of this machine takes as long as this value is there.
#[derive(Debug)]
pub struct Claim {
    _listener: UnixListener,
}

/// Why blocks are not this node's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another node of the machine has some of them.
    #[error("another node of this machine{} uses pod addresses of blocks {blocks}", of(*.process))]
    Held {
        /// Its blocks, as `--address-blocks` has them.
        blocks: String,
        /// Its process, where that is known.
        process: Option<u32>,
    },
    /// The kernel refused.
    #[error("failed to mark the node's blocks of pod addresses as its own")]
    Socket(#[from] io::Error),
}

impl Claim {
    /// Takes `count` blocks from block `first` on. Whoever looks at them for a moment is waited for.
    ///
    /// # Errors
    /// When somebody has one of them.
    pub fn take(first: u16, count: u16) -> Result<Self, ClaimError> {
        let mut tries = 1..TRIES;
        loop {
            match Self::try_take(first, count) {
                Err(ClaimError::Held { .. }) if tries.next().is_some() => thread::sleep(PAUSE),
                taken => return taken,
            }
        }
    }

    /// As `take`, but without waiting.
    ///
    /// # Errors
    /// When somebody has one of them now.
    pub fn try_take(first: u16, count: u16) -> Result<Self, ClaimError> {
        let own = Run { first, count };
        let address = SocketAddr::from_abstract_name(own.name())?;
        let listener = match UnixListener::bind_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(own.held()),
            bound => bound?,
        };
        // Two that overlap see each other, whoever was first; each of them gives way.
        match runs()?.into_iter().find(|run| *run != own && run.overlaps(own)) {
            Some(other) => Err(other.held()),
            None => Ok(Self { _listener: listener }),
        }
    }
}

/// Blocks in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u16,
    count: u16,
}

impl Run {
    fn name(self) -> String {
        format!("{PREFIX}{}", self.text())
    }

    fn text(self) -> String {
        format!("{}+{}", self.first, self.count)
    }

    fn read(name: &str) -> Option<Self> {
        let (first, count) = name.strip_prefix(PREFIX)?.split_once('+')?;
        Some(Self { first: first.parse().ok()?, count: count.parse().ok()? })
    }

    fn overlaps(self, other: Self) -> bool {
        let end = |run: Self| u32::from(run.first) + u32::from(run.count);
        u32::from(self.first) < end(other) && u32::from(other.first) < end(self)
    }

    fn held(self) -> ClaimError {
        ClaimError::Held { blocks: self.text(), process: self.holder().ok() }
    }

    /// Who listens. Nobody takes the connection; when there is no room for another one, it stays unknown.
    fn holder(self) -> io::Result<u32> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new_abstract_name(self.name().as_bytes())?)?;
        let process = socket_peercred(&socket)?.pid.as_raw_nonzero().get();
        u32::try_from(process).map_err(io::Error::other)
    }
}

/// All that are held in the calling thread's network namespace.
fn runs() -> io::Result<Vec<Run>> {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix")?;
    // An abstract name stands last, after an `@`.
    Ok(sockets.lines().filter_map(|line| Run::read(line.rsplit_once(" @")?.1)).collect())
}

fn of(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

const PREFIX: &str = "dunlin-pod-blocks/";

/// How often blocks that somebody has are tried, and how far apart: who looks for what is left of others has them for a moment, and an agent
/// that ends for a little longer.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_share_a_block_overlap() {
        let run = |text: &str| Run::read(&format!("{PREFIX}{text}")).unwrap();
        for (one, other, expected) in [
            ("0+16", "16+16", false),
            ("0+16", "15+1", true),
            ("0+100", "4+1", true),
            ("4+1", "0+100", true),
            ("65535+65535", "0+65535", false),
        ] {
            assert_eq!(run(one).overlaps(run(other)), expected, "{one} {other}");
            assert_eq!(run(other).overlaps(run(one)), expected, "{other} {one}");
        }
        for other in ["", "1", "a+1", "1+-1", "70000+1"] {
            assert_eq!(Run::read(&format!("{PREFIX}{other}")), None, "{other}");
        }
        assert_eq!(Run::read("1+1"), None);
    }
}
