//! How a node's machine and queues fare, and which differences are worth a frame.
//!
//! Nothing of this is stored anywhere: the coordinator keeps the last of each node in memory. A node sends its health when a session
//! opens, and again when [`Health::differs`] from what it last sent; it looks once in [`SAMPLE_INTERVAL`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, UnixMillis,
    frame::{Kind, Message},
};

/// What a node tells of itself beside its facts. Sent from protocol version 2 on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The node's clock as it looked.
    pub sampled_at: UnixMillis,
    /// How long the machine has been up.
    pub uptime_ms: u64,
    /// The disk of the state folder.
    pub disk_total: Bytes,
    /// What of it the node may still use.
    pub disk_free: Bytes,
    /// What the agent's process has caused to be written; `None` when it shares its process with others.
    pub agent_writes: Option<DiskWrites>,
    /// The same of the runner; `None` when there is none.
    pub runner_writes: Option<DiskWrites>,
    /// What to add to the node's clock to have the coordinator's, as the node saw it last; `None` before the first session.
    pub clock_offset_ms: Option<i64>,
    /// Whether the clock can be believed: a time service says so, or it agrees with the coordinator's.
    pub clock_synchronized: bool,
    /// The hottest thermal zone, in thousandths of a degree Celsius.
    pub temperature_milli: Option<i32>,
    /// Whether the processor runs below its full speed because of heat or a weak supply; `None` when the machine does not tell.
    pub throttled: Option<bool>,
    /// Pods, by what holds them here.
    pub pods: HeldPods,
    /// What waits to be told, and what was lost before it could be.
    pub outbox: OutboxState,
    /// Whether the secrets in the node's state are sealed.
    pub sealing: Sealing,
}

/// Bytes that a process caused to be written to storage since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWrites {
    /// As the kernel counts them: `write_bytes` without `cancelled_write_bytes`.
    pub bytes: u64,
    /// Since when.
    pub span_ms: u64,
}

/// How many pods a node has, by what keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPods {
    /// Assigned by the coordinator.
    pub assigned: u32,
    /// From manifests on the node's own disk.
    pub fixed: u32,
    /// Kept although the coordinator neither names nor deletes them.
    pub held: u32,
    /// Being deleted.
    pub buried: u32,
}

/// What a node has to say and has not been able to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxState {
    /// Pods whose latest status the coordinator has not recorded.
    pub reports: u32,
    /// Events that wait.
    pub events: u32,
    /// Events dropped since the agent started.
    pub events_dropped: u64,
}

/// How secrets lie in a node's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sealing {
    /// As they are, in a folder that only its owner can read.
    #[default]
    Unsealed,
    /// Sealed to a key of the node.
    Sealed,
}

impl Message for Health {
    const KIND: Kind = Kind(0x0124);
}

impl Health {
    /// Whether the coordinator should hear of this, having heard `told` last.
    pub fn differs(&self, told: &Self) -> bool {
        self.disk_differs(told)
            || writes_differ(self.agent_writes, told.agent_writes)
            || writes_differ(self.runner_writes, told.runner_writes)
            || self.clock_synchronized != told.clock_synchronized
            || self.clock_offset_ms.unwrap_or(0).abs_diff(told.clock_offset_ms.unwrap_or(0)) >= CLOCK_STEP_MS
            || self.temperature_milli.unwrap_or(0).abs_diff(told.temperature_milli.unwrap_or(0))
                >= TEMPERATURE_STEP_MILLI
            || self.throttled != told.throttled
            || self.pods != told.pods
            || self.outbox.differs(&told.outbox)
            || self.sealing != told.sealing
    }

    /// All bytes that are known to have been written, per day. `None` while no process has run for [`RATE_SPAN_MIN`]: a few minutes
    /// with a start in them say nothing about a day.
    pub fn writes_per_day(&self) -> Option<Bytes> {
        let rates: Vec<u64> = [self.agent_writes, self.runner_writes]
            .into_iter()
            .flatten()
            .filter_map(DiskWrites::per_day)
            .collect();
        (!rates.is_empty()).then(|| Bytes(rates.iter().fold(0, |sum, rate| sum.saturating_add(*rate))))
    }

    fn disk_differs(&self, told: &Self) -> bool {
        let step = (self.disk_total.0 / DISK_STEPS).max(1);
        self.disk_total != told.disk_total || self.disk_free.0.abs_diff(told.disk_free.0) >= step
    }
}

impl DiskWrites {
    /// Bytes per day at the pace so far; `None` while the span is too short to say.
    pub fn per_day(self) -> Option<u64> {
        let span = Duration::from_millis(self.span_ms);
        if span < RATE_SPAN_MIN {
            return None;
        }
        let per_day = u128::from(self.bytes) * DAY.as_millis() / span.as_millis();
        Some(u64::try_from(per_day).unwrap_or(u64::MAX))
    }
}

