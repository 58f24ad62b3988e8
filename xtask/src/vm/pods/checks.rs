//! What is looked at, in this order: the last one wants all to be gone.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::cluster::Cluster;
use crate::step::output;

/// One thing that must be so.
pub(super) type Check = fn(&mut Cluster) -> Result<()>;

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("doctor_finds_what_containers_need", doctor),
    ("a_container_sees_its_limits", limits),
    ("classes_weigh_what_is_in_them", weights),
    ("short_of_memory_is_told_and_ends_all", memory),
    ("held_back_time_is_told", throttled),
    ("a_pod_answers_on_its_address_and_on_a_port_of_the_machine", network),
    ("commands_run_and_a_restart_is_counted", restart),
    ("a_profile_of_apparmor_is_applied", apparmor),
    ("the_usual_profile_confines_by_default", apparmor_by_default),
    ("large_pages_are_a_volume", large_pages),
    ("the_next_agent_adopts", adopted),
    ("a_killed_shim_is_replaced", shim),
    ("nothing_is_left", leftovers),
];

fn doctor(cluster: &mut Cluster) -> Result<()> {
    let said = cluster.say(&["doctor", "--state-dir", &cluster.state().display().to_string()])?;
    for good in [
        "memory cgroup",
        "cpu cgroup",
        "pids cgroup",
        "overlayfs",
        "namespaces",
        "seccomp",
        "nf_tables",
        "AppArmor",
    ] {
        let line = said.lines().find(|line| line.contains(good)).unwrap_or_default();
        ensure!(line.contains("ok"), "{good}: {said}");
    }
    Ok(())
}

fn limits(cluster: &mut Cluster) -> Result<()> {
    let resources =
        "    resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi}}\n";
    let line =
        "cd /sys/fs/cgroup; cat memory.max cpu.max memory.oom.group memory.swap.max; cat /proc/self/cgroup";
    cluster.pod("limits", "  restartPolicy: Never\n", resources, line)?;
    let said = cluster.ended("limits")?;
    ensure!(said == "67108864\n50000 100000\n1\n0\n0::/", "{said}");
    Ok(())
}

fn weights(cluster: &mut Cluster) -> Result<()> {
    cluster.pod("burstable", "", "    resources: {requests: {cpu: 500m}}\n", "exec sleep 1000000")?;
    cluster.pod("besteffort", "", "", "exec sleep 1000000")?;
    cluster.becomes("burstable", "phase", "Running")?;
    cluster.becomes("besteffort", "phase", "Running")?;
    let weight = |class: &str| {
        let folder = Path::new(CGROUPS).join(class);
        fs::read_to_string(folder.join("cpu.weight")).with_context(|| folder.display().to_string())
    };
    // 512 shares of version 1.
    ensure!(weight("burstable")?.trim() == "20", "burstable {}", weight("burstable")?);
    ensure!(weight("besteffort")?.trim() == "1", "besteffort {}", weight("besteffort")?);
    cluster.say(&["delete", "pod", "burstable", "besteffort"]).map(drop)
}

fn memory(cluster: &mut Cluster) -> Result<()> {
    let line = "(x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x)); echo survived; sleep 1000000";
    cluster.pod("hungry", "  restartPolicy: Never\n", "    resources: {limits: {memory: 24Mi}}\n", line)?;
    cluster.becomes("hungry", "phase", "Failed")?;
    let ended = cluster.status("hungry", "containerStatuses[0].state.terminated")?;
    ensure!(ended.contains("OOMKilled") && ended.contains("137"), "{ended}");
    let said = cluster.say(&["logs", "hungry"])?;
    ensure!(!said.contains("survived"), "{said}");
    Ok(())
}

fn throttled(cluster: &mut Cluster) -> Result<()> {
    let resources = "    resources: {limits: {cpu: 100m, memory: 32Mi}}\n";
    cluster.pod("busy", "", resources, "while true; do true; done")?;
    cluster.becomes("busy", "phase", "Running")?;
    // The column is there only where something was held back.
    cluster.until("throttled time", || cluster.says(&["top", "pod", "busy"], "THROTTLED"))?;
    cluster.say(&["delete", "pod", "busy"]).map(drop)
}

