//! Cgroups that the shim makes itself: the pod's, and those of processes that no runtime starts. Those of containers are the runtime's.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use super::{CgroupPath, Cgroups, Hierarchy, Version};

impl Cgroups {
    /// Makes it in each hierarchy, with those above it.
    ///
    /// # Errors
    /// When it cannot be made in one.
    pub(crate) fn make(&self, cgroup: &CgroupPath) -> io::Result<()> {
        self.own_hierarchies().try_for_each(|hierarchy| hierarchy.make(cgroup))
    }

    /// Files that a process writes `0` into to go there. It has been made.
    ///
    /// # Errors
    /// When one is not there.
    pub(crate) fn doors(&self, cgroup: &CgroupPath) -> io::Result<Vec<File>> {
        let open = |hierarchy: &Hierarchy| {
            OpenOptions::new().write(true).open(hierarchy.dir(cgroup).join("cgroup.procs"))
        };
        self.own_hierarchies().map(open).collect()
    }

    /// Those in which the shim makes something. A new cpuset of version 1 has no processor that could be used; runtimes fill those
    /// that they make.
    fn own_hierarchies(&self) -> impl Iterator<Item = &Hierarchy> {
        self.hierarchies.iter().filter(|hierarchy| !hierarchy.controls("cpuset"))
    }
}

impl Hierarchy {
    fn make(&self, cgroup: &CgroupPath) -> io::Result<()> {
        let dir = self.dir(cgroup);
        let mut made = fs::create_dir_all(&dir);
        for _ in 0..ATTEMPTS_MAX {
            // Another pod has just taken an empty one above away.
            if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                made = fs::create_dir_all(&dir);
            }
        }
        made?;
        if self.version == Version::Two {
            let above = dir.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
            let mut above: Vec<&Path> = above.collect();
            // What is not handed down cannot be handed further down.
            above.reverse();
            above.into_iter().for_each(hand_down);
        }
        Ok(())
    }
}

/// Has what is below the folder controlled, as far as that is possible there.
fn hand_down(dir: &Path) {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
        // One at a time: each may be refused for reasons of its own, and what is missing shows where it is needed.
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// How often another pod's end may come in between.
const ATTEMPTS_MAX: u32 = 100;

/// What containers have limits, weights or accounts of.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];