impl OutboxState {
    fn differs(&self, told: &Self) -> bool {
        let waits = |state: &Self| state.reports > 0 || state.events > 0;
        self.events_dropped != told.events_dropped || waits(self) != waits(told)
    }
}

/// A total that grew much, or a pace that halved or doubled: the first happens while something writes, the second makes an early
/// estimate honest while nothing does, ever more rarely.
fn writes_differ(now: Option<DiskWrites>, told: Option<DiskWrites>) -> bool {
    let (Some(now), Some(told)) = (now, told) else { return now.is_some() != told.is_some() };
    if now.bytes < told.bytes || now.bytes - told.bytes >= WRITES_STEP_BYTES {
        return true;
    }
    match (now.per_day(), told.per_day()) {
        (Some(now), Some(told)) => {
            now.max(told) >= PACE_BYTES_MIN
                && (now >= told.saturating_mul(2) || told >= now.saturating_mul(2))
        }
        (now, told) => now.is_some() != told.is_some(),
    }
}

/// How often a node looks at its health, and so the most often that it sends it within a session.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest span from which a day is extrapolated.
pub const RATE_SPAN_MIN: Duration = Duration::from_secs(600);

/// Free disk is told anew when it moved by this part of the disk.
const DISK_STEPS: u64 = 20;

/// A clock that moved by less is not worth a frame.
const CLOCK_STEP_MS: u64 = 1_000;

/// Ten degrees.
const TEMPERATURE_STEP_MILLI: u32 = 10_000;

/// Bytes written that are worth a frame.
const WRITES_STEP_BYTES: u64 = 16 << 20;

/// Paces below this, per day, are all alike: no card wears out from them.
const PACE_BYTES_MIN: u64 = 1 << 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health {
            disk_total: Bytes(100 << 30),
            disk_free: Bytes(50 << 30),
            agent_writes: Some(DiskWrites { bytes: 1 << 20, span_ms: 3_600_000 }),
            ..Health::default()
        }
    }

    #[test]
    fn only_what_matters_is_told() {
        let check = |change: fn(&mut Health), expected: bool| {
            let mut now = health();
            change(&mut now);
            assert_eq!(now.differs(&health()), expected, "{now:?}");
        };
        check(|_| {}, false);
        check(|now| now.sampled_at = UnixMillis(9), false);
        check(|now| now.uptime_ms += 1 << 20, false);
        check(|now| now.disk_free = Bytes(46 << 30), false);
        check(|now| now.disk_free = Bytes(45 << 30), true);
        check(|now| now.disk_total = Bytes(99 << 30), true);
        check(|now| now.clock_offset_ms = Some(-999), false);
        check(|now| now.clock_offset_ms = Some(-1_000), true);
        check(|now| now.temperature_milli = Some(9_999), false);
        check(|now| now.throttled = Some(true), true);
        check(|now| now.pods.held = 1, true);
        check(|now| now.outbox.events = 7, true);
        check(|now| now.outbox.events_dropped = 1, true);
        check(|now| now.runner_writes = Some(DiskWrites::default()), true);
        check(|now| now.agent_writes = Some(DiskWrites { bytes: 2 << 20, span_ms: 7_200_000 }), false);
        check(|now| now.agent_writes = Some(DiskWrites { bytes: 1 << 20, span_ms: 7_200_000 }), true);
        check(|now| now.agent_writes = Some(DiskWrites { bytes: 17 << 20, span_ms: 61_200_000 }), true);
    }

    #[test]
    fn an_idle_node_tells_its_pace_ever_more_rarely() {
        let mut told = Health { agent_writes: Some(DiskWrites { bytes: 8 << 20, span_ms: 0 }), ..health() };
        let mut frames = 0;
        for minute in 1..=(7 * 24 * 60) {
            let writes = DiskWrites { bytes: 8 << 20, span_ms: minute * 60_000 };
            let now = Health { agent_writes: Some(writes), ..health() };
            if now.differs(&told) {
                frames += 1;
                told = now;
            }
        }
        assert!(frames <= 12, "{frames}");
    }

    #[test]
    fn a_day_is_extrapolated_from_long_spans_only() {
        let check = |bytes, span_ms, expected| assert_eq!(DiskWrites { bytes, span_ms }.per_day(), expected);
        check(1_000, 599_999, None);
        check(1_000, 86_400_000, Some(1_000));
        check(1_000, 8_640_000, Some(10_000));
        check(u64::MAX, 600_000, Some(u64::MAX));
        assert_eq!(Health::default().writes_per_day(), None);
    }
}
