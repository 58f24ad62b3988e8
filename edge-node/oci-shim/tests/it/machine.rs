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
        // Tests run beside each other, and some mount something on the machine.
        let mounts = mounts.lines().filter(|line| !line.starts_with(OF_TESTS)).collect::<Vec<_>>().join("\n");
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
