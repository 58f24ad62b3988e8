//! Figures about the coordinator, told in Prometheus' text format.
//!
//! A part of the coordinator keeps its figures in a struct of its own and implements [`Collect`]; what only has to be looked at when
//! somebody asks is read there and then. Figures cost a few instructions each and are kept whether anybody asks or not.

mod family;
pub(crate) mod process;
mod text;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

pub(crate) use self::{
    family::{Family, Labels},
    text::{Text, Type},
};

/// A part of the coordinator that has figures.
pub(crate) trait Collect: fmt::Debug + Send + Sync {
    /// Writes them.
    fn collect(&self, text: &mut Text);
}

/// Only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// Goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

/// Counts durations by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// One for each bound, and one for what is longer.
    counts: Box<[AtomicU64]>,
    bounds: &'static [f64],
    sum_micros: AtomicU64,
}

impl Counter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// `bounds` are seconds, in ascending order.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { counts, bounds, sum_micros: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}
