//! Which settings of the kernel pods may have for themselves. Words are the kubelet's.

/// What the node's administrator allows beyond what every pod may set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSysctls(Vec<String>);

/// What of the machine a pod shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) network: bool,
    pub(super) ipc: bool,
}

impl AllowedSysctls {
    /// Of names, and beginnings of names that end in `*`.
    ///
    /// # Errors
    /// What is wrong with each that is none, or of which it is not known that it is a pod's own.
    pub fn read(patterns: &[String]) -> Result<Self, Vec<String>> {
        let (mut allowed, mut problems) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let name = normalized(pattern);
            if !is_pattern(&name) {
                problems.push(format!(
                    "`{pattern}` is no name of a sysctl, and no beginning with a `*` behind it"
                ));
            } else if namespace(name.trim_end_matches('*')).is_none() {
                problems.push(format!("the sysctls {pattern:?} are not known to be namespaced"));
            } else {
                allowed.push(name);
            }
        }
        if problems.is_empty() { Ok(Self(allowed)) } else { Err(problems) }
    }

    /// Whether a pod may set it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, name: &str, shared: Shared) -> Result<(), String> {
        let name = normalized(name);
        let is_allowed = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *pattern == name,
        };
        if !SAFE.contains(&name.as_str()) && !self.0.iter().any(is_allowed) {
            return Err(format!("{name:?} not allowlisted"));
        }
        match namespace(&name) {
            Some(Namespace::Network) if shared.network => {
                Err(format!("{name:?} not allowed with host net enabled"))
            }
            Some(Namespace::Ipc) if shared.ipc => Err(format!("{name:?} not allowed with host ipc enabled")),
            _ => Ok(()),
        }
    }
}

enum Namespace {
    Ipc,
    Network,
}

/// Whose own it is: of sysctls that a pod can have for itself, or of all that begin so.
fn namespace(name: &str) -> Option<Namespace> {
    let begins = |beginning: &&str| name.starts_with(*beginning);
    if name == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(begins) {
        Some(Namespace::Ipc)
    } else {
        name.starts_with("net.").then_some(Namespace::Network)
    }
}

/// Parts are divided by dots, or else by slashes, with the other one inside of parts.
fn normalized(name: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let is_dotted = name.find(['.', '/']).is_none_or(|at| name[at..].starts_with('.'));
    if is_dotted { name.to_owned() } else { name.chars().map(swap).collect() }
}

fn is_pattern(name: &str) -> bool {
    let beginning = name.strip_suffix('*').unwrap_or(name);
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    !beginning.is_empty() && name.len() <= NAME_BYTES_MAX && beginning.chars().all(letter)
}

/// Kubernetes' bound on names.
const NAME_BYTES_MAX: usize = 253;

/// What Kubernetes lets every pod set: it is of the pod's own namespaces, and does no harm to others.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(patterns: &[&str]) -> Result<AllowedSysctls, Vec<String>> {
        AllowedSysctls::read(&patterns.iter().map(|&pattern| pattern.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_allowed_is_safe_or_named_and_the_pods_own() {
        let allowed = read(&["kernel.msg*", "net/core/somaxconn", "net.ipv4.conf.eth0/1.rp_filter"]).unwrap();
        let check = |name: &str, (network, ipc), expected: Result<(), &str>| {
            let found = allowed.check(name, Shared { network, ipc });
            assert_eq!(found, expected.map_err(str::to_owned), "{name}");
        };
        let own = (false, false);
        for name in [
            "net.ipv4.tcp_syncookies",
            "kernel.msgmax",
            "kernel/msgmax",
            "net.core.somaxconn",
            "net/ipv4/conf/eth0.1/rp_filter",
        ] {
            check(name, own, Ok(()));
        }
        check("net.core.rmem_max", own, Err("\"net.core.rmem_max\" not allowlisted"));
        check("kernel/panic", own, Err("\"kernel.panic\" not allowlisted"));
        let (net, ipc) = ((true, false), (false, true));
        check("net.core.somaxconn", net, Err("\"net.core.somaxconn\" not allowed with host net enabled"));
        check("net.core.somaxconn", ipc, Ok(()));
        check("kernel.msgmax", ipc, Err("\"kernel.msgmax\" not allowed with host ipc enabled"));
        check(
            "kernel.shm_rmid_forced",
            ipc,
            Err("\"kernel.shm_rmid_forced\" not allowed with host ipc enabled"),
        );
    }

    #[test]
    fn only_what_pods_have_for_themselves_can_be_allowed() {
        let problems = read(&["kernel.panic", "vm.*", "*", "net.*", "a b"]).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "the sysctls \"kernel.panic\" are not known to be namespaced");
    }
}
