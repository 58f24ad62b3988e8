//! Settings of the kernel that a pod has for itself.

use std::{fs, io, path::PathBuf};

use dunlin_edge_node_core::sandbox::linux::{LinuxPod, PodNetwork, Share};

/// Where the kernel has them. Which network's and which IPC's are found there depends on who looks.
const ROOT: &str = "/proc/sys";

/// Sets what the pod asks for. This process is in the pod's namespaces.
///
/// # Errors
/// When one is not the pod's own, or the kernel refuses it.
pub(crate) fn set(pod: &LinuxPod) -> io::Result<()> {
    for (name, value) in &pod.sysctls {
        let failed = |why: String| io::Error::other(format!("failed to set the sysctl `{name}`: {why}"));
        let path = path(name, pod).map_err(|why| failed(why.to_owned()))?;
        fs::write(PathBuf::from(ROOT).join(path), value).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// Where it is, if it changes nothing but the pod: any other would be the machine's.
fn path(name: &str, pod: &LinuxPod) -> Result<String, &'static str> {
    let path = slashed(name);
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("it is no name of a sysctl");
    }
    if path.starts_with("net/") {
        return if pod.network == PodNetwork::Own { Ok(path) } else { Err("the network is the machine's") };
    }
    if OF_IPC.contains(&path.as_str()) || path.starts_with(OF_QUEUES) {
        return if pod.ipc == Share::Own { Ok(path) } else { Err("the IPC namespace is the machine's") };
    }
    if path == DOMAIN_NAME {
        let is_own = pod.network == PodNetwork::Own;
        return if is_own { Ok(path) } else { Err("the host name is the machine's") };
    }
    Err("it is the machine's, not a pod's")
}

/// Both ways to write a name are known: parts divided by dots or by slashes, with the other one inside of parts.
fn slashed(name: &str) -> String {
    let is_dotted = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('.'));
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    if is_dotted { name.chars().map(swap).collect() } else { name.to_owned() }
}

/// What belongs to an IPC namespace.
const OF_IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];
/// And what of message queues does.
const OF_QUEUES: &str = "fs/mqueue/";
/// What belongs to the namespace of names; the host name itself is the pod's.
const DOMAIN_NAME: &str = "kernel/domainname";

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::sandbox::linux::{LinuxResources, ProcessSharing};

    use super::*;

    fn pod(network: PodNetwork, ipc: Share) -> LinuxPod {
        LinuxPod {
            hostname: "p".into(),
            network,
            ipc,
            processes: ProcessSharing::Container,
            cgroup: "/dunlin/podu".into(),
            resources: LinuxResources::default(),
            sysctls: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_the_pods_own_is_set() {
        let own = pod(PodNetwork::Own, Share::Own);
        let check = |name: &str, expected: Result<&str, &'static str>| {
            assert_eq!(path(name, &own).as_deref(), expected.as_ref().map(|path| *path), "{name}");
        };
        check("net.ipv4.ip_local_port_range", Ok("net/ipv4/ip_local_port_range"));
        check("net/ipv4/conf/eth0.1/rp_filter", Ok("net/ipv4/conf/eth0.1/rp_filter"));
        check("net.ipv4.conf.eth0/1.rp_filter", Ok("net/ipv4/conf/eth0.1/rp_filter"));
        check("kernel.shm_rmid_forced", Ok("kernel/shm_rmid_forced"));
        check("fs.mqueue.msg_max", Ok("fs/mqueue/msg_max"));
        let machines = Err("it is the machine's, not a pod's");
        for name in ["kernel.panic", "vm.swappiness", "kernel.hostname", "fs.file-max", "kernel.shm"] {
            check(name, machines);
        }
        let none = Err("it is no name of a sysctl");
        for name in ["net/../kernel/panic", "", "net//x", "net.ipv4//.//.panic", "/kernel/panic"] {
            check(name, none);
        }
    }

    #[test]
    fn what_is_shared_with_the_machine_is_left_alone() {
        let shared = pod(PodNetwork::Host, Share::Host);
        for name in ["net.core.somaxconn", "kernel.sem", "fs.mqueue.msg_max", "kernel.domainname"] {
            assert!(path(name, &shared).unwrap_err().ends_with("is the machine's"), "{name}");
        }
    }
}
