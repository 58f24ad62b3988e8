//! Container logs: where they are, and reading them as `kubectl logs` asks. The sandbox writes and rotates them.
//!
//! `logs/NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log`, in the CRI format; rotated files end in `.log.1`, `.log.2` and so on, new to old.

mod keeper;
mod line;
mod read;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use dunlin_link::pod::PodAssignment;

pub(crate) use self::{
    keeper::LogKeeper,
    read::{Ended, open},
};

/// The logs of a node.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    dir: PathBuf,
}

/// Whether a run's log has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It has; its file.
    Free(PathBuf),
    /// This attempt has a log already.
    Taken(u32),
}

impl Logs {
    /// Logs in `dir`.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The log of one run.
    pub(crate) fn path(&self, pod: &PodAssignment, container: &str, attempt: u32) -> PathBuf {
        self.pod_dir(pod).join(container).join(format!("{attempt}.log"))
    }

    /// Makes room for a run's log: the folder, without logs that `kubectl logs --previous` cannot reach any more. A log of this run
    /// or a later one that is there already is left alone.
    pub(crate) fn prepare(&self, pod: &PodAssignment, container: &str, attempt: u32) -> io::Result<Room> {
        let path = self.path(pod, container, attempt);
        let dir = self.pod_dir(pod).join(container);
        fs::create_dir_all(&dir)?;
        if let Some(latest) = latest_attempt(&dir)?.filter(|latest| *latest >= attempt) {
            return Ok(Room::Taken(latest));
        }
        if let Some(old) = attempt.checked_sub(2) {
            let old = self.path(pod, container, old);
            for file in (1..).map(|number| rotated(&old, number)).take_while(|file| file.exists()) {
                fs::remove_file(file)?;
            }
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Room::Free(path))
    }

    /// Removes all logs of these pods, in the background and one after another.
    pub(crate) fn remove(&self, pods: &[Arc<PodAssignment>]) {
        let dirs: Vec<_> = pods.iter().map(|pod| self.pod_dir(pod)).collect();
        if !dirs.is_empty() {
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(move || dirs.iter().for_each(|dir| remove_dir(dir))));
        }
    }

    fn pod_dir(&self, pod: &PodAssignment) -> PathBuf {
        self.dir.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }
}

/// Where a container's core dump is, beside the log of any of its runs.
pub(crate) fn core_dump(log: &Path) -> PathBuf {
    log.with_file_name("core")
}

/// The latest run of a container that has a log.
fn latest_attempt(dir: &Path) -> io::Result<Option<u32>> {
    let mut latest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let attempt = name.to_string_lossy().strip_suffix(".log").and_then(|attempt| attempt.parse().ok());
        latest = latest.max(attempt);
    }
    Ok(latest)
}

fn remove_dir(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, dir = %dir.display(), "logs of a deleted pod could not be removed");
        }
        _ => {}
    }
}

/// The end of a log, as a termination message with `FallbackToLogsOnError`: at most 80 lines and 2 KiB.
pub(crate) fn termination_message(path: &Path) -> String {
    let Ok(bytes) = read::last_bytes(path, 2 * TERMINATION_BYTES_MAX) else { return String::new() };
    let text = String::from_utf8_lossy(&bytes);
    let mut whole = String::new();
    for line in text.lines().filter_map(line::Line::parse) {
        whole.push_str(line.content);
        if line.tag == line::Tag::Full {
            whole.push('\n');
        }
    }
    let lines: Vec<_> = whole.lines().collect();
    let tail = lines[lines.len().saturating_sub(TERMINATION_LINES_MAX)..].join("\n");
    let start = tail.len().saturating_sub(TERMINATION_BYTES_MAX);
    let start = (start..=tail.len()).find(|at| tail.is_char_boundary(*at)).unwrap_or(tail.len());
    tail[start..].to_owned()
}

/// The file that rotations moved an earlier part of a log to; 1 is the latest.
fn rotated(path: &Path, number: u32) -> PathBuf {
    path.with_extension(format!("log.{number}"))
}

/// Kubernetes' bounds on a message taken from a log.
const TERMINATION_LINES_MAX: usize = 80;
const TERMINATION_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
