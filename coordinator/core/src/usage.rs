//! What nodes and containers use: the rates between two answers of a node.

use std::{collections::BTreeMap, time::Duration};

use dunlin_link::{
    Bytes, PodUid,
    usage::{ContainerThrottle, ContainerUsage, MachineUsage},
};

/// What a node answered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The machine.
    pub machine: MachineUsage,
    /// Containers that ran.
    pub containers: Vec<ContainerUsage>,
    /// Those of them that their limits had held back.
    pub throttles: Vec<ContainerThrottle>,
}

/// What a node used on the average between two answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUse {
    /// The time between them.
    pub window: Duration,
    /// All of the machine.
    pub machine: Use,
    /// Containers that run, by their pod's uid and their name.
    pub pods: BTreeMap<PodUid, BTreeMap<String, Use>>,
}

/// An amount of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Billionths of a processor.
    pub cpu_nano: u64,
    /// Billionths of the time for which there was more to compute than a limit allowed.
    pub throttled_nano: u64,
    /// Memory at the end of the window.
    pub memory: Bytes,
}

impl NodeUse {
    /// The rates between two answers; `None` when no time passed between them, or the machine started anew.
    pub fn between(before: &Sample, after: &Sample) -> Option<Self> {
        let window_us = after.machine.uptime_us.checked_sub(before.machine.uptime_us).filter(|us| *us > 0)?;
        let machine_us = after.machine.cpu_us.checked_sub(before.machine.cpu_us)?;
        let known: BTreeMap<_, _> =
            before.containers.iter().map(|usage| (identity(usage), usage.cpu_us)).collect();
        let (held_before, held) = (throttled(before), throttled(after));
        let throttled_nano = |usage: &ContainerUsage| {
            let sum = |sums: &BTreeMap<_, u64>| sums.get(&identity(usage)).copied().unwrap_or_default();
            rate(sum(&held).saturating_sub(sum(&held_before)), window_us)
        };
        let mut pods: BTreeMap<PodUid, BTreeMap<String, Use>> = BTreeMap::new();
        for usage in &after.containers {
            // A run that was not there before began in between.
            let base = known.get(&identity(usage)).copied().unwrap_or_default();
            let used_us = usage.cpu_us.saturating_sub(base);
            let used = Use {
                cpu_nano: rate(used_us, window_us),
                throttled_nano: throttled_nano(usage),
                memory: usage.memory,
            };
            pods.entry(usage.uid.clone()).or_default().insert(usage.container.clone(), used);
        }
        Some(Self {
            window: Duration::from_micros(window_us),
            machine: Use {
                cpu_nano: rate(machine_us, window_us),
                throttled_nano: 0,
                memory: after.machine.memory,
            },
            pods,
        })
    }
}

/// A window as Kubernetes writes it, which is as Go does: `15.02s`, `1m5s`. Parts below a millisecond are dropped.
pub fn format_window(window: Duration) -> String {
    let millis = window.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let fraction = format!(".{:03}", rest % 1000);
    let seconds = format!("{}{}s", rest / 1000, fraction.trim_end_matches('0').trim_end_matches('.'));
    if minutes == 0 { seconds } else { format!("{minutes}m{seconds}") }
}

/// A run of a container.
fn identity(usage: &ContainerUsage) -> (&PodUid, &str, u32) {
    (&usage.uid, &usage.container, usage.attempt)
}

/// By run, for how long it had been held back.
fn throttled(sample: &Sample) -> BTreeMap<(&PodUid, &str, u32), u64> {
    let sums = sample.throttles.iter();
    sums.map(|one| ((&one.uid, &*one.container, one.attempt), one.throttled_us)).collect()
}

fn rate(used_us: u64, window_us: u64) -> u64 {
    let nano = u128::from(used_us) * 1_000_000_000 / u128::from(window_us.max(1));
    u64::try_from(nano).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(uptime_us: u64, cpu_us: u64, containers: &[(&str, u32, u64)]) -> Sample {
        let containers = containers.iter().map(|(name, attempt, cpu_us)| ContainerUsage {
            uid: PodUid::new("u"),
            container: (*name).to_owned(),
            attempt: *attempt,
            cpu_us: *cpu_us,
            memory: Bytes(7),
        });
        let machine = MachineUsage { uptime_us, cpu_us, memory: Bytes(9) };
        Sample { machine, containers: containers.collect(), throttles: Vec::new() }
    }

    #[test]
    fn use_is_the_rate_between_two_answers() {
        let before =
            sample(1_000_000, 500_000, &[("goes on", 0, 100), ("ends", 0, 5), ("restarts", 0, 900_000)]);
        let after =
            sample(3_000_000, 1_500_000, &[("goes on", 0, 1_000_100), ("began", 0, 20), ("restarts", 1, 40)]);
        let found = NodeUse::between(&before, &after).unwrap();
        assert_eq!(found.window, Duration::from_secs(2));
        let machine = Use { cpu_nano: 500_000_000, throttled_nano: 0, memory: Bytes(9) };
        assert_eq!(found.machine, machine);
        let pod: Vec<_> =
            found.pods[&PodUid::new("u")].iter().map(|(name, used)| (name.as_str(), used.cpu_nano)).collect();
        assert_eq!(pod, [("began", 10_000), ("goes on", 500_000_000), ("restarts", 20_000)]);
    }

    #[test]
    fn what_limits_held_back_is_a_rate_too() {
        let throttle = |container: &str, attempt, throttled_us| ContainerThrottle {
            uid: PodUid::new("u"),
            container: container.to_owned(),
            attempt,
            throttled_us,
        };
        let containers = [("spins", 0, 0), ("idles", 0, 0), ("restarts", 1, 0), ("begins", 0, 0)];
        let (mut before, mut after) = (sample(1, 0, &containers[..2]), sample(2_000_001, 0, &containers));
        before.throttles = vec![throttle("spins", 0, 500_000), throttle("restarts", 0, 9_000_000)];
        after.throttles = vec![
            throttle("spins", 0, 1_500_000),
            throttle("restarts", 1, 2_000),
            throttle("begins", 0, 4_000),
        ];
        let found = NodeUse::between(&before, &after).unwrap();
        let pod = &found.pods[&PodUid::new("u")];
        let throttled = ["spins", "idles", "restarts", "begins"].map(|name| pod[name].throttled_nano);
        assert_eq!(throttled, [500_000_000, 0, 1_000_000, 2_000_000]);
    }

    #[test]
    fn a_boot_in_between_tells_nothing() {
        let check = |before: (u64, u64), after: (u64, u64)| {
            let (before, after) = (sample(before.0, before.1, &[]), sample(after.0, after.1, &[]));
            assert_eq!(NodeUse::between(&before, &after), None);
        };
        check((5, 0), (5, 0));
        check((5, 0), (4, 0));
        check((5, 3), (9, 2));
    }

    #[test]
    fn windows_are_written_as_go_does() {
        let check = |millis, expected| assert_eq!(format_window(Duration::from_millis(millis)), expected);
        check(1000, "1s");
        check(15_020, "15.02s");
        check(999, "999ms");
        check(60_000, "1m0s");
        check(65_001, "1m5.001s");
    }
}
