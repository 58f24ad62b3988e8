//! The cgroups of a pod, of version 1 and 2: what they say of a container, and their end.

mod end;
mod limits;
mod make;
mod path;

use std::{fs, path::PathBuf};

pub(crate) use self::path::CgroupPath;
use crate::runtime::Runtime;

/// The hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    version: Version,
    /// Of version 1: what it controls.
    controllers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_us: u64,
    /// Time for which it was not let compute, because its quota was used up.
    pub(crate) throttled_us: u64,
    pub(crate) memory_bytes: u64,
}

/// Whether the kernel counts what cgroups have in swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    Counted,
    NotCounted,
}

/// Who ends when memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortOfMemory {
    /// One process, whichever the kernel takes.
    EndsOne,
    /// All of the cgroup, if it is told to.
    EndsAll,
}

/// Whether containers see their cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// At `/sys/fs/cgroup`, read-only unless they are privileged.
    Shown,
    Hidden,
}

impl Cgroups {
    /// As they are mounted.
    pub(crate) fn of_this_machine() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
    }

    fn parse(mounts: &str) -> Self {
        let hierarchies = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (root, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let version = match kind {
                "cgroup" => Version::One,
                "cgroup2" => Version::Two,
                _ => return None,
            };
            let controllers = options.split(',').map(str::to_owned).collect();
            Some(Hierarchy { root: PathBuf::from(root), version, controllers })
        });
        Self { hierarchies: hierarchies.collect() }
    }

    /// Whether something in the cgroup was killed because memory was short.
    pub(crate) fn has_been_short_of_memory(&self, cgroup: &CgroupPath) -> bool {
        let counted = self.read(cgroup, "memory", "memory.oom_control", "memory.events");
        counted.is_some_and(|text| field(&text, "oom_kill") > 0)
    }

    /// Whether what this cgroup has in swap is counted.
    pub(crate) fn swap(&self, cgroup: &CgroupPath) -> Swap {
        let limit = self.read(cgroup, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        if limit.is_some() { Swap::Counted } else { Swap::NotCounted }
    }

    /// What of them containers that this runtime makes may see.
    pub(crate) fn view(&self, runtime: &Runtime) -> View {
        let has_one = self.hierarchies.iter().any(|hierarchy| hierarchy.version == Version::One);
        // youki 0.7 mounts version 1 writable whatever it is told: containers could take their limits away.
        if has_one && runtime.is_called("youki") { View::Hidden } else { View::Shown }
    }

    /// Who can be made to end when memory is short in a cgroup like this one.
    pub(crate) fn short_of_memory(&self, cgroup: &CgroupPath) -> ShortOfMemory {
        let mut of_two = self.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::Two);
        let knows = of_two.any(|hierarchy| hierarchy.dir(cgroup).join(OOM_GROUP).exists());
        if knows { ShortOfMemory::EndsAll } else { ShortOfMemory::EndsOne }
    }

    /// What is used now; `None` where nothing counts.
    pub(crate) fn usage(&self, cgroup: &CgroupPath) -> Option<Usage> {
        let cpu_us = match self.read_versioned(cgroup, "cpuacct", "cpuacct.usage", "cpu.stat")? {
            (Version::One, text) => text.trim().parse::<u64>().ok()? / 1000,
            (Version::Two, text) => field(&text, "usage_usec"),
        };
        let throttled_us = match self.read_versioned(cgroup, "cpu", "cpu.stat", "cpu.stat") {
            Some((Version::One, text)) => field(&text, "throttled_time") / 1000,
            Some((Version::Two, text)) => field(&text, "throttled_usec"),
            None => 0,
        };
        let memory = self.read(cgroup, "memory", "memory.usage_in_bytes", "memory.current")?;
        let stat = self.read(cgroup, "memory", "memory.stat", "memory.stat").unwrap_or_default();
        // What could be had back at once is not used, as Kubernetes counts it.
        let inactive = field(&stat, "total_inactive_file").max(field(&stat, "inactive_file"));
        let memory_bytes = memory.trim().parse::<u64>().ok()?.saturating_sub(inactive);
        Some(Usage { cpu_us, throttled_us, memory_bytes })
    }

    /// Whether the cgroup is anywhere.
    #[cfg(test)]
    fn exists(&self, cgroup: &CgroupPath) -> bool {
        self.dirs(cgroup).any(|dir| dir.exists())
    }

    fn dirs<'a>(&'a self, cgroup: &'a CgroupPath) -> impl Iterator<Item = PathBuf> + 'a {
        self.hierarchies.iter().map(move |hierarchy| hierarchy.dir(cgroup))
    }

    fn read(&self, cgroup: &CgroupPath, controller: &str, one: &str, two: &str) -> Option<String> {
        self.read_versioned(cgroup, controller, one, two).map(|(_, text)| text)
    }

    /// The file of the controller in version 1, or the one that version 2 has instead.
    fn read_versioned(
        &self,
        cgroup: &CgroupPath,
        controller: &str,
        one: &str,
        two: &str,
    ) -> Option<(Version, String)> {
        self.hierarchies.iter().find_map(|hierarchy| {
            let file = match hierarchy.version {
                Version::One if !hierarchy.controls(controller) => return None,
                Version::One => one,
                Version::Two => two,
            };
            let text = fs::read_to_string(hierarchy.dir(cgroup).join(file)).ok()?;
            Some((hierarchy.version, text))
        })
    }
}

