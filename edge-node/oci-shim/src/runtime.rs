//! The command line that OCI runtimes have in common, and what they say when they fail.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::Command,
};

use dunlin_link::ContainerId;
use serde_json::Value;

/// A runtime, with the folder that it keeps its own records of this pod's containers in.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// For instance `/usr/bin/crun`.
    pub(crate) program: PathBuf,
    /// On a file system that goes with the machine's power, or is cleaned after it.
    pub(crate) root: PathBuf,
}

/// What a runtime can do with a container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    /// Put it together and let it run.
    Run {
        bundle: &'a Path,
        /// Where the number of its first process goes.
        pid_file: &'a Path,
        /// Where its terminal goes, if it has one.
        console: Option<&'a Path>,
    },
    /// Take it away, running or not.
    Delete,
    /// Another process in it.
    Exec {
        /// A process as in a bundle's configuration.
        process: &'a Path,
        pid_file: &'a Path,
        console: Option<&'a Path>,
    },
}

impl Runtime {
    /// The command; standard streams are the caller's to set.
    pub(crate) fn command(&self, id: &ContainerId, operation: Operation<'_>, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments(id, operation, log));
        // One in Rust would put where it failed into what it says.
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
        command
    }

    /// Whether its file has this name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.program.file_name().is_some_and(|own| own == name)
    }

    fn arguments(&self, id: &ContainerId, operation: Operation<'_>, log: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&dyn AsRef<std::ffi::OsStr>]| {
            arguments.extend(words.iter().map(|word| word.as_ref().to_owned()));
        };
        add(&[&"--root", &self.root, &"--log", &log, &"--log-format", &"json"]);
        // The others use cgroupfs unless they are told otherwise.
        if self.is_called("crun") {
            add(&[&"--cgroup-manager", &"cgroupfs"]);
        }
        match operation {
            Operation::Run { bundle, pid_file, console } => {
                add(&[&"run", &"--detach", &"--bundle", &bundle, &"--pid-file", &pid_file]);
                console.iter().for_each(|socket| add(&[&"--console-socket", socket]));
            }
            Operation::Delete => add(&[&"delete", &"--force"]),
            Operation::Exec { process, pid_file, console } => {
                add(&[&"exec", &"--detach", &"--process", &process, &"--pid-file", &pid_file]);
                console.iter().for_each(|socket| add(&[&"--console-socket", socket]));
            }
        }
        add(&[&id.as_str()]);
        arguments
    }
}

/// What a runtime wrote to its log last, in words; empty when it said nothing.
pub(crate) fn complaint(log: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|file| file.take(LOG_BYTES_MAX).read_to_end(&mut text));
    if read.is_err() {
        return String::new();
    }
    last_complaint(&String::from_utf8_lossy(&text))
}

fn last_complaint(log: &str) -> String {
    let mut messages = log.lines().filter_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        // Warnings come, too. youki has `ERROR` and `message`.
        let level = entry.get("level").and_then(Value::as_str).unwrap_or("error");
        let is_bad = ["error", "fatal"].iter().any(|bad| level.eq_ignore_ascii_case(bad));
        let words = entry.get("msg").or_else(|| entry.get("message"));
        words.filter(|_| is_bad)?.as_str().map(str::to_owned)
    });
    let mut message = messages.next_back().unwrap_or_default();
    message.truncate(message.floor_char_boundary(COMPLAINT_BYTES_MAX));
    message
}

/// Reads the file that a runtime wrote a process's number into.
pub(crate) fn read_pid(pid_file: &Path) -> io::Result<rustix::process::Pid> {
    let mut text = String::new();
    File::open(pid_file)?.take(PID_BYTES_MAX).read_to_string(&mut text)?;
    let pid = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("the runtime wrote no process id"))
}

/// A log holds what one command says.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Enough for every cause.
const COMPLAINT_BYTES_MAX: usize = 4096;
/// A number and a line's end.
const PID_BYTES_MAX: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, operation: Operation<'_>, expected: &str) {
        let runtime = Runtime { program: PathBuf::from(program), root: PathBuf::from("/r") };
        let arguments = runtime.arguments(&ContainerId::new("i"), operation, Path::new("/l"));
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn runtimes_are_told_the_same_in_the_same_words() {
        let pid_file = Path::new("/p");
        let run = Operation::Run { bundle: Path::new("/b"), pid_file, console: None };
        check(
            "/usr/sbin/runc",
            run,
            "--root /r --log /l --log-format json run --detach --bundle /b --pid-file /p i",
        );
        check(
            "/usr/bin/crun",
            Operation::Delete,
            "--root /r --log /l --log-format json --cgroup-manager cgroupfs delete --force i",
        );
        let exec = Operation::Exec { process: Path::new("/x"), pid_file, console: Some(Path::new("/c")) };
        check(
            "youki",
            exec,
            "--root /r --log /l --log-format json exec --detach --process /x --pid-file /p --console-socket /c i",
        );
    }

    #[test]
    fn the_last_error_is_why() {
        let check = |log: &str, expected: &str| assert_eq!(last_complaint(log), expected);
        check("", "");
        check("no json", "");
        check(r#"{"msg":"first","level":"error"}"#, "first");
        check(r#"{"timestamp":"t","level":"ERROR","message":"last","target":"youki"}"#, "last");
        check(
            "{\"msg\":\"first\",\"level\":\"error\"}\n{\"msg\":\"last\",\"level\":\"error\"}\n{\"msg\":\"odd\",\"level\":\"warning\"}",
            "last",
        );
    }
}
