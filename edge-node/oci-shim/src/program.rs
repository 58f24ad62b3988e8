//! The program that an agent starts shims from: a small one in memory that nobody can change, or the agent's own.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Stdio},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};

use crate::USAGE;

/// See the module. A shim that runs needs nothing of this any more.
#[derive(Debug)]
pub struct Program(Option<File>);

impl Program {
    /// What this process runs, also where its file has been replaced since; it has to know the word `shim`.
    pub const fn of_this_process() -> Self {
        Self(None)
    }

    /// A program of its own, given by its file's content. It is run once, since some machines run nothing from memory.
    ///
    /// # Errors
    /// When it cannot be run from memory here, or is no shim.
    pub fn in_memory(content: &[u8]) -> io::Result<Self> {
        let program = Self(Some(sealed("dunlin-shim", content)?));
        let mut command = program.command();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.code() != Some(USAGE.into()) {
            return Err(io::Error::other(format!("without options it ends with {status}")));
        }
        Ok(program)
    }

    /// `dunlin shim`; its options are the caller's to add. To be started while this value is there.
    pub fn command(&self) -> Command {
        let mut command = match &self.0 {
            Some(memory) => Command::new(format!("/proc/self/fd/{}", memory.as_raw_fd())),
            None => Command::new("/proc/self/exe"),
        };
        command.arg0("dunlin").arg("shim");
        command
    }
}

/// A program in memory that nobody can change.
pub(crate) fn sealed(name: &str, content: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag, and run what is in memory without it.
    let file = match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        created => created?,
    };
    let mut file = File::from(file);
    file.write_all(content)?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file)
}
