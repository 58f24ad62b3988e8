//! Reading one run's log: the last lines, from a time on, with times, up to a size, and on through rotations while it grows.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use dunlin_link::logs::{LogRequest, LogStreams};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, DuplexStream, ReadBuf},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    line::{Line, Tag},
    rotated,
};

/// Becomes true when the run has ended and its log will not grow any more; `None` when it has ended already.
pub(crate) type Ended = Option<watch::Receiver<bool>>;

/// Opens the log at `path` as `request` asks; reading ends with the log, or with the run when it is followed.
///
/// # Errors
/// When there is no such log.
pub(crate) async fn open(
    path: PathBuf,
    (request, streams): (&LogRequest, LogStreams),
    ended: Ended,
) -> io::Result<LogReader> {
    let request = request.clone();
    let ended = if request.follow { ended } else { None };
    let limit = request.limit_bytes.unwrap_or(u64::MAX);
    // Asked before the first piece is read, as for all others.
    let over = is_over(ended.as_ref());
    // Finding the first line can mean to read all files; from there on a turn is at most one buffer.
    let opened = tokio::task::spawn_blocking(move || {
        let mut source = Source::open(path, &request, streams)?;
        let text = source.next_text()?;
        io::Result::Ok((source, Piece { text, over }))
    });
    let (mut source, first) = opened.await.map_err(io::Error::other)??;
    let (pipe, writer) = tokio::io::duplex(PIPE_BYTES);
    let copying = tokio::spawn(async move {
        // A log that cannot be read further ends, and the node's own log says why.
        if let Err(error) = copy(&mut source, first, writer, ended, limit).await
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(%error, path = %source.path.display(), "a log could not be read to its end");
        }
    });
    Ok(LogReader { pipe, _copying: AbortOnDropHandle::new(copying) })
}

/// A log being read. Dropping it closes the files at once, however quiet the log is.
#[derive(Debug)]
pub(crate) struct LogReader {
    pipe: DuplexStream,
    _copying: AbortOnDropHandle<()>,
}

impl AsyncRead for LogReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

/// What was read in one turn.
struct Piece {
    text: String,
    /// Whether the run had ended before it was read.
    over: bool,
}

/// The last bytes of a file, from a line's start.
pub(super) fn last_bytes(path: &Path, count: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(count as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(count);
    file.take(count as u64).read_to_end(&mut bytes)?;
    if start > 0 {
        let cut = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..cut);
    }
    Ok(bytes)
}

async fn copy(
    source: &mut Source,
    first: Piece,
    mut writer: DuplexStream,
    mut ended: Ended,
    limit: u64,
) -> io::Result<()> {
    let mut left = limit;
    let mut piece = first;
    loop {
        let Piece { text, over } = piece;
        if text.is_empty() {
            if over {
                return Ok(());
            }
            wait(&mut ended).await;
        }
        let part = &text.as_bytes()[..usize::try_from(left).unwrap_or(usize::MAX).min(text.len())];
        writer.write_all(part).await?;
        left -= part.len() as u64;
        if left == 0 {
            return Ok(());
        }
        // Asked before reading: what was written before the end is still read.
        let over = is_over(ended.as_ref());
        // A turn is at most one buffer from the page cache; a blocking thread for each would cost more than it saves.
        piece = Piece { text: source.next_text()?, over };
    }
}

/// Whether the run has ended.
fn is_over(ended: Option<&watch::Receiver<bool>>) -> bool {
    ended.is_none_or(|ended| *ended.borrow())
}

/// Waits until the log may have grown or ended.
async fn wait(ended: &mut Ended) {
    let Some(ended) = ended else { return };
    tokio::select! {
        () = tokio::time::sleep(FOLLOW_POLL) => {}
        // A dropped sender means that the agent ends; the next turn sees the last value and the poll paces it.
        changed = ended.changed() => if changed.is_err() { tokio::time::sleep(FOLLOW_POLL).await },
    }
}

/// A log file, its predecessor before it, and its successor after a rotation.
struct Source {
    path: PathBuf,
    /// Files still to read, the current one last.
    files: VecDeque<BufReader<File>>,
    inode: u64,
    /// A record without its newline yet.
    pending: Vec<u8>,
    request: LogRequest,
    streams: LogStreams,
    /// The next record begins a line of output.
    at_line_start: bool,
    /// Records to pass over to leave only the last ones. As for a kubelet, each part of a line too long for a record is one: a guest
    /// that writes no newlines has no last line.
    skip: u64,
}

