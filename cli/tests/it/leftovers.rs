//! What a machine that is switched off by killing its agent keeps: sandboxes of pods, which outlive agents on purpose, and the network
//! that joins them. Real machines take their own along; those of tests are all the same one, and must not.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::ffi::OsStringExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::BINARY;

/// Ends the pods below a node's state, and takes away their network. Its agent must not run.
pub(crate) fn remove(state: &Path, bridge: &str) {
    let folders = fs::read_dir(state.join("pods")).into_iter().flatten().flatten();
    // All at once: each takes as long as a container takes to die.
    let cleaning: Vec<Child> = folders.filter_map(|folder| end_sandbox(&folder.path())).collect();
    for mut child in cleaning {
        // What it could not remove it has said in the node's log.
        let _ = child.wait();
    }
    if Path::new("/sys/class/net").join(bridge).exists() {
        take_away("ip", &["link", "delete", bridge]);
        take_away("nft", &["delete", "table", "ip", bridge]);
        take_away("nft", &["delete", "table", "netdev", bridge]);
    }
}

/// Kills a pod's shim, and has the product clean up after it as the next agent would. Nothing here panics: it is done while a test that
/// failed unwinds, too.
fn end_sandbox(folder: &Path) -> Option<Child> {
    let (pid, mut words) = shim_of(folder)?;
    // It may end by itself meanwhile.
    let _ = kill_process(pid, Signal::KILL);
    let until = Instant::now() + SHIM_END_MAX;
    while shim_of(folder).is_some_and(|(found, _)| found == pid) && Instant::now() < until {
        thread::sleep(POLL_INTERVAL);
    }
    words.push("--clean".into());
    let mut command = Command::new(BINARY);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}

/// The process that serves a pod's folder, and what follows its program's name.
fn shim_of(folder: &Path) -> Option<(Pid, Vec<OsString>)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find_map(|pid| {
        // A process may end while it is looked at; one that has ended has no arguments.
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<OsString> =
            words.split(|byte| *byte == 0).skip(1).map(|word| OsString::from_vec(word.to_vec())).collect();
        let words = words.strip_suffix(&[OsString::new()]).unwrap_or(&words).to_vec();
        let is_shim = words.first().is_some_and(|word| word == "shim");
        let is_its = words.iter().any(|word| word == folder.as_os_str());
        (is_shim && is_its).then_some((Pid::from_raw(pid)?, words))
    })
}

fn take_away(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output();
    let why = match output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    // Guards of pods are there once there was a pod.
    if why.contains("No such file or directory") {
        return;
    }
    // Nobody may be there to read it.
    let _ = std::io::stderr().write_all(format!("{program} {words:?} failed: {why}\n").as_bytes());
}

/// For the kernel to end a process that was killed.
const SHIM_END_MAX: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(20);
