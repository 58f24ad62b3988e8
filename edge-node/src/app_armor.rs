//! The usual profile of AppArmor: a container may do what an ordinary program does, and nothing to the machine.
//!
//! It is loaded once in a boot, by the machine's own `apparmor_parser`, the first time that an agent asks. A later release's profile counts
//! from the next boot on: one that is loaded is left as it is, because containers run with it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use dunlin_edge_node_core::app_armor::{AppArmor, DEFAULT_PROFILE};

/// What this machine has of it. The first call loads the profile where it can be loaded.
pub(crate) fn of_this_machine() -> &'static AppArmor {
    static KNOWN: OnceLock<AppArmor> = OnceLock::new();
    KNOWN.get_or_init(|| {
        if !is_enabled(&fs::read_to_string(ENABLED).unwrap_or_default()) {
            return AppArmor::Absent;
        }
        if is_loaded(&fs::read_to_string(PROFILES).unwrap_or_default()) {
            return AppArmor::Ready;
        }
        match load() {
            Ok(()) => AppArmor::Ready,
            Err(error) => {
                tracing::warn!(%error, "containers run without a profile of AppArmor that do not name one");
                AppArmor::Bare { why: error.to_string() }
            }
        }
    })
}

/// Whether the kernel says so of itself in [`ENABLED`].
pub(crate) fn is_enabled(parameter: &str) -> bool {
    parameter.trim() == "Y"
}

fn is_loaded(profiles: &str) -> bool {
    profiles.lines().any(|line| line.split(" (").next() == Some(DEFAULT_PROFILE))
}

fn load() -> io::Result<()> {
    let parser = PARSERS.iter().find(|path| Path::new(path).exists());
    let lack = || io::Error::other("there is no apparmor_parser on the host to load its profile");
    let parser = parser.ok_or_else(lack)?;
    let mut command = Command::new(parser);
    command.args(["--replace", "--skip-cache", "--quiet"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(PROFILE.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("apparmor_parser does not load its profile: {why}")))
}

/// Where the kernel says whether it has AppArmor.
pub(crate) const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";

/// Where it says which profiles it has.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// Where the program may be that loads profiles.
pub(crate) const PARSERS: [&str; 3] =
    ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser", "/usr/bin/apparmor_parser"];

/// Everything that is not denied is allowed as far as capabilities, system calls and mounts of the container let it.
///
/// Below `/proc` the files of processes may be written, and of the machine's settings those of shared memory, which each pod has of its own;
/// below `/sys` cgroups alone.
const PROFILE: &str = "profile dunlin-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  signal (receive) peer=unconfined,
  signal (receive) peer={crun,runc,youki},
  signal (send,receive) peer=dunlin-default,
  ptrace (trace,read,tracedby,readby) peer=dunlin-default,

  deny mount,

  deny /proc/[^0-9]* w,
  deny /proc/{[^0-9s]*,s[^y]*}/** w,
  deny /proc/sysvipc/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/[^s]** w,
  deny /proc/sys/kernel/s[^h]** w,
  deny /proc/sys/kernel/sh[^m]** w,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwkl,

  deny /sys/[^f]** wkl,
  deny /sys/f[^s]** wkl,
  deny /sys/fs/[^c]** wkl,
  deny /sys/fs/c[^g]** wkl,
  deny /sys/fs/cg[^r]** wkl,
  deny /sys/firmware/** rwkl,
  deny /sys/devices/virtual/powercap/** rwkl,
  deny /sys/kernel/security/** rwkl,
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_profile_is_known_by_its_name() {
        assert!(is_loaded("man (enforce)\ndunlin-default (enforce)\n"));
        assert!(!is_loaded("dunlin-default-2 (enforce)\nx//dunlin-default (complain)\n") && !is_loaded(""));
        assert!(is_enabled("Y\n") && !is_enabled("N\n") && !is_enabled(""));
        assert!(PROFILE.starts_with(&format!("profile {DEFAULT_PROFILE} ")));
    }
}
