//! Text of the two streams to lines of the CRI log format.

use std::io::Write as _;

use jiff::Timestamp;

/// Which of its two streams a container wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The unfinished line of each stream.
#[derive(Debug, Default)]
pub struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    /// Appends to `out` the lines that `bytes` complete. A line that grows too long goes out in parts tagged `P`.
    pub fn add(&mut self, at: Timestamp, stream: Stream, mut bytes: &[u8], out: &mut Vec<u8>) {
        let line = self.line(stream);
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let room = LINE_BYTES_MAX - line.len();
            let taken = end.unwrap_or(bytes.len());
            if taken > room {
                line.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                emit(at, stream, b'P', line, out);
            } else {
                line.extend_from_slice(&bytes[..taken]);
                if end.is_some() {
                    emit(at, stream, b'F', line, out);
                }
                bytes = bytes.get(taken + 1..).unwrap_or_default();
            }
        }
    }

    /// The end of both streams ends their lines.
    pub fn end(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = self.line(stream);
            if !line.is_empty() {
                emit(at, stream, b'F', line, out);
            }
        }
    }

    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

fn emit(at: Timestamp, stream: Stream, tag: u8, line: &mut Vec<u8>, out: &mut Vec<u8>) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    write!(out, "{at:.9} {stream} {} ", char::from(tag)).expect("writing to a Vec cannot fail");
    out.append(line);
    out.push(b'\n');
    // An idle container keeps no buffer.
    line.shrink_to_fit();
}

/// Longest line that stays whole: what container runtimes use.
const LINE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::constant(1_700_000_000, 5);

    fn check(pushes: &[(Stream, &str)], expected: &[&str]) {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for (stream, text) in pushes {
            lines.add(AT, *stream, text.as_bytes(), &mut out);
        }
        lines.end(AT, &mut out);
        let text = String::from_utf8(out).unwrap();
        let head = "2023-11-14T22:13:20.000000005Z ";
        let stripped: Vec<&str> = text.lines().map(|line| line.strip_prefix(head).unwrap()).collect();
        assert_eq!(stripped, expected);
    }

    #[test]
    fn streams_become_lines() {
        use Stream::{Stderr, Stdout};
        check(&[], &[]);
        check(&[(Stdout, "a\n")], &["stdout F a"]);
        check(&[(Stdout, "a\n\nb\n")], &["stdout F a", "stdout F ", "stdout F b"]);
        check(&[(Stdout, "a"), (Stderr, "x\n"), (Stdout, "b\n")], &["stderr F x", "stdout F ab"]);
        check(&[(Stdout, "no newline"), (Stderr, "nor here")], &["stdout F no newline", "stderr F nor here"]);
    }

    #[test]
    fn long_lines_go_out_in_parts() {
        let part = "x".repeat(LINE_BYTES_MAX);
        let text = format!("{part}{part}y\nz\n");
        let long = format!("stdout P {part}");
        check(&[(Stream::Stdout, &text)], &[&long, &long, "stdout F y", "stdout F z"]);
        let full = format!("stdout F {part}");
        check(&[(Stream::Stdout, &format!("{part}\n"))], &[&full]);
    }
}