impl Source {
    fn open(path: PathBuf, request: &LogRequest, streams: LogStreams) -> io::Result<Self> {
        let current = File::open(&path)?;
        let inode = current.metadata()?.ino();
        let mut files = VecDeque::from([BufReader::new(current)]);
        for number in 1.. {
            match File::open(rotated(&path, number)) {
                // A rotation since the first file was opened: it is this one already.
                Ok(before) if before.metadata()?.ino() == inode => {}
                Ok(before) => files.push_front(BufReader::new(before)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        let mut source = Self {
            path,
            files,
            inode,
            pending: Vec::new(),
            request: request.clone(),
            streams,
            at_line_start: true,
            skip: 0,
        };
        if let Some(tail) = request.tail_lines {
            source.skip = source.count_records()?.saturating_sub(tail);
        }
        Ok(source)
    }

    /// The next piece of output; empty when there is none now.
    fn next_text(&mut self) -> io::Result<String> {
        let mut text = String::new();
        while text.len() < TURN_BYTES {
            let Some(record) = self.next_record()? else { break };
            let Some(line) = Line::parse(&record) else { continue };
            self.put(&mut text, line);
        }
        Ok(text)
    }

    fn put(&mut self, text: &mut String, line: Line<'_>) {
        let is_old = self.request.since.is_some_and(|since| line.at().is_some_and(|at| at < since));
        if is_old || !line.is_of(self.streams) {
            return;
        }
        let ends = line.tag == Tag::Full;
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if self.at_line_start && self.request.timestamps {
            text.push_str(line.time);
            text.push(' ');
        }
        text.push_str(line.content);
        self.at_line_start = ends;
        if ends {
            text.push('\n');
        }
    }

    /// The next whole record of the current file, or of the one that took its place.
    fn next_record(&mut self) -> io::Result<Option<String>> {
        loop {
            let Some(file) = self.files.front_mut() else { return Ok(None) };
            file.read_until(b'\n', &mut self.pending)?;
            if self.pending.last() == Some(&b'\n') {
                let record = std::mem::take(&mut self.pending);
                return Ok(Some(String::from_utf8_lossy(&record[..record.len() - 1]).into_owned()));
            }
            if self.files.len() == 1 && !self.rotate()? {
                return Ok(None);
            }
            if self.files.len() > 1 {
                // Once more, for what was written between the last read and the rotation.
                let mut rest = Vec::new();
                self.files[0].read_to_end(&mut rest)?;
                if rest.is_empty() {
                    self.files.pop_front();
                    self.pending.clear();
                } else {
                    self.pending.extend(rest);
                    self.requeue();
                }
            }
        }
    }

    /// Puts whole records that were read ahead back in front.
    fn requeue(&mut self) {
        let back = i64::try_from(self.pending.len()).unwrap_or(i64::MAX);
        if self.files[0].seek_relative(-back).is_ok() {
            self.pending.clear();
        }
    }

    /// Whether another file has taken the path; it is opened then.
    fn rotate(&mut self) -> io::Result<bool> {
        let inode = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.ino(),
            // Between the two renames of a rotation, or after the pod's removal.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if inode == self.inode {
            return Ok(false);
        }
        let file = File::open(&self.path)?;
        self.inode = file.metadata()?.ino();
        self.files.push_back(BufReader::new(file));
        Ok(true)
    }

    /// Records there are now, from the requested time on; leaves all files at their start.
    fn count_records(&mut self) -> io::Result<u64> {
        let mut count = 0;
        for file in &mut self.files {
            let mut record = Vec::new();
            while file.read_until(b'\n', &mut record)? > 0 {
                let text = String::from_utf8_lossy(&record);
                let line = Line::parse(text.trim_end_matches('\n'));
                let wanted = line.filter(|line| line.is_of(self.streams)).is_some_and(|line| {
                    self.request.since.is_none_or(|since| line.at().is_none_or(|at| at >= since))
                });
                count += u64::from(wanted);
                record.clear();
            }
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(count)
    }
}

/// What the pipe to a reader holds.
const PIPE_BYTES: usize = 64 << 10;

/// What is read in one turn.
const TURN_BYTES: usize = 16 << 10;

/// How soon a followed log's new lines are seen.
const FOLLOW_POLL: Duration = Duration::from_millis(100);
