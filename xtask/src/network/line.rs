//! A line between two interfaces that delays, loses, reorders and limits packets as it is told, by a seed.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::tun::Tun;

/// What the line does to packets; each direction has it for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    /// Every packet takes this long,
    pub(super) delay: Duration,
    /// and up to this much longer, by chance: later ones overtake earlier ones.
    pub(super) jitter: Duration,
    /// This share of them is lost.
    pub(super) loss: f64,
    /// So many bits a second pass; what finds the queue full is lost.
    pub(super) bits_per_second: Option<u64>,
    /// Which of them pass at all.
    pub(super) passes: Passes,
}

/// Which packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passes {
    Everything,
    /// All but UDP, as behind some firewalls.
    NoUdp,
    Nothing,
}

/// The line, with threads that end when their interfaces do.
#[derive(Clone, Debug)]
pub(super) struct Line {
    condition: Arc<Mutex<Condition>>,
    counters: [Arc<Counters>; 2],
}

/// What went over one direction.
#[derive(Debug, Default)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

/// A reading of [`Counters`]. Bytes are those of whole IP packets, lost ones included: somebody paid for them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
}

impl Condition {
    /// A line that one does not notice.
    pub(super) const GOOD: Self = Self {
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        loss: 0.0,
        bits_per_second: None,
        passes: Passes::Everything,
    };
}

impl Line {
    /// Joins two interfaces.
    pub(super) fn between(near: &Tun, far: &Tun, condition: Condition, seed: u64) -> Self {
        let condition = Arc::new(Mutex::new(condition));
        let counters = [Arc::<Counters>::default(), Arc::default()];
        for (number, (from, to)) in [(near, far), (far, near)].into_iter().enumerate() {
            let direction = Direction {
                condition: Arc::clone(&condition),
                counters: Arc::clone(&counters[number]),
                queue: Arc::default(),
            };
            let (from, to, sender) = (from.clone(), to.clone(), direction.clone());
            let rng = StdRng::seed_from_u64(seed.wrapping_mul(2).wrapping_add(number as u64));
            thread::spawn(move || direction.take(&from, rng));
            thread::spawn(move || sender.deliver(&to));
        }
        Self { condition, counters }
    }

    /// Changes what the line does from now on.
    pub(super) fn set(&self, condition: Condition) {
        *lock(&self.condition) = condition;
    }

    /// What went from the first interface to the second, and back.
    pub(super) fn carried(&self) -> [Carried; 2] {
        [0, 1].map(|direction| {
            let Counters { packets, bytes, lost } = &*self.counters[direction];
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Carried { packets: read(packets), bytes: read(bytes), lost: read(lost) }
        })
    }
}

#[derive(Clone)]
struct Direction {
    condition: Arc<Mutex<Condition>>,
    counters: Arc<Counters>,
    queue: Arc<(Mutex<Queue>, Condvar)>,
}

#[derive(Default)]
struct Queue {
    /// By time of arrival, then by number.
    packets: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    is_over: bool,
}

impl Direction {
    /// Takes packets in and decides what becomes of them.
    fn take(self, from: &Tun, mut rng: StdRng) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        // When the last packet so far will have left the sender.
        let mut sent = Instant::now();
        let mut number = 0;
        while let Ok(count) = from.receive(&mut buffer) {
            let packet = &buffer[..count];
            self.counters.packets.fetch_add(1, Ordering::Relaxed);
            self.counters.bytes.fetch_add(count as u64, Ordering::Relaxed);
            let condition = *lock(&self.condition);
            match arrival(packet, condition, &mut sent, &mut rng) {
                Some(at) => {
                    number += 1;
                    lock(&self.queue.0).packets.push(Reverse((at, number, packet.to_vec())));
                    self.queue.1.notify_one();
                }
                None => {
                    self.counters.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        lock(&self.queue.0).is_over = true;
        self.queue.1.notify_one();
    }

    /// Lets packets out when their time has come.
    fn deliver(self, to: &Tun) {
        let (queue, bell) = &*self.queue;
        let mut state = lock(queue);
        while !state.is_over {
            let due =
                state.packets.peek().map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            match due {
                Some(Duration::ZERO) => {
                    let Some(Reverse((_, _, packet))) = state.packets.pop() else { continue };
                    drop(state);
                    to.send(&packet);
                    state = lock(queue);
                }
                Some(wait) => {
                    state = bell.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// When a packet arrives; `None` when it is lost.
fn arrival(packet: &[u8], condition: Condition, sent: &mut Instant, rng: &mut StdRng) -> Option<Instant> {
    let passes = match condition.passes {
        Passes::Everything => true,
        Passes::NoUdp => packet.get(9) != Some(&UDP),
        Passes::Nothing => false,
    };
    if !passes {
        return None;
    }
    let now = Instant::now();
    let start = (*sent).max(now);
    if start - now > QUEUE_MAX {
        return None;
    }
    if let Some(rate) = condition.bits_per_second {
        *sent = start + Duration::from_secs_f64(packet.len() as f64 * 8.0 / rate as f64);
    } else {
        *sent = start;
    }
    // Lost on the way: the time to send it was spent.
    if rng.random_bool(condition.loss) {
        return None;
    }
    Some(*sent + condition.delay + condition.jitter.mul_f64(rng.random::<f64>()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The protocol number in an IPv4 header.
const UDP: u8 = 17;

const PACKET_BYTES_MAX: usize = 65_536;

/// What a slow line's modem keeps.
const QUEUE_MAX: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_delayed_lost_and_spread_by_the_condition() {
        let check = |condition: Condition, protocol: u8, lost: std::ops::RangeInclusive<usize>| {
            let mut rng = StdRng::seed_from_u64(1);
            let mut packet = vec![0; 1000];
            packet[9] = protocol;
            let mut sent = Instant::now();
            let arrivals: Vec<_> =
                (0..1000).map(|_| arrival(&packet, condition, &mut sent, &mut rng)).collect();
            let count = arrivals.iter().filter(|arrival| arrival.is_none()).count();
            assert!(lost.contains(&count), "{count} lost under {condition:?}");
            arrivals
        };
        check(Condition::GOOD, UDP, 0..=0);
        check(Condition { passes: Passes::NoUdp, ..Condition::GOOD }, UDP, 1000..=1000);
        check(Condition { passes: Passes::NoUdp, ..Condition::GOOD }, 6, 0..=0);
        check(Condition { loss: 0.1, ..Condition::GOOD }, UDP, 70..=130);
        // 1,000 packets of 8,000 bits at 1 Mbit/s take 8 s, of which the queue holds one and a half.
        check(Condition { bits_per_second: Some(1_000_000), ..Condition::GOOD }, UDP, 780..=830);
        let jitter = Condition { jitter: Duration::from_millis(100), ..Condition::GOOD };
        let arrivals = check(jitter, UDP, 0..=0);
        assert!(!arrivals.is_sorted());
    }
}
