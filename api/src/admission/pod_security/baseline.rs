//! What level `baseline` forbids, by the names that Kubernetes gives its checks, in their order.

use std::collections::BTreeSet;

use super::{
    Level, Standard,
    subject::{Check, Subject, Violation, named, plural, quoted, take_others, violation},
};
use crate::value::{has, is_true, list, text};

/// What a pod breaks. Checks of which level `restricted` has a stricter one are left to that.
pub(super) fn check(subject: &Subject<'_>, standard: Standard) -> Vec<Violation> {
    let is_restricted = standard.level == Level::Restricted;
    let is_left =
        |stricter: Option<u32>| is_restricted && stricter.is_some_and(|since| subject.version.has(since));
    CHECKS
        .iter()
        .filter(|(_, stricter)| !is_left(*stricter))
        .filter_map(|(check, _)| check(subject))
        .collect()
}

/// And since which version level `restricted` has one of the same.
const CHECKS: [(Check, Option<u32>); 12] = [
    (app_armor_profile, None),
    (capabilities, Some(22)),
    (host_namespaces, None),
    (host_path_volumes, Some(0)),
    (host_ports, None),
    (host_probes_and_lifecycle, None),
    (privileged, None),
    (proc_mount, Some(35)),
    (se_linux_options, None),
    (seccomp_profile, Some(19)),
    (sysctls, None),
    (windows_host_process, None),
];

fn app_armor_profile(subject: &Subject<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut setters = subject.bad_setters(|context| {
        let profile = &context["appArmorProfile"];
        let kind = text(profile, "type");
        let is_bad = !profile.is_null() && !["RuntimeDefault", "Localhost"].contains(&kind);
        values.extend(is_bad.then(|| kind.to_owned()));
        is_bad
    });
    let annotations: Vec<_> = entries_of(subject, APP_ARMOR)
        .filter(|(_, value)| !(["", "runtime/default"].contains(value) || value.starts_with("localhost/")))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotations.is_empty() {
        setters.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    let values: Vec<_> = values.into_iter().chain(annotations).collect();
    violation(
        &setters,
        plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        || format!("{} must not set AppArmor profile type to {}", setters.join(" and "), quoted(&values)),
    )
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    let mut added = BTreeSet::new();
    let containers = subject.bad_containers(|container| {
        take_others(
            list(&container["securityContext"]["capabilities"], "add"),
            &USUAL_CAPABILITIES,
            &mut added,
        )
    });
    violation(&containers, "non-default capabilities", || {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&containers),
            quoted(&added)
        )
    })
}

fn host_namespaces(subject: &Subject<'_>) -> Option<Violation> {
    let shared: Vec<_> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| is_true(subject.spec, field))
        .map(|field| format!("{field}=true"))
        .collect();
    violation(&shared, "host namespaces", || shared.join(", "))
}

fn host_path_volumes(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = list(subject.spec, "volumes").iter().filter(|volume| has(volume, "hostPath"));
    let volumes: Vec<_> = volumes.map(|volume| text(volume, "name")).collect();
    violation(&volumes, "hostPath volumes", || {
        format!("{} {}", plural(volumes.len(), "volume", "volumes"), quoted(&volumes))
    })
}

fn host_ports(subject: &Subject<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let containers = subject.bad_containers(|container| {
        let used = list(container, "ports").iter().filter_map(|port| port["hostPort"].as_u64());
        let used: Vec<_> = used.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        let is_bad = !used.is_empty();
        ports.extend(used);
        is_bad
    });
    violation(&containers, "hostPort", || {
        let ports: Vec<_> = ports.into_iter().collect();
        format!(
            "{} {} {} {}",
            named(&containers),
            plural(containers.len(), "uses", "use"),
            plural(ports.len(), "hostPort", "hostPorts"),
            ports.join(", ")
        )
    })
}

fn host_probes_and_lifecycle(subject: &Subject<'_>) -> Option<Violation> {
    if !subject.version.has(34) {
        return None;
    }
    let (mut containers, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in subject.containers() {
        let lifecycle = &container["lifecycle"];
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let handlers = probes.into_iter().chain(["postStart", "preStop"].map(|hook| &lifecycle[hook]));
        let asked =
            handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|way| text(&handler[way], "host")));
        let asked: Vec<_> = asked.filter(|host| !host.is_empty()).collect();
        if !asked.is_empty() {
            containers.insert(text(container, "name"));
            hosts.extend(asked);
        }
    }
    let containers: Vec<_> = containers.into_iter().collect();
    violation(&containers, "probe or lifecycle host", || {
        format!(
            "{} {} {} {}",
            named(&containers),
            plural(containers.len(), "uses", "use"),
            plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
            quoted(&hosts)
        )
    })
}

fn privileged(subject: &Subject<'_>) -> Option<Violation> {
    let containers = subject.bad_containers(|container| is_true(&container["securityContext"], "privileged"));
    violation(&containers, "privileged", || {
        format!("{} must not set securityContext.privileged=true", named(&containers))
    })
}

fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { changed_proc_mount(subject) }
}

/// Whoever root is.
pub(super) fn changed_proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let containers = subject.bad_containers(|container| {
        let kind = container["securityContext"]["procMount"].as_str().filter(|kind| *kind != "Default");
        kinds.extend(kind);
        kind.is_some()
    });
    violation(&containers, "procMount", || {
        format!("{} must not set securityContext.procMount to {}", named(&containers), quoted(&kinds))
    })
}

fn se_linux_options(subject: &Subject<'_>) -> Option<Violation> {
    let newer = subject.version.has(31).then_some("container_engine_t");
    let allowed: Vec<_> =
        ["", "container_t", "container_init_t", "container_kvm_t"].into_iter().chain(newer).collect();
    let (mut kinds, mut others) = (BTreeSet::new(), BTreeSet::new());
    let setters = subject.bad_setters(|context| {
        let options = &context["seLinuxOptions"];
        let kind = Some(text(options, "type")).filter(|kind| !allowed.contains(kind));
        kinds.extend(kind.map(str::to_owned));
        // In the order in which they are told.
        let set: Vec<_> =
            (0..).zip(["user", "role"]).filter(|(_, key)| !text(options, key).is_empty()).collect();
        others.extend(&set);
        kind.is_some() || !set.is_empty()
    });
    violation(&setters, "seLinuxOptions", || {
        let mut what = Vec::new();
        if !kinds.is_empty() {
            what.push(format!("{} {}", plural(kinds.len(), "type", "types"), quoted(&kinds)));
        }
        what.extend(others.iter().map(|(_, key)| format!("{key} may not be set")));
        format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.join(" and "), what.join("; "))
    })
}

fn seccomp_profile(subject: &Subject<'_>) -> Option<Violation> {
    if !subject.version.has(19) {
        return old_seccomp_profile(subject);
    }
    let (setters, kinds) = bad_seccomp(subject);
    violation(&setters, "seccompProfile", || bad_seccomp_words(&setters, &kinds))
}

/// Before there was a field for it.
fn old_seccomp_profile(subject: &Subject<'_>) -> Option<Violation> {
    let is_good = |value: &str| {
        ["runtime/default", "docker/default"].contains(&value) || value.starts_with("localhost/")
    };
    let containers = subject.containers().map(|container| format!("{SECCOMP}{}", text(container, "name")));
    let keys: BTreeSet<_> = containers.chain([SECCOMP_POD.to_owned()]).collect();
    let bad: Vec<_> = keys
        .into_iter()
        .filter_map(|key| {
            let value = subject.annotations[key.as_str()].as_str().filter(|value| !is_good(value))?;
            Some(format!("{key}={value:?}"))
        })
        .collect();
    violation(&bad, "seccompProfile", || {
        format!("forbidden {} {}", plural(bad.len(), "annotation", "annotations"), bad.join(", "))
    })
}

/// Who sets a profile that is none of the usual, and which.
pub(super) fn bad_seccomp(subject: &Subject<'_>) -> (Vec<String>, BTreeSet<String>) {
    let mut kinds = BTreeSet::new();
    let setters = subject.bad_setters(|context| {
        let profile = &context["seccompProfile"];
        let kind = text(profile, "type");
        let is_bad = !profile.is_null() && !["RuntimeDefault", "Localhost"].contains(&kind);
        kinds.extend(is_bad.then(|| kind.to_owned()));
        is_bad
    });
    (setters, kinds)
}

pub(super) fn bad_seccomp_words(setters: &[String], kinds: &BTreeSet<String>) -> String {
    format!("{} must not set securityContext.seccompProfile.type to {}", setters.join(" and "), quoted(kinds))
}

fn sysctls(subject: &Subject<'_>) -> Option<Violation> {
    let allowed: Vec<_> =
        SYSCTLS.iter().filter(|(since, _)| subject.version.has(*since)).map(|(_, name)| *name).collect();
    let set = list(&subject.spec["securityContext"], "sysctls").iter().map(|sysctl| text(sysctl, "name"));
    let bad: Vec<_> = set.filter(|name| !allowed.contains(name)).collect();
    violation(&bad, "forbidden sysctls", || bad.join(", "))
}

fn windows_host_process(subject: &Subject<'_>) -> Option<Violation> {
    let setters = subject.bad_setters(|context| is_true(&context["windowsOptions"], "hostProcess"));
    violation(&setters, "hostProcess", || {
        format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "))
    })
}

fn entries_of<'a>(subject: &Subject<'a>, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let annotations = subject.annotations.as_object().into_iter().flatten();
    annotations
        .filter(move |(key, _)| key.starts_with(prefix))
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

const USUAL_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Settings of a pod's own, by the version since which they are taken for safe.
const SYSCTLS: [(u32, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];
