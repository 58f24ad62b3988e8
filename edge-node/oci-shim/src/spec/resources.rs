//! What a container may use, as cgroups have it.

use std::collections::HashMap;

use dunlin_edge_node_core::sandbox::linux::{LinuxResources, Security};
use dunlin_link::volumes::Access;
use oci_spec::runtime::{self, LinuxCpu, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxMemory, LinuxPids};

use super::Place;
use crate::{
    cgroup::{OOM_GROUP, ShortOfMemory, Swap},
    devices::Device,
};

/// The container's cgroup. Of devices it has those that every runtime lets all use and those that it is given, or all when it is
/// privileged.
pub(super) fn build(
    wanted: &LinuxResources,
    security: &Security,
    place: &Place<'_>,
) -> runtime::LinuxResources {
    let mut resources = limits(wanted, place.swap, place.page_sizes);
    resources.set_devices(Some(devices(security, &place.devices)));
    if place.short_of_memory == ShortOfMemory::EndsAll {
        // As in Kubernetes: a container that lost some of its processes would go on, and nobody would know.
        resources.set_unified(Some(HashMap::from([(OOM_GROUP.to_owned(), "1".to_owned())])));
    }
    resources
}

/// Without devices.
pub(crate) fn limits(wanted: &LinuxResources, swap: Swap, page_sizes: &[String]) -> runtime::LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(shares(wanted.cpu_request.map_or(0, |cpu| cpu.0))));
    if let Some(limit) = wanted.cpu_limit {
        cpu.set_period(Some(PERIOD_US)).set_quota(Some(quota(limit.0)));
    }
    let mut resources = runtime::LinuxResources::default();
    resources.set_cpu(Some(cpu));
    if let Some(limit) = wanted.memory_limit {
        let limit = i64::try_from(limit.0).unwrap_or(i64::MAX);
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit));
        if swap == Swap::Counted {
            // Both together: what does not fit into memory does not go elsewhere instead.
            memory.set_swap(Some(limit));
        }
        resources.set_memory(Some(memory));
    }
    if let Some(limit) = wanted.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(i64::from(limit));
        resources.set_pids(Some(pids));
    }
    if !page_sizes.is_empty() {
        resources.set_hugepage_limits(Some(hugepages(wanted, page_sizes)));
    }
    resources
}

/// Of each size that is counted: what is asked for, or none at all.
fn hugepages(wanted: &LinuxResources, page_sizes: &[String]) -> Vec<LinuxHugepageLimit> {
    let limit = |size: &String| {
        let asked = wanted.hugepages.iter().find(|(page, _)| page_size(page.0) == *size);
        let limit = asked.map_or(0, |(_, limit)| i64::try_from(limit.0).unwrap_or(i64::MAX));
        let mut of_size = LinuxHugepageLimit::default();
        of_size.set_page_size(size.clone()).set_limit(limit);
        of_size
    };
    page_sizes.iter().map(limit).collect()
}

/// As the kernel names the files of a size.
fn page_size(bytes: u64) -> String {
    let units = [(30, "GB"), (20, "MB"), (10, "KB")];
    let unit = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    unit.map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// What is not named is refused.
fn devices(security: &Security, given: &[Device]) -> Vec<LinuxDeviceCgroup> {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(security.privileged).set_access(Some("rwm".to_owned()));
    let given = given.iter().filter(|_| !security.privileged).map(|device| {
        let mut rule = LinuxDeviceCgroup::default();
        let access = match device.access {
            Access::ReadWrite => "rwm",
            Access::ReadOnly => "rm",
        };
        rule.set_allow(true)
            .set_typ(Some(device.node.typ()))
            .set_major(Some(device.node.major()))
            .set_minor(Some(device.node.minor()))
            .set_access(Some(access.to_owned()));
        rule
    });
    std::iter::once(rule).chain(given).collect()
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
        let built = limits(wanted, Swap::NotCounted, &[]);
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
        let built = limits(&memory, Swap::Counted, &[]);
        let built = serde_json::to_string(built.memory()).unwrap();
        assert_eq!(built, r#"{"limit":1048576,"swap":1048576}"#);
        let large = LinuxResources { hugepages: vec![(Bytes(2 << 20), Bytes(6 << 20))], ..none };
        let sizes = ["64KB", "2MB", "1GB"].map(str::to_owned);
        let built = serde_json::to_value(limits(&large, Swap::Counted, &sizes)).unwrap();
        let of_size = |size: &str, limit: u64| serde_json::json!({"pageSize": size, "limit": limit});
        let expected = [of_size("64KB", 0), of_size("2MB", 6 << 20), of_size("1GB", 0)];
        assert_eq!(built["hugepageLimits"], serde_json::json!(expected));
    }
}
