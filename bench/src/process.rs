//! What processes use, as the kernel tells it under `/proc`.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

/// What some processes use together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) processes: usize,
    /// Memory, shared pages divided among those that share them.
    pub(crate) pss_bytes: u64,
    /// Memory that only these processes can give back.
    pub(crate) anonymous_bytes: u64,
    /// Page tables, which no figure of a process's memory includes.
    pub(crate) page_table_bytes: u64,
    /// User and system time since the processes started.
    pub(crate) cpu_seconds: f64,
    /// Bytes they caused to be written to disk since they started.
    pub(crate) written_bytes: u64,
}

/// A process of the run.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    /// Its first argument: `coordinator`, `edge-node`, `runner`, `dev`.
    pub(crate) role: String,
    /// What it is called itself.
    pub(crate) program: String,
}

impl Process {
    fn of(pid: u32) -> Self {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let program = words.next().unwrap_or_default();
        Self { pid, role: words.next().unwrap_or_default(), program }
    }
}

/// Processes that any thread of this one started.
pub(crate) fn children(process: &Process) -> Vec<Process> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>());
    pids.map(Process::of).collect()
}

/// All living processes whose environment holds `marker`: what a run started, and what those started, orphans included.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn marked(marker: &str) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ends meanwhile, or another user's, is not one of ours.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes()) {
            found.push(Process::of(pid));
        }
    }
    Ok(found)
}

/// What `processes` use together now; one that has ended counts nothing.
pub(crate) fn usage<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Usage {
    let used = processes.into_iter().filter_map(|process| of_one(process.pid));
    used.fold(Usage::default(), |sum, one| Usage {
        processes: sum.processes + 1,
        pss_bytes: sum.pss_bytes + one.pss_bytes,
        anonymous_bytes: sum.anonymous_bytes + one.anonymous_bytes,
        page_table_bytes: sum.page_table_bytes + one.page_table_bytes,
        cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
        written_bytes: sum.written_bytes + one.written_bytes,
    })
}

/// Sends a signal.
pub(crate) fn signal(process: &Process, signal: Signal) {
    if let Some(pid) = i32::try_from(process.pid).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended already, which is what is wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn of_one(pid: u32) -> Option<Usage> {
    let folder = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let memory = read("smaps_rollup")?;
    Some(Usage {
        processes: 1,
        pss_bytes: field(&memory, "Pss:")? * 1024,
        anonymous_bytes: field(&memory, "Anonymous:")? * 1024,
        page_table_bytes: field(&read("status")?, "VmPTE:")? * 1024,
        cpu_seconds: cpu_seconds(&read("stat")?)?,
        written_bytes: field(&read("io")?, "write_bytes:")?,
    })
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `/proc/PID/stat`; the second, a name in parentheses, may hold spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = |field: &str| field.parse::<u32>().ok().map(f64::from);
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system) = (ticks(fields.next()?)?, ticks(fields.next()?)?);
    let ticks_per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some((user + system) / f64::from(ticks_per_second))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_marked_process_is_found_and_measured() {
        let marker = format!("DUNLIN_BENCH_RUN=test-{}", std::process::id());
        let (name, value) = marker.split_once('=').unwrap();
        let mut child =
            Command::new("sleep").arg("60").env(name, value).stdout(Stdio::null()).spawn().unwrap();
        let found = found(&marker, "60");
        let used = usage(&found);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.iter().map(|process| process.role.as_str()).collect::<Vec<_>>(), ["60"]);
        assert_eq!(used.processes, 1);
        assert!(used.pss_bytes > 0 && used.page_table_bytes > 0, "{used:?}");
        assert!(marked(&marker).unwrap().is_empty());
    }

    /// What is marked once it runs its program: the kernel shows no environment for a moment while a program is loaded.
    fn found(marker: &str, role: &str) -> Vec<Process> {
        for _ in 0..1000 {
            let found = marked(marker).unwrap();
            if found.iter().any(|process| process.role == role && of_one(process.pid).is_some()) {
                return found;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no process is marked {marker} within 10 s");
    }

    #[test]
    fn cpu_time_is_read_past_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        let seconds = cpu_seconds(stat).unwrap();
        assert!((seconds - 2.0).abs() < 1e-9, "{seconds}");
    }
}
