//! What this machine uses of its processors and memory, from two small files of the kernel; read only when somebody asks.

use std::{fs, io};

use dunlin_link::{Bytes, stream::StreamRefusal, usage::MachineUsage};
use rustix::time::{ClockId, clock_gettime};

use crate::session::StreamRefused;

/// What the machine uses now.
pub(crate) fn machine() -> Result<MachineUsage, StreamRefused> {
    let failed = |error: io::Error| StreamRefused {
        reason: StreamRefusal::Failed,
        message: format!("the kernel does not tell what the machine uses: {error}"),
    };
    let (stat, memory) =
        (fs::read_to_string(STAT).map_err(failed)?, fs::read_to_string(MEMORY).map_err(failed)?);
    let unreadable = || failed(io::ErrorKind::InvalidData.into());
    Ok(MachineUsage {
        uptime_us: uptime_us(),
        cpu_us: busy_us(&stat).ok_or_else(unreadable)?,
        memory: Bytes(held_bytes(&memory).ok_or_else(unreadable)?),
    })
}

fn uptime_us() -> u64 {
    let since_boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since_boot.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(since_boot.tv_nsec).unwrap_or(0) / 1000)
}

/// From `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what guests of a hypervisor use is in the first two.
fn busy_us(stat: &str) -> Option<u64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _waiting) = (next()?, next()?);
    let (irq, softirq) = (next()?, next()?);
    let ticks = [user, nice, system, irq, softirq].into_iter().fold(0, u64::saturating_add);
    Some(ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1))
}

/// From `/proc/meminfo`.
fn held_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    Some(kibibytes("MemTotal:")?.saturating_sub(kibibytes("MemAvailable:")?).saturating_mul(1024))
}

const STAT: &str = "/proc/stat";
const MEMORY: &str = "/proc/meminfo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let hz = rustix::param::clock_ticks_per_second();
        let stat = format!("cpu  {} 0 {hz} 5000 900 0 {hz} 7 0 0\ncpu0 1 2 3\n", 2 * hz);
        assert_eq!(busy_us(&stat), Some(4_000_000));
        assert_eq!(busy_us("cpu  1 2\n"), None);
        assert_eq!(busy_us(""), None);
        let memory = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\n";
        assert_eq!(held_bytes(memory), Some(600 * 1024));
        assert_eq!(held_bytes("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_uses_something() {
        let (one, two) = (machine().unwrap(), machine().unwrap());
        assert!(one.cpu_us > 0 && one.memory.0 > 0 && two.uptime_us >= one.uptime_us);
    }
}
