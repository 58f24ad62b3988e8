//! A network namespace to do things in.

#![expect(unsafe_code, reason = "system calls without a safe function among the dependencies")]

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, RawFd},
    path::PathBuf,
    process::Command,
    thread,
};

/// A network namespace that is gone when this value and all sockets in it are.
pub(crate) struct Space {
    file: File,
}

impl Space {
    /// Whether this machine has namespaces for who runs the tests; where it has none, that is said.
    pub(crate) fn can_be() -> bool {
        // SAFETY: takes no pointers, and the namespace of this thread alone changes.
        let made = thread::spawn(|| match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
        let made = made.join().unwrap();
        if let Err(error) = &made {
            println!("SKIPPED: no network namespaces: {error}");
        }
        made.is_ok()
    }

    /// A new one, in which nothing is on.
    pub(crate) fn new() -> Self {
        let make = || {
            // SAFETY: takes no pointers, and the namespace of this thread alone changes.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self { file: thread::spawn(make).join().unwrap() }
    }

    /// Does something inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            // SAFETY: the descriptor is open; no memory is involved.
            let returned = unsafe { libc::setns(self.fd(), libc::CLONE_NEWNET) };
            assert_eq!(returned, 0, "{}", io::Error::last_os_error());
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// What agents are given.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd()).into()
    }

    /// Runs a command inside that has to succeed; what it printed.
    pub(crate) fn command(&self, words: &str) -> String {
        self.try_command(words).unwrap_or_else(|why| panic!("`{words}`: {why}"))
    }

    /// Runs a command inside; what it printed, or what it complained of.
    pub(crate) fn try_command(&self, words: &str) -> Result<String, String> {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        let output = self.run(move || command.output()).map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Gives a setting of the namespace a value.
    pub(crate) fn set(&self, name: &str, value: &str) -> io::Result<()> {
        self.run(|| fs::write(format!("/proc/sys/net/{name}"), value))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
