//! One line of a log in the CRI format: `TIME STREAM TAG CONTENT`, where tag `P` means that the line goes on in the next record.

use dunlin_link::{UnixMillis, logs::LogStreams};

/// A record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// RFC 3339 with nanoseconds, as written.
    pub(super) time: &'a str,
    pub(super) stream: Stream,
    /// Whether the line ends here.
    pub(super) tag: Tag,
    pub(super) content: &'a str,
}

/// Where a container wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Whether a record ends its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Full,
    Partial,
}

impl<'a> Line<'a> {
    /// The record of a line of the file; `None` for anything else, such as a line cut by a power failure.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (stream, rest) = rest.split_once(' ')?;
        let (tag, content) = rest.split_once(' ').unwrap_or((rest, ""));
        let tag = match tag {
            "F" => Tag::Full,
            "P" => Tag::Partial,
            _ => return None,
        };
        let stream = match stream {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        (time.len() >= 20).then_some(Self { time, stream, tag, content })
    }

    /// Whether it is of one of these streams.
    pub(super) const fn is_of(&self, streams: LogStreams) -> bool {
        match streams {
            LogStreams::All => true,
            LogStreams::Stdout => matches!(self.stream, Stream::Stdout),
            LogStreams::Stderr => matches!(self.stream, Stream::Stderr),
        }
    }

    /// When it was written; `None` when the time is not one.
    pub(super) fn at(&self) -> Option<UnixMillis> {
        self.time.parse::<jiff::Timestamp>().ok().map(|time| UnixMillis(time.as_millisecond()))
    }
}
