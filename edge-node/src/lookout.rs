//! Looks at what the machine has left, and tells the agent; the core decides what that means.
//!
//! A look reads a few small files of the kernel and writes nothing. What pods use is asked only when something is short, or a
//! volume or a container has a bound. Where that takes long, because there are many files, the next look comes later.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use dunlin_edge_node_core::{
    node::{DiskUsage, Look},
    pressure::{DiskAccess, Level, Signals},
};
use dunlin_link::{
    PodUid,
    frame::Message as _,
    limits::HEAD_FRAME_BYTES_MAX,
    usage::{ContainerUsage, ContainerUsages},
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::AgentHost,
    doctor,
    frames::read_frame,
    volumes::{Volumes, usage},
};

/// Who looks.
#[derive(Debug)]
pub(crate) struct Lookout {
    /// Whose disk counts, and where logs are.
    pub(crate) state_dir: PathBuf,
    /// What pods keep.
    pub(crate) volumes: Volumes,
}

impl Lookout {
    /// Adds what pods use.
    async fn look_at_pods(&self, host: &AgentHost, look: &mut Look) {
        look.memory = memory_of_containers(host).await;
        let (logs, pods) = (self.state_dir.join("logs"), self.state_dir.join("pods"));
        let volumes = self.volumes.clone();
        let looked =
            spawn_blocking(move || (bytes_of_logs(&logs), bytes_of_layers(&pods), volumes.usage())).await;
        (look.logs, look.layers, look.volumes) = looked.unwrap_or_default();
    }

    /// Looks once in [`LOOK_INTERVAL`] until `shutdown`.
    pub(crate) async fn run(self, host: AgentHost, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            let signals = signals(&self.state_dir);
            let mut look = Look { signals, ..Look::default() };
            // An agent that is shutting down needs no looks.
            let Ok(is_short) = host.is_short(signals).await else { continue };
            let begun = Instant::now();
            if is_short {
                self.look_at_pods(&host, &mut look).await;
            }
            let pause = pause_after(begun.elapsed());
            host.looked(look).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// How long nobody looks after pods were looked at for so long, beside the usual interval.
fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(PAUSE_FACTOR).saturating_sub(LOOK_INTERVAL).min(PAUSE_MAX)
}

/// What there is now.
fn signals(state_dir: &Path) -> Signals {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = memory(&text("/proc/meminfo"));
    let group = group_memory(&text(GROUP_MAX), &text(GROUP_CURRENT), &text(GROUP_STAT));
    let (disk, inodes) = disk(state_dir);
    Signals {
        memory: group.filter(|group| group.available < machine.available).unwrap_or(machine),
        disk,
        inodes,
        pids: pids(&text("/proc/sys/kernel/pid_max"), &text("/proc/loadavg")),
        disk_access: if doctor::is_read_only(state_dir) {
            DiskAccess::ReadOnly
        } else {
            DiskAccess::Writable
        },
    }
}

fn memory(meminfo: &str) -> Level {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    match (bytes("MemAvailable:"), bytes("MemTotal:")) {
        (Some(available), Some(total)) => Level { available, total },
        _ => Level::default(),
    }
}

/// What the control group leaves, where it has a bound: caches that can be dropped count as free.
fn group_memory(max: &str, current: &str, stat: &str) -> Option<Level> {
    let total = max.trim().parse::<u64>().ok()?;
    let used = current.trim().parse::<u64>().ok()?;
    let cached =
        stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
    let used = used.saturating_sub(cached.unwrap_or(0));
    Some(Level { available: total.saturating_sub(used), total })
}

fn disk(dir: &Path) -> (Level, Level) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return Default::default() };
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let disk = Level { available: bytes(stat.f_bavail), total: bytes(stat.f_blocks) };
    // Some file systems make files as they need them, and count none.
    (disk, Level { available: stat.f_favail, total: stat.f_files })
}

/// From the largest id there is, and `/proc/loadavg`, whose fourth field is running and existing threads.
fn pids(max: &str, loadavg: &str) -> Level {
    let total = max.trim().parse::<u64>().unwrap_or(0);
    let used =
        loadavg.split_whitespace().nth(3).and_then(|field| field.split_once('/')?.1.parse::<u64>().ok());
    match used {
        Some(used) if total > 0 => Level { available: total.saturating_sub(used), total },
        _ => Level::default(),
    }
}

