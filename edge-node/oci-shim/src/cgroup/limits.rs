//! Limits and weights of the cgroups that the shim makes: what the containers of a pod have together, and what pods of one quality of
//! service weigh against others. Those of a container itself are the runtime's.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use oci_spec::runtime::LinuxResources;

use super::{CgroupPath, Cgroups, Hierarchy, Version};

impl Cgroups {
    /// Sets what the processes in the cgroup may use together. What the machine does not count has no limit.
    ///
    /// # Errors
    /// When the kernel refuses something.
    pub(crate) fn limit(&self, cgroup: &CgroupPath, limits: &LinuxResources) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| {
            let dir = hierarchy.dir(cgroup);
            let files = match hierarchy.version {
                Version::One => of_version_one(limits),
                Version::Two => of_version_two(limits),
            };
            files.into_iter().try_for_each(|(file, text)| write_if_there(&dir.join(file), &text))
        })
    }

    /// Takes the limit of memory away from all in the cgroup together; those in it keep their own.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(crate) fn lift_memory_limit(&self, cgroup: &CgroupPath) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| match hierarchy.version {
            Version::One => write_if_there(&hierarchy.dir(cgroup).join(MEMORY_LIMIT), "-1"),
            Version::Two => write_if_there(&hierarchy.dir(cgroup).join(MEMORY_MAX), "max"),
        })
    }

    /// Gives the cgroups above a pod's the weight of all in them together, as a node's agent of Kubernetes does: the pods that ask for
    /// nothing weigh next to nothing, however many they are. All of ours together weigh what the machine's processors do.
    pub(crate) fn weigh_above(&self, cgroup: &CgroupPath) {
        for hierarchy in &self.hierarchies {
            let Some(weight) = Weight::of(hierarchy) else { continue };
            for dir in hierarchy.dir(cgroup).ancestors().skip(1).take_while(|dir| *dir != hierarchy.root) {
                let shares = if dir.parent() == Some(&hierarchy.root) {
                    SHARES_OF_PROCESSOR
                        * thread::available_parallelism().map_or(1, |number| number.get() as u64)
                } else if dir.file_name().is_some_and(|name| name == BEST_EFFORT) {
                    SHARES_MIN
                } else {
                    weight.of_all_in(dir)
                };
                // Where it fails, pods share as if they asked for the same.
                let _ = write_if_there(&dir.join(weight.file()), &weight.text(shares));
            }
        }
    }

    /// The sizes of large pages that are counted in this cgroup, as its files name them: `2MB`.
    pub(crate) fn page_sizes(&self, cgroup: &CgroupPath) -> Vec<String> {
        let mut sizes: Vec<String> = self.dirs(cgroup).flat_map(|dir| page_sizes_of(&dir)).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

fn page_sizes_of(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let size = |name: String| {
        let size = name.strip_prefix("hugetlb.")?.split_once('.')?;
        matches!(size.1, "limit_in_bytes" | "max").then(|| size.0.to_owned())
    };
    names.filter_map(size).collect()
}

fn of_version_one(limits: &LinuxResources) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut add = |file: &str, value: String| files.push((file.to_owned(), value));
    if let Some(cpu) = limits.cpu() {
        cpu.shares().iter().for_each(|shares| add("cpu.shares", shares.to_string()));
        cpu.period().iter().for_each(|period| add("cpu.cfs_period_us", period.to_string()));
        cpu.quota().iter().for_each(|quota| add("cpu.cfs_quota_us", quota.to_string()));
    }
    if let Some(limit) = limits.memory().as_ref().and_then(|memory| memory.limit()) {
        add(MEMORY_LIMIT, limit.to_string());
    }
    if let Some(pids) = limits.pids() {
        add("pids.max", pids.limit().to_string());
    }
    for limit in limits.hugepage_limits().iter().flatten() {
        add(&format!("hugetlb.{}.limit_in_bytes", limit.page_size()), limit.limit().to_string());
    }
    files
}

