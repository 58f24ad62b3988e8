//! A test that has a machine to itself, as far as the kernel gives one: mounts, network and processes of its own.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Runs the test with this name again, by itself, and fails if it does; answers whether this is that run. Where it cannot be done the
/// test is passed over, which is said aloud.
pub(super) fn is_alone(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = TempDir::new().unwrap();
    if !within(&["true"], &folder).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let words = format!("SKIPPED: {test}, because there are no namespaces of its own for it here\n");
        // Past what a test that passes has its words hidden by. Nobody may be there to read it.
        let _ = std::io::stderr().write_all(words.as_bytes());
        return false;
    }
    let program = env::current_exe().unwrap();
    let mut command = within(&[program.to_str().unwrap(), "--exact", test, "--nocapture"], &folder);
    let status = command.env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{status}; what it says is above");
    false
}

/// A command whose processes end with it, and whose temporary files are in a folder of its own.
fn within(words: &[&str], folder: &TempDir) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // The shell is the first process, which buries those that have lost their parents.
    command.args(["sh", "-c", INIT, "sh"]).args(words).env("TMPDIR", folder.path());
    command
}

/// Loopback, and memory for what belongs there.
const INIT: &str =
    "busybox ip link set lo up && mount -t tmpfs tests /dev/shm && \"$@\"; code=$?; exit $code";

/// Set for a test that is alone.
const INSIDE: &str = "DUNLIN_TEST_ALONE";
