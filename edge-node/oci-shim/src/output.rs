//! A container's output on its way to its log.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use dunlin_container_log::{Lines, LogBounds, LogFile, Stream};
use jiff::Timestamp;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};

/// The ends of its pipes that the shim reads, or its terminal, and where that goes.
#[derive(Debug)]
pub(crate) struct Output {
    sources: Vec<(Stream, File)>,
    file: LogFile,
    lines: Lines,
    /// Batches that could not be written.
    failures: u64,
}

/// The ends that a container writes to.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What was read at one time, for whoever is attached.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) stream: Stream,
    pub(crate) bytes: Vec<u8>,
}

impl Output {
    /// Opens the log. It has no sources yet.
    pub(crate) fn open(log: &Path, bounds: LogBounds) -> io::Result<Self> {
        let file = LogFile::open(log, bounds)?;
        Ok(Self { sources: Vec::new(), file, lines: Lines::default(), failures: 0 })
    }

    /// Two pipes; the container has the other ends.
    pub(crate) fn add_pipes(&mut self) -> io::Result<Ends> {
        let (stdout, out) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, err) = pipe_with(PipeFlags::CLOEXEC)?;
        self.add(Stream::Stdout, stdout)?;
        self.add(Stream::Stderr, stderr)?;
        Ok(Ends { stdout: out, stderr: err })
    }

    /// Something else to read from.
    pub(crate) fn add(&mut self, stream: Stream, source: OwnedFd) -> io::Result<()> {
        set_nonblocking(&source)?;
        self.sources.push((stream, File::from(source)));
        Ok(())
    }

    /// What there is to wait for; gone when it is at its end.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.sources.iter().map(|(_, file)| file)
    }

    /// Reads once from each source that has something and puts it into the log.
    pub(crate) fn read(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        self.sources.retain_mut(|(stream, file)| {
            let mut bytes = vec![0; READ_BYTES_MAX];
            match file.read(&mut bytes) {
                Ok(0) => false,
                Ok(length) => {
                    bytes.truncate(length);
                    chunks.push(Chunk { stream: *stream, bytes });
                    true
                }
                // A terminal that nobody has open any more says it so.
                Err(error) => {
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
                }
            }
        });
        let now = Timestamp::now();
        let mut text = Vec::new();
        for Chunk { stream, bytes } in &chunks {
            self.lines.add(now, *stream, bytes, &mut text);
        }
        self.write(&text);
        chunks
    }

    /// Reads what is there and ends the last lines.
    pub(crate) fn finish(&mut self) -> Vec<Chunk> {
        let mut all = Vec::new();
        for _ in 0..FINISH_READS_MAX {
            let chunks = self.read();
            if chunks.is_empty() {
                break;
            }
            all.extend(chunks);
        }
        self.sources.clear();
        let mut text = Vec::new();
        self.lines.end(Timestamp::now(), &mut text);
        self.write(&text);
        all
    }

    /// A disk that is full loses output, not the container; it is said once, not once a line.
    fn write(&mut self, text: &[u8]) {
        if let Err(error) = self.file.write(text) {
            if self.failures == 0 {
                crate::say(&format!(
                    "failed to write {}; output is lost: {error}",
                    self.file.path().display()
                ));
            }
            self.failures += 1;
        }
    }
}

/// Only this end: the container's stays as programs expect it.
pub(crate) fn set_nonblocking(file: &OwnedFd) -> io::Result<()> {
    fcntl_setfl(file, fcntl_getfl(file)? | OFlags::NONBLOCK)?;
    Ok(())
}

/// Read at a time.
const READ_BYTES_MAX: usize = 16 << 10;

/// What is read at the end, when somebody who outlived the container goes on writing.
const FINISH_READS_MAX: usize = 256;