fn of_version_two(limits: &LinuxResources) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut add = |file: &str, value: String| files.push((file.to_owned(), value));
    if let Some(cpu) = limits.cpu() {
        cpu.shares().iter().for_each(|shares| add("cpu.weight", weight(*shares).to_string()));
        if let (Some(quota), Some(period)) = (cpu.quota(), cpu.period()) {
            add("cpu.max", format!("{quota} {period}"));
        }
    }
    if let Some(limit) = limits.memory().as_ref().and_then(|memory| memory.limit()) {
        add(MEMORY_MAX, limit.to_string());
    }
    if let Some(pids) = limits.pids() {
        add("pids.max", pids.limit().to_string());
    }
    for limit in limits.hugepage_limits().iter().flatten() {
        add(&format!("hugetlb.{}.max", limit.page_size()), limit.limit().to_string());
    }
    files
}

/// How a hierarchy says what a cgroup weighs.
#[derive(Clone, Copy, Debug)]
enum Weight {
    Shares,
    Weight,
}

impl Weight {
    fn of(hierarchy: &Hierarchy) -> Option<Self> {
        match hierarchy.version {
            Version::One => hierarchy.controls("cpu").then_some(Self::Shares),
            Version::Two => Some(Self::Weight),
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Shares => "cpu.shares",
            Self::Weight => "cpu.weight",
        }
    }

    fn text(self, shares: u64) -> String {
        match self {
            Self::Shares => shares.min(SHARES_MAX).to_string(),
            Self::Weight => weight(shares).to_string(),
        }
    }

    /// What the cgroups in a folder weigh together.
    fn of_all_in(self, dir: &Path) -> u64 {
        let folders: Vec<PathBuf> = super::end::folders(dir);
        let own = folders.iter().filter_map(|folder| {
            let text = fs::read_to_string(folder.join(self.file())).ok()?;
            let value: u64 = text.trim().parse().ok()?;
            Some(match self {
                Self::Shares => value,
                Self::Weight => shares(value),
            })
        });
        own.fold(0, u64::saturating_add).max(SHARES_MIN)
    }
}

/// Shares of version 1 as version 2 has weights: from 2 to 262144, as 1 to 10000.
const fn weight(shares: u64) -> u64 {
    let shares = if shares < SHARES_MIN { SHARES_MIN } else { shares };
    let shares = if shares > SHARES_MAX { SHARES_MAX } else { shares };
    1 + (shares - SHARES_MIN) * (WEIGHT_MAX - 1) / (SHARES_MAX - SHARES_MIN)
}

/// And back: the least shares that weigh so much, so that what is there and back again is the same.
const fn shares(weight: u64) -> u64 {
    SHARES_MIN + (weight.saturating_sub(1) * (SHARES_MAX - SHARES_MIN)).div_ceil(WEIGHT_MAX - 1)
}

/// Writes into a file of the kernel's; one that is not there counts nothing.
fn write_if_there(file: &Path, text: &str) -> io::Result<()> {
    let written = fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
        Ok(()) => Ok(()),
    }
}

