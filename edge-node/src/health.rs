//! Looks at how this machine fares, and hands it to the session, which decides what is worth telling.
//!
//! Everything comes from a few small files of the kernel and is read once a minute; nothing is written.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use dunlin_link::{
    Bytes,
    health::{DiskWrites, Health, HeldPods, OutboxState, SAMPLE_INTERVAL, Sealing},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::AgentHost,
    session::{SessionHandle, wall},
};

/// Who looks.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    /// Whose disk counts.
    pub(crate) state_dir: PathBuf,
    pub(crate) session: SessionHandle,
    pub(crate) writers: Writers,
}

/// Whose writes are the node's.
#[derive(Clone, Debug)]
pub(crate) enum Writers {
    /// This process shares itself with others: what it writes is not only the node's.
    Shared,
    /// This process, and the runner.
    Own(RunnerPid),
}

/// The process id of the runner that the agent is connected to; zero for none.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunnerPid(Arc<AtomicU32>);

/// What the agent adds to what the machine tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) pods: HeldPods,
    /// Reports that nobody has acknowledged.
    pub(crate) reports: usize,
    pub(crate) sealing: Sealing,
}

impl RunnerPid {
    /// A runner answers.
    pub(crate) fn set(&self, pid: Option<i32>) {
        self.0.store(pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0), Ordering::Relaxed);
    }

    /// The runner that answered last has gone, unless another answered since.
    pub(crate) fn clear(&self, pid: Option<i32>) {
        let gone = pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        // A lost race means that there is a newer one, which stays.
        let _ = self.0.compare_exchange(gone, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Watcher {
    /// Looks once in [`SAMPLE_INTERVAL`], whenever a session opens, and when there are more or fewer pods, until `shutdown`.
    pub(crate) async fn run(self, host: AgentHost, shutdown: CancellationToken) {
        let mut contact = self.session.contact();
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = contact.changed() => if changed.is_err() { return },
                // What comes one by one is told together.
                () = host.counted() => {
                    if shutdown.run_until_cancelled(tokio::time::sleep(GATHER)).await.is_none() {
                        return;
                    }
                }
                () = shutdown.cancelled() => return,
            }
            self.session.health(self.look(&host.held()));
        }
    }

    /// How the machine fares now.
    pub(crate) fn look(&self, held: &Held) -> Health {
        let contact = *self.session.contact().borrow();
        let (disk_total, disk_free) = disk(&self.state_dir);
        let (agent_writes, runner_writes) = self.writers.read();
        let reports = u32::try_from(held.reports).unwrap_or(u32::MAX);
        Health {
            sampled_at: wall(),
            uptime_ms: uptime().map_or(0, millis),
            disk_total,
            disk_free,
            agent_writes,
            runner_writes,
            clock_offset_ms: contact.clock_offset_ms,
            clock_synchronized: is_synchronized(contact.clock_offset_ms),
            temperature_milli: temperature(Path::new(THERMAL)),
            throttled: throttled(Path::new(PI_THROTTLED)),
            pods: held.pods,
            outbox: OutboxState { reports, ..self.session.outbox() },
            sealing: held.sealing,
        }
    }
}

impl Writers {
    /// Resident memory of the agent's process and of the runner's.
    pub(crate) fn memory(&self) -> (Option<u64>, Option<u64>) {
        let Self::Own(runner) = self else { return (None, None) };
        let runner = Some(runner.0.load(Ordering::Relaxed)).filter(|pid| *pid > 0);
        (
            resident(Path::new("/proc/self")),
            runner.and_then(|pid| resident(&Path::new("/proc").join(pid.to_string()))),
        )
    }

    fn read(&self) -> (Option<DiskWrites>, Option<DiskWrites>) {
        let Self::Own(runner) = self else { return (None, None) };
        let uptime = uptime();
        let runner = Some(runner.0.load(Ordering::Relaxed)).filter(|pid| *pid > 0);
        (
            process_writes(Path::new("/proc/self"), uptime),
            runner.and_then(|pid| process_writes(&Path::new("/proc").join(pid.to_string()), uptime)),
        )
    }
}

