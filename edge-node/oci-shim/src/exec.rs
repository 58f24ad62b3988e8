//! A command that a caller has run in a container.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Stdio},
};

use dunlin_container_log::Stream;
use dunlin_link::{
    exec::{self, ExecEnd, ExecRequest, TerminalSize},
    limits::EXEC_DATA_BYTES_MAX,
};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{
    console::Console,
    container::{Container, Held},
    input::Input,
    machine::How,
    output::set_nonblocking,
    runtime::{Operation, Runtime, read_pid},
    spec,
};

/// One command.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) input: Input,
    pub(crate) console: Option<Console>,
    /// The first process of the command, once the runtime has started it.
    pub(crate) process: Option<Held>,
    sources: Vec<(Stream, File)>,
    files: Files,
    size: Option<TerminalSize>,
    ended: Option<How>,
}

/// Its files in the container's folder.
#[derive(Debug)]
struct Files {
    process: PathBuf,
    pid: PathBuf,
    log: PathBuf,
    console: PathBuf,
}

impl Exec {
    /// Has the runtime begin; `number` is unique in the shim.
    pub(crate) fn start(
        container: &Container,
        request: &ExecRequest,
        number: u64,
        runtime: &Runtime,
    ) -> io::Result<(Self, Child)> {
        let file = |name: &str| container.dir.join(format!("exec-{number}.{name}"));
        let files = Files { process: file("json"), pid: file("pid"), log: file("log"), console: file("tty") };
        let process = spec::exec_process(&container.process, request);
        fs::write(&files.process, serde_json::to_vec(&process)?)?;
        let mut exec = Self {
            input: Input::default(),
            console: None,
            process: None,
            sources: Vec::new(),
            files,
            size: None,
            ended: None,
        };
        if request.tty {
            exec.console = Some(Console::listen(&exec.files.console)?);
            exec.input = Input::of_terminal();
        }
        let operation = Operation::Exec {
            process: &exec.files.process,
            pid_file: &exec.files.pid,
            console: exec.console.as_ref().map(Console::path),
        };
        let mut command = runtime.command(&container.id, operation, &exec.files.log);
        command.current_dir(&container.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !request.tty {
            if request.stdin {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                set_nonblocking(&write)?;
                command.stdin(read);
                exec.input = Input::of_pipe(write.into());
            }
            if request.stdout {
                command.stdout(exec.pipe(Stream::Stdout)?);
            }
            if request.stderr {
                command.stderr(exec.pipe(Stream::Stderr)?);
            }
        }
        let child = command.spawn()?;
        Ok((exec, child))
    }

    fn pipe(&mut self, stream: Stream) -> io::Result<Stdio> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&read)?;
        self.sources.push((stream, read.into()));
        Ok(write.into())
    }

    /// Where the runtime says why it fails.
    pub(crate) fn log(&self) -> PathBuf {
        self.files.log.clone()
    }

    /// The runtime has started it.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        self.process = Some(Held::new(read_pid(&self.files.pid)?)?);
        Ok(())
    }

    pub(crate) fn set_terminal(&mut self, terminal: OwnedFd) -> io::Result<()> {
        set_nonblocking(&terminal)?;
        self.input.set_terminal(terminal.try_clone()?.into());
        self.sources.push((Stream::Stdout, terminal.into()));
        if let Some(size) = self.size {
            self.resize(size);
        }
        Ok(())
    }

    pub(crate) fn resize(&mut self, size: TerminalSize) {
        self.size = Some(size);
        self.input.resize(size);
    }

    /// What there is to wait for.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.sources.iter().map(|(_, file)| file)
    }

    /// Reads once from each source, as frames for its caller.
    pub(crate) fn read(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.sources.retain_mut(|(stream, file)| {
            let mut bytes = vec![0; READ_BYTES_MAX];
            match file.read(&mut bytes) {
                Ok(0) => false,
                Ok(length) => {
                    bytes.truncate(length);
                    frames.push(frame(*stream, bytes));
                    true
                }
                Err(error) => crate::connection::is_later(&error),
            }
        });
        frames
    }

    /// Its process ended. What it wrote is still to be read.
    pub(crate) fn set_ended(&mut self, how: How) {
        self.process = None;
        self.ended = Some(how);
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<ExecEnd> {
        self.ended.map(|how| match how {
            How::Code(code) => ExecEnd::Exited(code),
            How::Signal(signal) => ExecEnd::Exited(128 + signal),
        })
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        let Files { process, pid, log, console } = &self.files;
        for file in [process, pid, log, console] {
            // They go with the container's folder otherwise.
            let _ = fs::remove_file(file);
        }
    }
}

/// Bytes of a stream as its caller gets them.
pub(crate) fn frame(stream: Stream, bytes: Vec<u8>) -> Vec<u8> {
    match stream {
        Stream::Stdout => exec::Output::Stdout(bytes).encode(),
        Stream::Stderr => exec::Output::Stderr(bytes).encode(),
    }
}

/// Read at a time.
const READ_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(READ_BYTES_MAX <= EXEC_DATA_BYTES_MAX);
