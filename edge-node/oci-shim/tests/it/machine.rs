//! What of pods can be seen on the machine, to compare before and after.

use std::{collections::BTreeSet, fs};

/// The mounts and network namespaces that there are, and this process's own mounts and namespaces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    mounts: String,
    own: Vec<String>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let own = ["mnt", "net", "ipc", "uts", "pid", "cgroup"];
        let own =
            own.map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        // Tests run beside each other: some mount something on the machine, and crun mounts its own program for a moment.
        let is_passing = |line: &&str| line.starts_with(OF_TESTS) || line.contains(OF_CRUN);
        let mounts = mounts.lines().filter(|line| !is_passing(line)).collect::<Vec<_>>().join("\n");
        Self { mounts, own: own.to_vec() }
    }
}

/// Processes whose command line holds a word.
pub(crate) fn processes(word: &str) -> BTreeSet<u32> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let holds = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    numbers.filter(|pid| *pid != std::process::id()).filter(holds).collect()
}

/// Begins the lines of what tests mount themselves, under the name `tests`.
const OF_TESTS: &str = "tests ";

/// In the line of what crun mounts, wherever it is run, while it makes sure that nobody changes its program.
const OF_CRUN: &str = " /tmp/crun.";