/// As far as sandboxes tell.
async fn memory_of_containers(host: &AgentHost) -> Vec<ContainerUsage> {
    let mut containers = Vec::new();
    for mut stream in host.open_usage_streams().await.unwrap_or_default() {
        while containers.len() < CONTAINERS_MAX
            && let Ok(Some(frame)) = read_frame(&mut stream, HEAD_FRAME_BYTES_MAX).await
        {
            if frame.kind != ContainerUsages::KIND {
                continue;
            }
            let Ok(usages) = frame.decode::<ContainerUsages>() else { break };
            containers.extend(usages.containers);
        }
    }
    containers
}

/// The bytes of the logs of each container; the name of a pod's folder ends in the pod's uid.
fn bytes_of_logs(dir: &Path) -> Vec<DiskUsage> {
    let of_pod = |(name, pod): (String, PathBuf)| {
        let uid = PodUid::new(name.rsplit('_').next().unwrap_or_default());
        entries(&pod).map(move |(container, path)| {
            let files = fs::read_dir(path).into_iter().flatten().flatten();
            let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
            DiskUsage { uid: uid.clone(), container, bytes }
        })
    };
    entries(dir).flat_map(of_pod).collect()
}

/// What Linux containers have written into their own files: the uppermost layer of each, by its id. A container whose layers are copied,
/// for want of overlayfs, has none.
fn bytes_of_layers(dir: &Path) -> Vec<DiskUsage> {
    let of_pod = |(uid, pod): (String, PathBuf)| {
        entries(&pod.join("containers")).map(move |(container, path)| DiskUsage {
            uid: PodUid::new(uid.clone()),
            container,
            bytes: usage::bytes(&path.join("upper")),
        })
    };
    entries(dir).flat_map(of_pod).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// As often as a kubelet looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looking at what pods take of the disk is a twentieth of the time at most,
const PAUSE_FACTOR: u32 = 19;

/// unless one look takes longer than this lets it wait: what runs short has to be seen.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// More containers than a machine can run are not listened to.
const CONTAINERS_MAX: usize = 16_384;

const GROUP_MAX: &str = "/sys/fs/cgroup/memory.max";
const GROUP_CURRENT: &str = "/sys/fs/cgroup/memory.current";
const GROUP_STAT: &str = "/sys/fs/cgroup/memory.stat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let level = |available, total| Level { available, total };
        assert_eq!(memory("MemTotal: 4 kB\nMemAvailable:  2 kB\n"), level(2048, 4096));
        assert_eq!(memory("MemTotal: 4 kB\n"), Level::default());
        assert_eq!(group_memory("1000\n", "700\n", "anon 5\ninactive_file 100\n"), Some(level(400, 1000)));
        assert_eq!(group_memory("max\n", "700\n", ""), None);
        assert_eq!(pids("32768\n", "0.1 0.2 0.3 2/768 4242\n"), level(32_000, 32_768));
        assert_eq!(pids("", ""), Level::default());
    }

    #[test]
    fn logs_are_counted_by_pod() {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("ns_p_u-1").join("c");
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("0.log"), [0; 7]).unwrap();
        fs::write(container.join("1.log"), [0; 5]).unwrap();
        let used = |container: &str, bytes| DiskUsage {
            uid: PodUid::new("u-1"),
            container: container.into(),
            bytes,
        };
        assert_eq!(bytes_of_logs(dir.path()), [used("c", 12)]);
        assert_eq!(bytes_of_logs(&dir.path().join("none")), []);
    }

    #[test]
    fn what_a_container_writes_is_counted_by_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("u-1/containers/run-7");
        for folder in ["upper/deep", "rootfs"] {
            fs::create_dir_all(container.join(folder)).unwrap();
            fs::write(container.join(folder).join("file"), vec![1; 300_000]).unwrap();
        }
        let [used] = &bytes_of_layers(dir.path())[..] else { panic!("one container") };
        assert_eq!((used.uid.as_str(), &*used.container), ("u-1", "run-7"));
        assert!((300_000..400_000).contains(&used.bytes), "{used:?}");
    }

    #[test]
    fn looks_that_take_long_come_less_often() {
        let check = |took_ms, expected_ms| {
            assert_eq!(pause_after(Duration::from_millis(took_ms)), Duration::from_millis(expected_ms));
        };
        check(500, 0);
        check(1_000, 9_000);
        check(100_000, 60_000);
    }

    #[test]
    fn this_machine_has_something_left() {
        let dir = tempfile::tempdir().unwrap();
        let Signals { memory, disk, pids, disk_access, .. } = signals(dir.path());
        assert_eq!(disk_access, DiskAccess::Writable);
        for level in [memory, disk, pids] {
            assert!(level.available > 0 && level.available <= level.total, "{level:?}");
        }
    }
}
