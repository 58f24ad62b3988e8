//! What the containers of a pod share, from its opening to its end.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use dunlin_edge_node_core::sandbox::{
    Event,
    linux::{LinuxPod, LinuxSpec, ProcessSharing},
};

use super::{Shim, operation::reap};
use crate::{
    cgroup::{CgroupPath, Cgroups},
    clean,
    container::Held,
    init,
    namespaces::Namespaces,
    say, spec,
};

/// A pod that is open.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) spec: LinuxPod,
    pub(super) cgroup: CgroupPath,
    pub(super) namespaces: Namespaces,
    /// Its first process, where its containers see each other's.
    pub(super) init: Option<Held>,
}

impl Pod {
    /// Makes all of it in `dir`.
    ///
    /// # Errors
    /// In words for the pod's events. Something of it may be there.
    fn open(spec: LinuxPod, dir: &Path, cgroups: &Cgroups) -> Result<Self, String> {
        let failed = |what: &'static str| move |error: io::Error| format!("failed to {what}: {error}");
        let cgroup =
            CgroupPath::parse(&spec.cgroup).map_err(|error| format!("`{}`: {error}", spec.cgroup))?;
        // Whoever comes after this shim knows by it what to take away.
        clean::write_cgroup(dir, &cgroup).map_err(failed("write down the pod's cgroup"))?;
        cgroups.make(&cgroup).map_err(failed("make the pod's cgroup"))?;
        let limits = spec::limits(&spec.resources, cgroups.swap(&cgroup), &cgroups.page_sizes(&cgroup));
        cgroups.limit(&cgroup, &limits).map_err(failed("limit the pod's cgroup"))?;
        cgroups.weigh_above(&cgroup);
        fs::write(dir.join(HOSTNAME), format!("{}\n", spec.hostname))
            .map_err(failed("write the pod's host name"))?;
        clean::mount_shared_memory(&dir.join(SHARED_MEMORY))
            .map_err(failed("mount the pod's shared memory"))?;
        let namespaces = Namespaces::new(&spec).map_err(failed("make the pod's namespaces"))?;
        let mut pod = Self { spec, cgroup, namespaces, init: None };
        if pod.spec.processes == ProcessSharing::Pod {
            pod.start_init(dir, cgroups).map_err(failed("share the pod's processes"))?;
        }
        Ok(pod)
    }

    /// Starts the first process of its namespace of processes, which is a new one.
    fn start_init(&mut self, dir: &Path, cgroups: &Cgroups) -> io::Result<()> {
        let cgroup = self.cgroup.child(INIT).map_err(io::Error::other)?;
        cgroups.make(&cgroup)?;
        let others = self.namespaces.without_processes()?;
        let init = init::start(cgroups.doors(&cgroup)?, &others, &dir.join(SHARED_MEMORY))?;
        self.namespaces.hold_processes_of(init.pid)?;
        self.init = Some(init);
        Ok(())
    }
}

impl Shim {
    /// Makes what the pod's containers share; what is there already stays.
    pub(super) fn open_pod(&mut self, spec: LinuxPod) {
        if self.pod.is_none() {
            let opened = if self.machine.is_shutting_down() {
                Err("the pod is being ended".to_owned())
            } else {
                Pod::open(spec, &self.args.dir, &self.cgroups)
            };
            match opened {
                Ok(pod) => self.pod = Some(pod),
                Err(message) => {
                    clean::leftovers(&self.args.dir, &self.runtime, &self.cgroups);
                    self.untold_of_pod = Some(Event::PodFailed { message });
                    return;
                }
            }
        }
        self.tell_pod();
    }

    /// Has it told that the pod is open, if it is.
    pub(super) fn tell_pod(&mut self) {
        self.untold_of_pod =
            self.pod.as_ref().map(|pod| Event::PodOpened { netns: pod.namespaces.network() });
    }

    /// The first process of the pod's processes ended, and all of them with it. Containers that are started from now on need another.
    pub(super) fn end_pod_init(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        if pod.init.as_ref().and_then(reap).is_none() {
            return;
        }
        pod.init = None;
        if let Err(error) = pod.start_init(&self.args.dir, &self.cgroups) {
            say(&format!("the pod's first process ended, and there is no other: {error}"));
        }
        self.begin_postponed();
    }

    /// Puts the files of the pod into its folder that come with each container.
    pub(super) fn write_shared_files(&self, spec: &LinuxSpec) -> Result<(), String> {
        for (name, text) in [(HOSTS, &spec.hosts), (RESOLV_CONF, &spec.resolv_conf)] {
            write_in_place(&self.args.dir.join(name), text.as_bytes())
                .map_err(|error| format!("failed to write /etc/{name}: {error}"))?;
        }
        Ok(())
    }
}

/// Gives a file another text. It stays the same file: containers have it mounted.
fn write_in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut present = Vec::new();
    let most = u64::try_from(text.len()).unwrap_or(u64::MAX).saturating_add(1);
    (&file).take(most).read_to_end(&mut present)?;
    if present == text {
        return Ok(());
    }
    file.set_len(0)?;
    io::Seek::rewind(&mut file)?;
    file.write_all(text)
}

/// The pod's name, for `/etc`.
pub(crate) const HOSTNAME: &str = "hostname";
/// Names and addresses, for `/etc`.
pub(crate) const HOSTS: &str = "hosts";
/// Where names are looked up, for `/etc`.
pub(crate) const RESOLV_CONF: &str = "resolv.conf";
/// The folder of memory that containers share.
pub(crate) const SHARED_MEMORY: &str = "shm";
/// The cgroup of the pod's first process, in the pod's.
const INIT: &str = "init";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn another_text_is_in_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let mut inode = None;
        for text in ["long long ago", "short", "", "short", "shorter"] {
            write_in_place(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            let now = fs::metadata(&path).unwrap().ino();
            assert_eq!(*inode.get_or_insert(now), now);
        }
    }
}
