//! What a container sees where.

use std::path::{Path, PathBuf};

use dunlin_edge_node_core::sandbox::linux::{LinuxSpec, PodNetwork, Propagation, Share};
use dunlin_link::volumes::Access;
use oci_spec::runtime::Mount;

use super::Place;

use crate::{
    cgroup::View,
    shim::{HOSTNAME, HOSTS, RESOLV_CONF},
};

/// The kernel's file systems, the files of the pod, and the mounts that are declared; an outer one before what is mounted inside it.
pub(super) fn build(container: &LinuxSpec, place: &Place<'_>) -> Vec<Mount> {
    let writable = if container.security.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", ("proc", "proc"), &["nosuid", "noexec", "nodev"]),
        mount("/dev", ("tmpfs", "tmpfs"), &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            ("devpts", "devpts"),
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", ("sysfs", "sysfs"), &["nosuid", "noexec", "nodev", writable]),
        mount(CGROUPS, ("cgroup", "cgroup"), &["nosuid", "noexec", "nodev", "relatime", writable]),
    ];
    // Queues are those of the IPC namespace, whoever mounts them.
    mounts.push(mount("/dev/mqueue", ("mqueue", "mqueue"), &["nosuid", "noexec", "nodev"]));
    if place.pod.ipc == Share::Host {
        mounts.push(mount("/dev/shm", ("bind", "/dev/shm"), &["rbind", "nosuid", "noexec", "nodev"]));
    } else {
        mounts.push(bind("/dev/shm", &place.shared.join("shm"), &["rbind", "nosuid", "noexec", "nodev"]));
    }
    if place.cgroup_view == View::Hidden {
        mounts.retain(|mount| mount.destination() != Path::new(CGROUPS));
    }
    // What is declared takes the place of what every container has.
    mounts.retain(|mount| {
        !container.mounts.iter().any(|declared| Path::new(&declared.path) == mount.destination())
    });
    let mut inner: Vec<Mount> = shared_files(container, place).collect();
    inner.extend(container.mounts.iter().zip(place.sources).map(|(declared, source)| {
        let propagation = match declared.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        let options = ["rbind", propagation, access(declared.access), "noexec"];
        // As everywhere, programs of an image that is a volume do not run.
        let options = if declared.layers.is_empty() { &options[..3] } else { &options[..] };
        bind(&declared.path, source, options)
    }));
    let image_volumes = place.image_volumes.iter();
    inner.extend(image_volumes.map(|(path, source)| bind(path, source, &["rbind", "rprivate", "rw"])));
    // Kubernetes lets mounts come in any order. One over the folder of the pod's files comes before them.
    inner.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(inner);
    mounts
}

/// The files that the pod has for its containers; as read-only as the rest of the container's files.
fn shared_files<'a>(container: &'a LinuxSpec, place: &'a Place<'_>) -> impl Iterator<Item = Mount> + 'a {
    let access = if container.security.read_only_root { "ro" } else { "rw" };
    let paths = SHARED_FILES.into_iter().map(|file| (file, format!("/etc/{file}")));
    // On the machine's network its own name is the machine's, too.
    let paths = paths.filter(|(file, _)| *file != HOSTNAME || place.pod.network != PodNetwork::Host);
    let paths = paths.filter(|(_, path)| {
        !container.mounts.iter().any(|declared| Path::new(&declared.path) == Path::new(path))
    });
    paths.map(move |(file, path)| bind(&path, &place.shared.join(file), &["rbind", "rprivate", access]))
}

fn mount(path: &str, (kind, source): (&str, &str), options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(path))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn bind(path: &str, source: &Path, options: &[&str]) -> Mount {
    let mut mount = mount(path, ("bind", ""), options);
    mount.set_source(Some(source.to_owned()));
    mount
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "rw",
        Access::ReadOnly => "ro",
    }
}

const CGROUPS: &str = "/sys/fs/cgroup";

/// Files that the pod has for its containers, in `/etc`.
const SHARED_FILES: [&str; 3] = [HOSTS, HOSTNAME, RESOLV_CONF];