fn network(cluster: &mut Cluster) -> Result<()> {
    let ports = "    ports: [{containerPort: 80, hostPort: 8088}]\n";
    cluster.pod("web", "", ports, "echo tide > /tmp/index.html; exec httpd -f -p 80 -h /tmp")?;
    cluster.becomes("web", "phase", "Running")?;
    let address = cluster.status("web", "podIP")?;
    for place in [format!("{address}:80"), "127.0.0.1:8088".to_owned()] {
        cluster.until("an answer", || {
            let said = get(&place)?;
            if said.ends_with("\r\n\r\ntide\n") { Ok(()) } else { bail!("{place} says {said}") }
        })?;
    }
    let rules = output(Command::new("nft").args(["list", "table", "ip", "dunlin0"]))?;
    ensure!(rules.contains("masquerade") && rules.contains("8088"), "{rules}");
    cluster.say(&["delete", "pod", "web"]).map(drop)
}

fn get(place: &str) -> Result<String> {
    let mut stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

fn restart(cluster: &mut Cluster) -> Result<()> {
    cluster.pod("again", "", "", "echo run; exec sleep 1000000")?;
    cluster.becomes("again", "phase", "Running")?;
    ensure!(
        cluster.say(&["exec", "again", "--", "cat", "/proc/1/comm"])? == "sleep",
        "another first process"
    );
    // What ends the first process from inside is a signal that it has a handler for or none that the kernel keeps from it.
    let container = cgroup_of(cluster, "again")?;
    let first = fs::read_to_string(container.join("cgroup.procs"))?;
    output(Command::new("/bin/busybox").args(["kill", "-9", first.lines().next().unwrap_or_default()]))?;
    cluster.becomes("again", "containerStatuses[0].restartCount", "1")?;
    cluster.becomes("again", "containerStatuses[0].state", "running")?;
    ensure!(cluster.say(&["logs", "again", "--previous"])? == "run", "no log of the earlier run");
    cluster.say(&["delete", "pod", "again"]).map(drop)
}

fn apparmor(cluster: &mut Cluster) -> Result<()> {
    let profile = cluster.state().with_extension("profile");
    fs::write(
        &profile,
        "profile dunlin-pods flags=(attach_disconnected,mediate_deleted) {\n  file,\n  capability,\n  signal,\n  deny /tmp/denied w,\n}\n",
    )?;
    output(Command::new("apparmor_parser").args(["--replace", "--skip-cache"]).arg(&profile))?;
    let security =
        "    securityContext: {appArmorProfile: {type: Localhost, localhostProfile: dunlin-pods}}\n";
    let line = "cat /proc/self/attr/current; (echo x > /tmp/denied) 2>/dev/null || echo refused";
    cluster.pod("confined", "  restartPolicy: Never\n", security, line)?;
    let said = cluster.ended("confined")?;
    ensure!(said == "dunlin-pods (enforce)\nrefused", "{said}");
    Ok(())
}

/// Of the usual profile: by default, by name, and not where it is not wanted.
fn apparmor_by_default(cluster: &mut Cluster) -> Result<()> {
    let line = "cat /proc/self/attr/current; mount -t tmpfs x /mnt 2>/dev/null || echo no mount; \
                (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo no setting; \
                (echo x > /proc/self/comm) && echo own; echo y > /tmp/f && cat /tmp/f; kill -0 1 && echo signals";
    let strong = "    securityContext: {capabilities: {add: [SYS_ADMIN]}, procMount: Default}\n";
    cluster.pod("usual", "  restartPolicy: Never\n", strong, line)?;
    let said = cluster.ended("usual")?;
    ensure!(said == "dunlin-default (enforce)\nno mount\nno setting\nown\ny\nsignals", "{said}");
    let named =
        "    securityContext: {appArmorProfile: {type: RuntimeDefault}, allowPrivilegeEscalation: false}\n";
    let open = "    securityContext: {appArmorProfile: {type: Unconfined}}\n";
    for (name, fields, expected) in [
        ("named", named, "dunlin-default (enforce)"),
        ("open", open, "unconfined"),
        ("mighty", "    securityContext: {privileged: true}\n", "unconfined"),
    ] {
        cluster.pod(name, "  restartPolicy: Never\n", fields, "cat /proc/self/attr/current")?;
        let said = cluster.ended(name)?;
        ensure!(said == expected, "{name}: {said}");
    }
    // A command is confined as its container is.
    cluster.pod("long", "", "", "exec sleep 1000000")?;
    cluster.becomes("long", "phase", "Running")?;
    cluster.until("a command", || {
        cluster.says(&["exec", "long", "--", "cat", "/proc/self/attr/current"], "dunlin-default (enforce)")
    })?;
    Ok(())
}

fn large_pages(cluster: &mut Cluster) -> Result<()> {
    let kept =
        cluster.say(&["get", "node", "machine", "-o", "jsonpath={.status.allocatable.hugepages-2Mi}"])?;
    ensure!(!["", "0"].contains(&&*kept), "the machine keeps no large pages");
    let volume = "  restartPolicy: Never\n  volumes: [{name: large, emptyDir: {medium: HugePages-2Mi}}]\n";
    let fields = "    volumeMounts: [{name: large, mountPath: /large}]\n    \
                  resources: {limits: {memory: 16Mi, hugepages-2Mi: 4Mi}}\n";
    let line = "for size in 2 4 6; do fallocate -l ${size}M /large/$size && echo $size; rm -f /large/$size; done; true";
    cluster.pod("large", volume, fields, line)?;
    let said = cluster.ended("large")?;
    let granted: String = said.lines().filter(|line| line.len() == 1).collect();
    ensure!(granted == "24", "{said}");
    Ok(())
}

fn adopted(cluster: &mut Cluster) -> Result<()> {
    cluster.pod("stays", "", "", "echo run; exec sleep 1000000")?;
    cluster.becomes("stays", "phase", "Running")?;
    let id = |cluster: &Cluster| cluster.status("stays", "containerStatuses[0].containerID");
    let before = id(cluster)?;
    cluster.kill_agent()?;
    cluster.start_agent(&[])?;
    cluster.until("a command", || cluster.says(&["exec", "stays", "--", "echo", "there"], "there"))?;
    ensure!(id(cluster)? == before, "another container: {before}, {}", id(cluster)?);
    ensure!(cluster.status("stays", "containerStatuses[0].restartCount")? == "0", "it was restarted");
    Ok(())
}

/// Of the pod that the agent adopted.
fn shim(cluster: &mut Cluster) -> Result<()> {
    let uid = cluster.say(&["get", "pod", "stays", "-o", "jsonpath={.metadata.uid}"])?;
    let shims = processes(|words| words.contains("shim") && words.contains(&uid))?;
    ensure!(shims.len() == 1, "shims of the pod: {shims:?}");
    output(Command::new("/bin/busybox").args(["kill", "-9", &shims[0]]))?;
    cluster.becomes("stays", "containerStatuses[0].restartCount", "1")?;
    cluster.becomes("stays", "containerStatuses[0].state", "running")?;
    cluster.until("a command", || cluster.says(&["exec", "stays", "--", "echo", "there"], "there")).map(drop)
}

fn leftovers(cluster: &mut Cluster) -> Result<()> {
    cluster.say(&["delete", "pods", "--all"])?;
    cluster.until("a clean machine", || {
        let shims = processes(|words| words.contains("shim\0--dir"))?;
        ensure!(shims.is_empty(), "shims are left: {shims:?}");
        ensure!(!Path::new(CGROUPS).exists(), "cgroups are left");
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let state = cluster.state().display().to_string();
        let left: Vec<&str> =
            mounts.lines().filter(|line| line.contains(&state) || line.starts_with("overlay")).collect();
        ensure!(left.is_empty(), "mounts are left: {left:?}");
        let links = output(Command::new("ip").args(["-o", "link", "show", "type", "veth"]))?;
        ensure!(links.is_empty(), "interfaces are left: {links}");
        let pods = fs::read_dir(cluster.state().join("pods")).map_or(0, Iterator::count);
        ensure!(pods == 0, "folders of {pods} pods are left");
        Ok(())
    })
}

/// Where a pod's only container is.
fn cgroup_of(cluster: &Cluster, pod: &str) -> Result<PathBuf> {
    let uid = cluster.say(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])?;
    for class in ["besteffort", "burstable", ""] {
        let folder = Path::new(CGROUPS).join(class).join(format!("pod{uid}"));
        let inner = fs::read_dir(folder).into_iter().flatten().flatten();
        if let Some(container) = inner.map(|entry| entry.path()).find(|path| path.is_dir()) {
            return Ok(container);
        }
    }
    bail!("{pod} has no cgroup")
}

/// Numbers of processes by their command lines, whose words end with zeros.
fn processes(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let numbers = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is = |number: &String| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        number.parse::<u32>().is_ok() && is_wanted(&String::from_utf8_lossy(&line))
    };
    Ok(numbers.filter(is).collect())
}

const CGROUPS: &str = "/sys/fs/cgroup/dunlin";
