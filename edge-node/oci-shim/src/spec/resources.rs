//! What a container may use, as cgroups have it.

use dunlin_edge_node_core::sandbox::linux::{LinuxResources, Security};
use oci_spec::runtime::{self, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids};

/// The container's cgroup. Of devices it has those that every runtime lets all use, or all when it is privileged.
pub(super) fn build(wanted: &LinuxResources, security: &Security) -> runtime::LinuxResources {
    let mut devices = LinuxDeviceCgroup::default();
    devices.set_allow(security.privileged).set_access(Some("rwm".to_owned()));
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(wanted.cpu_request.map_or(0, |cpu| cpu.0))));
    if let Some(limit) = wanted.cpu_limit {
        cpu.set_period(Some(PERIOD_US)).set_quota(Some(quota(limit.0)));
    }
    let mut resources = runtime::LinuxResources::default();
    resources.set_devices(Some(vec![devices])).set_cpu(Some(cpu));
    if let Some(limit) = wanted.memory_limit {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(i64::try_from(limit.0).unwrap_or(i64::MAX)));
        resources.set_memory(Some(memory));
    }
    if let Some(limit) = wanted.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(i64::from(limit));
        resources.set_pids(Some(pids));
    }
    resources
}

/// The weight of a request: 1024 for a processor, as Kubernetes has it. Runtimes turn it into what version 2 has instead.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// Microseconds of each period.
fn quota(milli: u64) -> i64 {
    let quota = milli.saturating_mul(PERIOD_US) / 1000;
    i64::try_from(quota).unwrap_or(i64::MAX).max(QUOTA_US_MIN)
}

/// What the kernel divides time into.
const PERIOD_US: u64 = 100_000;
/// The least that the kernel takes.
const QUOTA_US_MIN: i64 = 1000;
/// The least that the kernel takes.
const SHARES_MIN: u64 = 2;
/// The most that the kernel takes.
const SHARES_MAX: u64 = 262_144;

#[cfg(test)]
mod tests {
    use dunlin_link::{Bytes, MilliCpu};

    use super::*;

    fn check(wanted: &LinuxResources, expected: &str) {
        let mut built = build(wanted, &Security::default());
        built.set_devices(None);
        assert_eq!(serde_json::to_string(&built).unwrap(), expected);
    }

    #[test]
    fn requests_are_weights_and_limits_are_quotas() {
        let none = LinuxResources::default();
        check(&none, r#"{"cpu":{"shares":2}}"#);
        let cpu = |request, limit| LinuxResources {
            cpu_request: Some(MilliCpu(request)),
            cpu_limit: Some(MilliCpu(limit)),
            ..none.clone()
        };
        check(&cpu(500, 1500), r#"{"cpu":{"shares":512,"quota":150000,"period":100000}}"#);
        check(&cpu(1, 1), r#"{"cpu":{"shares":2,"quota":1000,"period":100000}}"#);
        let memory =
            LinuxResources { memory_limit: Some(Bytes(1 << 20)), pids_limit: Some(9), ..none.clone() };
        check(&memory, r#"{"memory":{"limit":1048576},"cpu":{"shares":2},"pids":{"limit":9}}"#);
    }
}
