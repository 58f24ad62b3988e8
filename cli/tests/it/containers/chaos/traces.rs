//! What pods leave on a machine while they are there, and must not when they are gone.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What there is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    mounts: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    /// Each as often as there are.
    processes: Vec<String>,
    cgroups: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    /// Lines of the packet filter that name somebody's ports or addresses.
    filtered: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

impl Traces {
    /// Those of pods that `owns` knows by what cgroups are called, on a node with this folder.
    pub(super) fn look(state: &Path, owns: impl Fn(&str) -> bool) -> Self {
        let mut traces = Self { interfaces: interfaces(), filtered: filtered(), ..Self::default() };
        traces.mounts = fs::read_to_string("/proc/self/mounts").unwrap().lines().map(str::to_owned).collect();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let name = process.file_name();
            if name.to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
                traces.take_process(&process.path());
            }
        }
        traces.processes.sort();
        visit(Path::new("/sys/fs/cgroup"), &mut |path| {
            if path.file_name().and_then(|name| name.to_str()).is_some_and(&owns) {
                traces.cgroups.insert(path.display().to_string());
            }
        });
        // What is directly in the node's folder is the node's own.
        visit_all(state, &mut |path| {
            if path.parent() != Some(state) {
                traces.files.insert(path.to_owned());
            }
        });
        let temporary = fs::read_dir(env::temp_dir()).unwrap().flatten();
        traces.files.extend(temporary.map(|entry| entry.path()));
        traces
    }

    /// What is here and was not there, or the other way round, a line each; empty when they are alike.
    pub(super) fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, now: BTreeSet<String>, before: BTreeSet<String>| {
            found.extend(now.difference(&before).map(|one| format!("{what} is new: {one}")));
            found.extend(before.difference(&now).map(|one| format!("{what} is gone: {one}")));
        };
        compare("mount", self.mounts.clone(), before.mounts.clone());
        compare("namespace", self.namespaces.clone(), before.namespaces.clone());
        compare("process", counted(&self.processes), counted(&before.processes));
        compare("cgroup", self.cgroups.clone(), before.cgroups.clone());
        // Bridges of nodes that are gone are swept by those that come.
        let here = |name: &String| !name.starts_with("dunlin") || self.interfaces.contains(name);
        let interfaces_before = before.interfaces.iter().filter(|name| here(name)).cloned().collect();
        compare("interface", self.interfaces.clone(), interfaces_before);
        compare("filter", self.filtered.clone(), before.filtered.clone());
        compare("file", texts(&self.files), texts(&before.files));
        found
    }

    /// A process may end while it is looked at.
    fn take_process(&mut self, path: &Path) {
        for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
            let link = fs::read_link(path.join("ns").join(kind));
            self.namespaces.extend(link.map(|name| name.display().to_string()));
        }
        // Held open, as shims do.
        for file in fs::read_dir(path.join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(file.path()).unwrap_or_default().display().to_string();
            if ["net:[", "ipc:[", "uts:[", "pid:[", "mnt:["].iter().any(|kind| target.starts_with(kind)) {
                self.namespaces.insert(target);
            }
        }
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { return };
        let words = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        // One that has ended and was not waited for has no words.
        let words: Vec<&str> = words.split('\0').filter(|word| !word.is_empty()).take(2).collect();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or_default();
        self.processes.push(if words.is_empty() || state == 'Z' {
            stat.split(") ")
                .next()
                .unwrap_or_default()
                .split_once(" (")
                .map_or_else(String::new, |(_, name)| format!("{name}, {state}"))
        } else {
            words.join(" ")
        });
    }
}

fn interfaces() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/net/dev").unwrap();
    let names = text.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

/// Nothing, where the tool is missing.
fn filtered() -> BTreeSet<String> {
    let listed = Command::new("nft").args(["list", "ruleset"]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| line.contains("comment")).map(|line| line.trim().to_owned()).collect()
}

fn counted(processes: &[String]) -> BTreeSet<String> {
    let times = |one: &String| processes.iter().filter(|other| *other == one).count();
    processes.iter().map(|one| format!("{one}, {} times", times(one))).collect()
}

fn texts(files: &BTreeSet<PathBuf>) -> BTreeSet<String> {
    files.iter().map(|file| file.display().to_string()).collect()
}

/// Folders alone.
fn visit(folder: &Path, act: &mut dyn FnMut(&Path)) {
    visit_all(folder, &mut |path| {
        if path.is_dir() {
            act(path);
        }
    });
}

fn visit_all(folder: &Path, act: &mut dyn FnMut(&Path)) {
    // What goes at this moment may be gone before it is looked at.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        act(&entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit_all(&entry.path(), act);
        }
    }
}