/// The limit of memory in version 1, and in version 2.
const MEMORY_LIMIT: &str = "memory.limit_in_bytes";
const MEMORY_MAX: &str = "memory.max";
/// The folder of pods that ask for nothing.
const BEST_EFFORT: &str = "besteffort";
/// What a whole processor weighs, and the least and the most that the kernel takes.
const SHARES_OF_PROCESSOR: u64 = 1024;
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
/// The most in version 2.
const WEIGHT_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::sandbox::linux::LinuxResources as Wanted;
    use dunlin_link::{Bytes, MilliCpu};

    use super::*;
    use crate::{cgroup::Swap, spec::limits};

    /// Hierarchies made of folders: version 1 has one for each controller.
    fn machine(root: &Path, version: Version) -> Cgroups {
        let hierarchy = |name: &str| Hierarchy {
            root: root.join(name),
            version,
            controllers: if version == Version::One { vec![name.to_owned()] } else { Vec::new() },
        };
        let names: &[&str] = if version == Version::One { &["cpu", "memory", "pids"] } else { &["all"] };
        Cgroups { hierarchies: names.iter().map(|name| hierarchy(name)).collect() }
    }

    fn at(text: &str) -> CgroupPath {
        CgroupPath::parse(text).unwrap()
    }

    fn empty_files(dir: &Path, files: &[&str]) {
        fs::create_dir_all(dir).unwrap();
        files.iter().for_each(|file| fs::write(dir.join(file), "").unwrap());
    }

    fn wanted() -> Wanted {
        Wanted {
            cpu_request: Some(MilliCpu(1500)),
            cpu_limit: Some(MilliCpu(2000)),
            memory_limit: Some(Bytes(1 << 20)),
            pids_limit: Some(7),
            hugepages: vec![(Bytes(2 << 20), Bytes(4 << 20))],
            ..Wanted::default()
        }
    }

    #[test]
    fn limits_are_written_in_the_words_of_each_version() {
        let sizes = ["2MB".to_owned(), "1GB".to_owned()];
        let limits = limits(&wanted(), Swap::Counted, &sizes);
        let folder = tempfile::tempdir().unwrap();
        let (root, pod) = (folder.path(), at("/d/p"));
        let check = |file: &str, expected: &str| {
            assert_eq!(fs::read_to_string(root.join(file)).unwrap(), expected, "{file}")
        };
        let one = machine(root, Version::One);
        empty_files(&root.join("cpu/d/p"), &["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"]);
        empty_files(&root.join("memory/d/p"), &["memory.limit_in_bytes"]);
        empty_files(&root.join("pids/d/p"), &["pids.max"]);
        one.limit(&pod, &limits).unwrap();
        check("cpu/d/p/cpu.shares", "1536");
        check("cpu/d/p/cpu.cfs_quota_us", "200000");
        check("memory/d/p/memory.limit_in_bytes", "1048576");
        check("pids/d/p/pids.max", "7");
        let two = machine(root, Version::Two);
        let files = ["cpu.weight", "cpu.max", "memory.max", "pids.max", "hugetlb.2MB.max", "hugetlb.1GB.max"];
        empty_files(&root.join("all/d/p"), &files);
        two.limit(&pod, &limits).unwrap();
        check("all/d/p/cpu.weight", "59");
        check("all/d/p/cpu.max", "200000 100000");
        check("all/d/p/memory.max", "1048576");
        check("all/d/p/hugetlb.2MB.max", "4194304");
        check("all/d/p/hugetlb.1GB.max", "0");
        fs::write(root.join("all/d/p/memory.max"), "").unwrap();
        two.lift_memory_limit(&pod).unwrap();
        check("all/d/p/memory.max", "max");
        assert_eq!(two.page_sizes(&pod), ["1GB", "2MB"]);
        assert_eq!(one.page_sizes(&pod), [""; 0]);
    }

    #[test]
    fn what_is_above_weighs_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (root, cgroups) = (folder.path(), machine(folder.path(), Version::One));
        for (dir, shares) in
            [("burstable/p1", "512"), ("burstable/p2", "1000"), ("besteffort/p3", "2"), ("guaranteed", "9")]
        {
            empty_files(&root.join("cpu/d").join(dir), &[]);
            fs::write(root.join("cpu/d").join(dir).join("cpu.shares"), shares).unwrap();
        }
        for dir in ["", "burstable", "besteffort"] {
            fs::write(root.join("cpu/d").join(dir).join("cpu.shares"), "").unwrap();
        }
        let check = |dir: &str, expected: u64| {
            assert_eq!(
                fs::read_to_string(root.join("cpu").join(dir).join("cpu.shares")).unwrap(),
                expected.to_string()
            );
        };
        cgroups.weigh_above(&at("/d/burstable/p1"));
        check("d/burstable", 1512);
        check("d", 1024 * thread::available_parallelism().unwrap().get() as u64);
        cgroups.weigh_above(&at("/d/besteffort/p3"));
        check("d/besteffort", 2);
        check("d/guaranteed", 9);
    }

    #[test]
    fn weights_are_shares_on_another_scale() {
        for (shares_of_one, weight_of_two) in
            [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(shares_of_one), weight_of_two);
        }
        for weight_of_two in 1..=10_000 {
            assert_eq!(weight(shares(weight_of_two)), weight_of_two);
        }
    }
}
