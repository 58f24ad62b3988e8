//! Parts of root's power: what a container has of them.

use std::{fs, io, str::FromStr as _};

use dunlin_edge_node_core::sandbox::linux::Security;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// What this process may do: nobody can be given more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Available {
    /// A bit for each capability, by its number in the kernel.
    pub(crate) capabilities: u64,
    /// Its own chance to be killed when memory is short; less needs a capability.
    pub(crate) own_oom_score_adj: i32,
}

impl Available {
    /// Of this process.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let capabilities = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        let capabilities = capabilities.ok_or_else(|| io::Error::other("no capabilities in the status"))?;
        let own = fs::read_to_string("/proc/self/oom_score_adj")?;
        Ok(Self { capabilities, own_oom_score_adj: own.trim().parse().map_err(io::Error::other)? })
    }

    fn has(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_some_and(|bit| self.capabilities >> bit & 1 == 1)
    }

    /// The wanted chance, or the least that can be given.
    pub(crate) fn oom_score_adj(self, wanted: i32) -> i32 {
        if self.has("SYS_RESOURCE") { wanted } else { wanted.max(self.own_oom_score_adj) }
    }
}

/// The default ones and the added ones, without the dropped ones; all for a privileged container.
pub(super) fn build(security: &Security, available: Available) -> LinuxCapabilities {
    let named = |list: &[String], name: &str| {
        list.iter().any(|listed| {
            let listed = listed.to_ascii_uppercase();
            listed == "ALL" || listed.strip_prefix("CAP_").unwrap_or(&listed) == name
        })
    };
    let has = |name: &str| {
        if security.privileged {
            return true;
        }
        // What is added by name stays when all are dropped.
        let added = named(&security.add_capabilities, name);
        let dropped = named(&security.drop_capabilities, name);
        let dropped_by_name =
            security.drop_capabilities.iter().any(|listed| listed.to_ascii_uppercase().ends_with(name));
        if added { !dropped_by_name } else { DEFAULT.contains(&name) && !dropped }
    };
    let given = NAMES.iter().filter(|name| available.has(name) && has(name));
    let set: Capabilities = given.filter_map(|name| Capability::from_str(name).ok()).collect();
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        // With inheritable ones a program of another user would gain them.
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    capabilities
}

/// What a container has that says nothing: as under Docker and containerd.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// All of them, each at its number in the kernel.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Available = Available { capabilities: (1 << NAMES.len()) - 1, own_oom_score_adj: 0 };

    fn check(add: &[&str], drop: &[&str], expected: &[&str]) {
        let strings = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let security = Security {
            add_capabilities: strings(add),
            drop_capabilities: strings(drop),
            ..Security::default()
        };
        let built = build(&security, ALL);
        let mut found: Vec<String> = built.bounding().iter().flatten().map(ToString::to_string).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!((built.effective(), built.permitted()), (built.bounding(), built.bounding()));
        assert_eq!(built.inheritable().as_ref().map(|set| set.len()), Some(0));
    }

    #[test]
    fn added_ones_stay_and_dropped_ones_go() {
        check(&[], &[], &DEFAULT);
        check(&[], &["ALL"], &[]);
        check(&["NET_ADMIN"], &["all"], &["NET_ADMIN"]);
        check(&["CAP_SYS_TIME", "CHOWN"], &["ALL"], &["CHOWN", "SYS_TIME"]);
        let without: Vec<_> = DEFAULT.into_iter().filter(|name| *name != "NET_RAW").collect();
        check(&[], &["NET_RAW"], &without);
        check(&[], &["CAP_NET_RAW"], &without);
        let mut all = NAMES.to_vec();
        all.sort_unstable();
        check(&["ALL"], &[], &all);
        all.retain(|name| *name != "SYS_ADMIN");
        check(&["ALL"], &["SYS_ADMIN"], &all);
    }

    #[test]
    fn nobody_gives_what_he_does_not_have() {
        let privileged = Security { privileged: true, ..Security::default() };
        let some = Available { capabilities: 0b11, own_oom_score_adj: 100 };
        let given = build(&privileged, some).bounding().clone().unwrap();
        assert_eq!(given, [Capability::Chown, Capability::DacOverride].into_iter().collect());
        assert_eq!(build(&privileged, ALL).bounding().as_ref().unwrap().len(), NAMES.len());
        assert_eq!((some.oom_score_adj(-997), some.oom_score_adj(1000)), (100, 1000));
        assert_eq!(ALL.oom_score_adj(-997), -997);
    }
}
