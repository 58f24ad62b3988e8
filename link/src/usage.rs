//! What a node and its containers use of processors and memory: asked for on a stream, when somebody wants to know.
//!
//! The answer to [`UsageOpen`] is a `StreamAnswer`, then one [`MachineUsage`], then [`ContainerUsages`] and, of containers that were held
//! back by their limit, [`ContainerThrottles`] until the stream ends; whoever knows one of these kinds not skips it. Times are
//! sums since the beginning, so that whoever asked twice knows the rate between; the node keeps nothing for it.

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, PodUid,
    frame::{Kind, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
};

/// Asks a node what it uses. Since version 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageOpen;

/// What all processes of a machine use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineUsage {
    /// Microseconds since the machine's boot: when this was so. A clock that is set does not change it.
    pub uptime_us: u64,
    /// Time for which processors were busy since the boot, all together.
    pub cpu_us: u64,
    /// Memory that could not be had if somebody asked for it.
    pub memory: Bytes,
}

/// Some of the containers that run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsages {
    /// At most [`USAGES_PER_FRAME`].
    pub containers: Vec<ContainerUsage>,
}

/// What a container uses, with the commands that run in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUsage {
    /// Its pod.
    pub uid: PodUid,
    /// Its name.
    pub container: String,
    /// Number of its run: the sum begins anew with each.
    pub attempt: u32,
    /// Time that it was on processors.
    pub cpu_us: u64,
    /// Memory that it has now.
    pub memory: Bytes,
}

/// Some of the containers that run and were ever held back. Since version 6; nobody asks for it, and earlier coordinators skip it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerThrottles {
    /// At most [`USAGES_PER_FRAME`].
    pub containers: Vec<ContainerThrottle>,
}

/// For how long a container could have computed and was not let, because its limit was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerThrottle {
    /// Its pod.
    pub uid: PodUid,
    /// Its name.
    pub container: String,
    /// Number of its run: the sum begins anew with each.
    pub attempt: u32,
    /// The time, of all that wait at once together.
    pub throttled_us: u64,
}

impl Message for ContainerThrottles {
    const KIND: Kind = Kind(0x0333);
}

impl Message for UsageOpen {
    const KIND: Kind = Kind(0x0330);
}

impl Message for MachineUsage {
    const KIND: Kind = Kind(0x0331);
}

impl Message for ContainerUsages {
    const KIND: Kind = Kind(0x0332);
}

/// What tells of containers: one frame at least. Of what was never held back nothing is said.
pub fn frames(usages: Vec<ContainerUsage>, throttles: Vec<ContainerThrottle>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for part in parts(usages) {
        frames.push(encode(&ContainerUsages { containers: part }));
    }
    if frames.is_empty() {
        frames.push(encode(&ContainerUsages { containers: Vec::new() }));
    }
    for part in parts(throttles.into_iter().filter(|throttle| throttle.throttled_us > 0).collect()) {
        frames.push(encode(&ContainerThrottles { containers: part }));
    }
    frames
}

fn parts<T: Clone>(all: Vec<T>) -> Vec<Vec<T>> {
    all.chunks(USAGES_PER_FRAME).map(<[T]>::to_vec).collect()
}

/// Among what `metrics.k8s.io` tells of a container, a resource of our own: seconds in each second for which it could have computed and its limit did
/// not let it.
pub const THROTTLED_CPU: &str = "dunlin.dev/throttled-cpu";

/// Containers in one frame.
pub const USAGES_PER_FRAME: usize = 256;

/// Names are bounded by Kubernetes (63), uids are 36 long, numbers take at most ten bytes each.
const USAGE_BYTES_MAX: usize = 63 + 36 + 2 + 3 * 10;

const _: () = assert!(USAGES_PER_FRAME * USAGE_BYTES_MAX < EXEC_FRAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Decoder;

    fn usages(count: usize) -> Vec<ContainerUsage> {
        let one = ContainerUsage {
            uid: PodUid::new("u"),
            container: "c".to_owned(),
            attempt: 0,
            cpu_us: 1,
            memory: Bytes(1),
        };
        vec![one; count]
    }

    fn kinds(frames: &[Vec<u8>]) -> Vec<Kind> {
        let kind =
            |frame: &Vec<u8>| Decoder::new(EXEC_FRAME_BYTES_MAX).feed(&mut &frame[..]).unwrap().unwrap().kind;
        frames.iter().map(kind).collect()
    }

    #[test]
    fn containers_are_told_in_parts_and_throttles_only_where_there_are_any() {
        let (containers, throttles) = (ContainerUsages::KIND, ContainerThrottles::KIND);
        assert_eq!(kinds(&frames(Vec::new(), Vec::new())), [containers]);
        let throttled = |throttled_us| ContainerThrottle {
            uid: PodUid::new("u"),
            container: "c".to_owned(),
            attempt: 0,
            throttled_us,
        };
        let told = frames(usages(USAGES_PER_FRAME + 1), vec![throttled(0), throttled(7)]);
        assert_eq!(kinds(&told), [containers, containers, throttles]);
        assert_eq!(kinds(&frames(usages(1), vec![throttled(0)])), [containers]);
    }
}