/// What a process has caused to be written since it started.
fn process_writes(process: &Path, uptime: Option<Duration>) -> Option<DiskWrites> {
    let bytes = written(&fs::read_to_string(process.join("io")).ok()?)?;
    let started = started(&fs::read_to_string(process.join("stat")).ok()?)?;
    Some(DiskWrites { bytes, span_ms: millis(uptime?.saturating_sub(started)) })
}

/// From `/proc/PID/status`.
fn resident(process: &Path) -> Option<u64> {
    let text = fs::read_to_string(process.join("status")).ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}

/// From `/proc/PID/io`: bytes for storage, without those that were deleted before they got there.
fn written(io: &str) -> Option<u64> {
    let count = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(count("write_bytes:")?.saturating_sub(count("cancelled_write_bytes:")?))
}

/// From `/proc/PID/stat`: when the process started, since the boot.
fn started(stat: &str) -> Option<Duration> {
    // The second field is a name in parentheses, which may hold anything; the rest is plain.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().nth(STAT_START_AFTER_NAME)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)))
}

fn uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Total and free bytes of the disk that holds `dir`; zero when the kernel does not tell.
fn disk(dir: &Path) -> (Bytes, Bytes) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return (Bytes(0), Bytes(0)) };
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    (bytes(stat.f_blocks), bytes(stat.f_bavail))
}

/// Whether the clock can be believed: a time service says so, or it agrees with the coordinator's.
fn is_synchronized(offset_ms: Option<i64>) -> bool {
    Path::new(TIMESYNC).exists() || offset_ms.is_some_and(|offset| offset.unsigned_abs() < AGREES_MS)
}

/// The hottest zone.
fn temperature(zones: &Path) -> Option<i32> {
    let zones = fs::read_dir(zones).ok()?.flatten();
    let read = |zone: fs::DirEntry| fs::read_to_string(zone.path().join("temp")).ok()?.trim().parse().ok();
    zones.filter_map(read).max()
}

/// The firmware of a Raspberry Pi tells in the lowest four bits what holds now: weak supply, capped, throttled, hot.
fn throttled(file: &Path) -> Option<bool> {
    let text = fs::read_to_string(file).ok()?;
    let bits = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
    Some(bits & 0xf != 0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long changes of the number of pods are gathered before the coordinator hears of it.
const GATHER: Duration = Duration::from_secs(2);

/// `starttime` is the 22nd field; the name is the second.
const STAT_START_AFTER_NAME: usize = 19;

/// An offset below this is a clock that agrees: what a link's delay can make of it.
const AGREES_MS: u64 = 1_000;

/// There while systemd's time service believes the clock.
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";
const THERMAL: &str = "/sys/class/thermal";
const PI_THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let io = "rchar: 9\nwchar: 8\nwrite_bytes: 4096\ncancelled_write_bytes: 96\n";
        assert_eq!(written(io), Some(4_000));
        assert_eq!(written("rchar: 9\n"), None);
        let hz = rustix::param::clock_ticks_per_second();
        let stat = format!("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 {} 20", 3 * hz);
        assert_eq!(started(&stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn temperature_and_throttling_are_read_where_there_are_any() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(temperature(&dir.path().join("none")), None);
        for (zone, text) in [("thermal_zone0", "41000\n"), ("thermal_zone1", "48312\n"), ("other", "x")] {
            fs::create_dir(dir.path().join(zone)).unwrap();
            fs::write(dir.path().join(zone).join("temp"), text).unwrap();
        }
        assert_eq!(temperature(dir.path()), Some(48_312));
        let check = |text: &str, expected| {
            let file = dir.path().join("throttled");
            fs::write(&file, text).unwrap();
            assert_eq!(throttled(&file), expected, "{text}");
        };
        check("0\n", Some(false));
        check("50000\n", Some(false));
        check("50005\n", Some(true));
        check("what\n", None);
    }

    #[test]
    fn this_process_writes_and_has_a_past() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, vec![1; 1 << 20]).unwrap();
        fs::File::open(&file).unwrap().sync_all().unwrap();
        let (own, runner) = Writers::Own(RunnerPid::default()).read();
        assert!(own.unwrap().span_ms < 3_600_000, "{own:?}");
        assert_eq!(runner, None);
        assert_eq!(Writers::Shared.read(), (None, None));
        let (total, free) = disk(dir.path());
        assert!(total >= free && free.0 > 0);
    }
}
