//! What a container asks for to hold it back, or to reach further, and this machine may not have.

use std::{
    fs::{self, File},
    io::Read as _,
};

use dunlin_edge_node_core::sandbox::linux::{LinuxSpec, Propagation, Seccomp};
use oci_spec::runtime::LinuxSeccomp;

use crate::spec;

/// Refuses what would be left out silently otherwise.
///
/// # Errors
/// In words for the container's status.
pub(super) fn check(spec: &LinuxSpec) -> Result<(), String> {
    if let Some(profile) = &spec.security.apparmor {
        // A profile is there to keep something from happening: without it the container must not run.
        if !has_apparmor(&fs::read_to_string(APPARMOR).unwrap_or_default()) {
            return Err(format!(
                "the AppArmor profile `{profile}` cannot be applied: this machine has no AppArmor"
            ));
        }
        // Who may not read which ones there are leaves it to the runtime, whose words say less.
        if fs::read_to_string(PROFILES).is_ok_and(|loaded| !is_loaded(&loaded, profile)) {
            return Err(format!("the AppArmor profile `{profile}` is not loaded on this machine"));
        }
    }
    let mut mounts = spec.mounts.iter();
    if !spec.security.privileged && mounts.any(|mount| mount.propagation == Propagation::Bidirectional) {
        return Err("the mount propagation Bidirectional is for privileged containers".to_owned());
    }
    Ok(())
}

fn has_apparmor(enabled: &str) -> bool {
    enabled.trim() == "Y"
}

/// Of profiles as the kernel lists them: `NAME (MODE)`.
fn is_loaded(profiles: &str, wanted: &str) -> bool {
    profiles.lines().any(|line| line.rsplit_once(" (").is_some_and(|(name, _)| name == wanted))
}

/// The profile of system calls that is a file of the machine.
///
/// # Errors
/// In words for the container's status.
pub(super) fn localhost_profile(seccomp: &Seccomp) -> Result<Option<LinuxSeccomp>, String> {
    let Seccomp::Localhost(path) = seccomp else { return Ok(None) };
    let failed = |why: String| format!("failed to read the seccomp profile `{path}`: {why}");
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(PROFILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    spec::parse_profile(&text).map(Some).map_err(|error| failed(error.to_string()))
}

/// Where the kernel says whether it has AppArmor.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// Where it lists the profiles that it was given.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
/// Largest profile of system calls; the usual ones have 20 KB.
const PROFILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_loaded_by_its_whole_name() {
        let profiles = "/usr/bin/man (enforce)\ntight (beta) (complain)\n";
        assert!(is_loaded(profiles, "/usr/bin/man") && is_loaded(profiles, "tight (beta)"));
        assert!(!is_loaded(profiles, "tight") && !is_loaded(profiles, "man") && !is_loaded("", "man"));
    }

    #[test]
    fn only_a_kernel_that_says_so_has_apparmor() {
        assert!(has_apparmor("Y\n"));
        assert!(!has_apparmor("N\n") && !has_apparmor(""));
    }
}
