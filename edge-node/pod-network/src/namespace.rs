//! A network namespace, held open; and a look from inside.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    thread,
};

use crate::sys;

/// A network namespace that stays as long as this value.
#[derive(Debug)]
pub(crate) struct Namespace {
    file: File,
}

impl Namespace {
    /// The one at a path such as `/proc/PID/fd/N`. The path is looked at once.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(|file| Self { file })
    }

    /// The calling thread's.
    pub(crate) fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// What tells namespaces apart while they are there.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    /// Runs `work` inside, on a thread of its own, since a namespace is a thread's. Sockets that it opens stay inside for ever.
    pub(crate) fn run<T: Send, E: From<io::Error> + Send>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        thread::scope(|scope| {
            let inside = move || {
                sys::enter_network(self.file.as_fd())?;
                work()
            };
            let thread = thread::Builder::new().name("pod-network".into()).spawn_scoped(scope, inside)?;
            thread.join().map_err(|_| io::Error::other("panicked in a network namespace"))?
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
