//! What the machine is and has: read once when the agent starts.

use std::{fs, io, net::UdpSocket, path::Path};

use dunlin_link::{
    Bytes, MilliCpu,
    status::{NodeFacts, NodeResources},
};
use rustix::process::{Resource, getrlimit};

/// What an operator says about a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) taints: Vec<(String, String, String)>,
    /// Kept from pods.
    pub(crate) reserved: NodeResources,
    /// Upper bound on pods, in place of what the kernel allows.
    pub(crate) pods_max: Option<u32>,
    /// Addresses by which other machines reach the node, in place of the detected one.
    pub(crate) addresses: Vec<String>,
}

/// Reads the facts of this machine; `state_dir` tells which disk counts.
///
/// # Errors
/// When the kernel does not tell what it must.
pub(crate) fn read(state_dir: &Path, declared: &Declared, address_capacity: u32) -> io::Result<NodeFacts> {
    let capacity = NodeResources {
        cpu: MilliCpu(std::thread::available_parallelism()?.get() as u64 * 1000),
        memory: memory()?,
        ephemeral_storage: disk(state_dir)?,
        pods: declared.pods_max.unwrap_or_else(pods_allowed).min(address_capacity),
    };
    let reserved = declared.reserved;
    let huge_pages = huge_pages(Path::new(HUGE_PAGES));
    let in_huge_pages = huge_pages.iter().map(|(_, bytes)| bytes.0).sum::<u64>();
    let uname = rustix::system::uname();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let addresses =
        if declared.addresses.is_empty() { detected_address() } else { declared.addresses.clone() };
    Ok(NodeFacts {
        architecture: architecture().to_owned(),
        operating_system: "linux".to_owned(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        os_image: os_image(&text("/etc/os-release")),
        machine_id: text("/etc/machine-id"),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        runtime_version: String::new(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        addresses,
        capacity,
        allocatable: NodeResources {
            cpu: MilliCpu(capacity.cpu.0.saturating_sub(reserved.cpu.0)),
            // What is in large pages nobody has otherwise.
            memory: Bytes(capacity.memory.0.saturating_sub(reserved.memory.0).saturating_sub(in_huge_pages)),
            ephemeral_storage: Bytes(
                capacity.ephemeral_storage.0.saturating_sub(reserved.ephemeral_storage.0),
            ),
            pods: capacity.pods.saturating_sub(reserved.pods),
        },
        labels: declared.labels.clone(),
        taints: declared.taints.clone(),
        containers: None,
        huge_pages,
    })
}

/// The lowest port that this process may listen on.
pub(crate) fn first_port() -> u16 {
    if rustix::process::geteuid().is_root() {
        return 1;
    }
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// `GOARCH`.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn memory() -> io::Result<Bytes> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.and_then(|number| number.trim().parse::<u64>().ok());
    let machine = kibibytes.ok_or_else(|| io::Error::other("/proc/meminfo holds no MemTotal"))? * 1024;
    // A container or a unit may be allowed less than the machine has.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Ok(Bytes(limit.map_or(machine, |limit| limit.min(machine))))
}

/// The large pages that the machine keeps, by size: a folder each, named by kibibytes.
fn huge_pages(dir: &Path) -> Vec<(Bytes, Bytes)> {
    let sizes = fs::read_dir(dir).into_iter().flatten().flatten();
    let pages = sizes.filter_map(|size| {
        let name = size.file_name();
        let kibibytes = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?;
        let page = kibibytes.parse::<u64>().ok()?.checked_mul(1024)?;
        let count = fs::read_to_string(size.path().join("nr_hugepages")).ok()?;
        Some((Bytes(page), Bytes(page.checked_mul(count.trim().parse().ok()?)?)))
    });
    let mut pages: Vec<_> = pages.collect();
    pages.sort();
    pages
}

fn disk(state_dir: &Path) -> io::Result<Bytes> {
    let stat = rustix::fs::statvfs(state_dir)?;
    Ok(Bytes(stat.f_blocks.saturating_mul(stat.f_frsize)))
}

/// The number of WASM pods that the kernel's limits on mappings and open files allow.
fn pods_allowed() -> u32 {
    let maps = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let maps = maps.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(65_530);
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let by_maps = maps.saturating_sub(MAPS_OWN) / MAPS_PER_POD;
    let by_files = files.saturating_sub(FILES_OWN) / FILES_PER_POD;
    u32::try_from(by_maps.min(by_files)).unwrap_or(u32::MAX)
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The address this machine sends from; nothing is sent to find it out.
fn detected_address() -> Vec<String> {
    let address = UdpSocket::bind(("0.0.0.0", 0)).and_then(|socket| {
        socket.connect(("192.0.2.1", 9))?;
        socket.local_addr()
    });
    let address = address.map(|address| address.ip().to_string()).ok();
    vec![address.filter(|address| address != "0.0.0.0").unwrap_or_else(|| "127.0.0.1".to_owned())]
}

/// Where the kernel tells of large pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

/// Mappings of one running guest: memory with its guards, table, stack and image, with room.
const MAPS_PER_POD: u64 = 8;
/// Mappings of the runner itself and of modules.
const MAPS_OWN: u64 = 2_000;
/// Open files of one pod: log, listener, and a few connections.
const FILES_PER_POD: u64 = 4;
/// Open files of the runner itself.
const FILES_OWN: u64 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_told_by_size() {
        let dir = tempfile::tempdir().unwrap();
        for (name, count) in
            [("hugepages-2048kB", "8\n"), ("hugepages-1048576kB", "0\n"), ("hugepages-64kB", "x")]
        {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("nr_hugepages"), count).unwrap();
        }
        let expected = [(Bytes(2 << 20), Bytes(16 << 20)), (Bytes(1 << 30), Bytes(0))];
        assert_eq!(huge_pages(dir.path()), expected);
        assert_eq!(huge_pages(&dir.path().join("none")), []);
    }

    #[test]
    fn this_machine_has_facts() {
        let dir = tempfile::tempdir().unwrap();
        let reserved = NodeResources { cpu: MilliCpu(100), ..NodeResources::default() };
        let declared = Declared { reserved, ..Declared::default() };
        let facts = read(dir.path(), &declared, 50).unwrap();
        assert!(facts.capacity.memory.0 > 1 << 20 && facts.capacity.ephemeral_storage.0 > 1 << 20);
        assert_eq!(facts.allocatable.cpu.0, facts.capacity.cpu.0 - 100);
        assert_eq!(facts.capacity.pods, 50);
        assert_eq!(facts.addresses.len(), 1);
        assert!(!facts.kernel_version.is_empty() && !facts.os_image.is_empty());
    }
}