impl Hierarchy {
    fn dir(&self, cgroup: &CgroupPath) -> PathBuf {
        self.root.join(cgroup.relative())
    }

    /// Whether it is one of version 1 for this controller.
    fn controls(&self, controller: &str) -> bool {
        self.version == Version::One && self.controllers.iter().any(|known| known == controller)
    }
}

/// Of version 2: whether all in a cgroup end when its memory is short.
pub(crate) const OOM_GROUP: &str = "memory.oom.group";

/// The number behind a name in a file of such lines; 0 where it is not.
fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A machine's hierarchies, made of folders.
    fn machine(root: &Path, mounts: &[(&str, &str, &str)]) -> Cgroups {
        let line = |(name, kind, options): &(&str, &str, &str)| {
            format!("x {} {kind} {options} 0 0\n", root.join(name).display())
        };
        Cgroups::parse(&mounts.iter().map(line).collect::<String>())
    }

    fn at(text: &str) -> CgroupPath {
        CgroupPath::parse(text).unwrap()
    }

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mounts = [
            ("memory", "cgroup", "rw,memory"),
            ("cpu", "cgroup", "rw,cpu,cpuacct"),
            ("unified", "cgroup2", "rw"),
            ("tmp", "tmpfs", "rw"),
        ];
        let cgroups = machine(root, &mounts);
        write(root, "memory/d/p/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        write(root, "memory/d/p/c/memory.usage_in_bytes", "5000\n");
        write(root, "memory/d/p/c/memory.stat", "inactive_file 10\ntotal_inactive_file 1000\n");
        write(root, "cpu/d/p/c/cpuacct.usage", "7000\n");
        write(root, "cpu/d/p/c/cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 5000\n");
        assert!(
            cgroups.has_been_short_of_memory(&at("/d/p/c"))
                && !cgroups.has_been_short_of_memory(&at("/d/p/o"))
        );
        let expected = Usage { cpu_us: 7, throttled_us: 5, memory_bytes: 4000 };
        assert_eq!(cgroups.usage(&at("/d/p/c")), Some(expected));
        assert_eq!(cgroups.usage(&at("/d/p/o")), None);
        assert_eq!(cgroups.short_of_memory(&at("/d/p/c")), ShortOfMemory::EndsOne);
    }

    #[test]
    fn version_2_has_one_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let cgroups = machine(root, &[("", "cgroup2", "rw,nosuid")]);
        write(root, "d/p/c/memory.events", "low 0\noom 1\noom_kill 0\noom_group_kill 0\n");
        write(root, "d/p/c/cpu.stat", "usage_usec 12\nuser_usec 3\nnr_throttled 2\nthrottled_usec 34\n");
        write(root, "d/p/c/memory.current", "900\n");
        assert!(!cgroups.has_been_short_of_memory(&at("/d/p/c")));
        let expected = Usage { cpu_us: 12, throttled_us: 34, memory_bytes: 900 };
        assert_eq!(cgroups.usage(&at("/d/p/c")), Some(expected));
        assert_eq!(cgroups.short_of_memory(&at("/d/p/c")), ShortOfMemory::EndsOne);
        write(root, "d/p/c/memory.oom.group", "0\n");
        assert_eq!(cgroups.short_of_memory(&at("/d/p/c")), ShortOfMemory::EndsAll);
        write(root, "d/p/c/cgroup.procs", "12\n34\n");
        write(root, "d/p/cgroup.procs", "12\n");
        write(root, "d/p/c/of/its/own/cgroup.procs", "56\n");
        let found: Vec<i32> = cgroups.processes(&at("/d/p")).into_keys().collect();
        assert_eq!(found, [12, 34, 56]);
    }

    #[test]
    fn only_who_is_there_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let cgroups = machine(folder.path(), &[("", "cgroup2", "rw")]);
        let mut child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        write(folder.path(), "d/p/below/cgroup.procs", &format!("{}\n", child.id()));
        assert!(cgroups.kill(&at("/d/other")).is_empty() && child.try_wait().unwrap().is_none());
        assert_eq!(cgroups.kill(&at("/d/p")).len(), 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn what_is_empty_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let cgroups = machine(root, &[("a", "cgroup", "rw,cpu"), ("b", "cgroup", "rw,memory")]);
        for dir in ["a/d/p/c/of/its/own", "a/d/other", "b/d/p"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        cgroups.remove(&at("/d/p"));
        assert!(!cgroups.exists(&at("/d/p")) && root.join("a/d/other").exists());
        assert!(!root.join("b/d").exists() && root.join("b").exists());
        cgroups.remove(&at("/d/p"));
    }
}
