//! Figures about the store.

use std::time::Duration;

use super::Store;
use crate::metrics::{Collect, Counter, Histogram, Text};

/// Kept by the writer.
#[derive(Debug)]
pub(super) struct Figures {
    groups: Histogram,
    transactions: Counter,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self { groups: Histogram::new(DURATIONS), transactions: Counter::default() }
    }

    /// A group of transactions was written.
    pub(super) fn written(&self, transactions: usize, duration: Duration) {
        self.groups.observe(duration);
        self.transactions.add(transactions as u64);
    }
}

impl Collect for Store {
    fn collect(&self, text: &mut Text) {
        let figures = self.shared.figures();
        let help = "Time to write a group of transactions and make it durable.";
        text.histogram("dunlin_store_commit_duration_seconds", help, &figures.groups);
        let help = "Transactions written or refused by their own conditions.";
        text.counter("dunlin_store_transactions_total", help, figures.transactions.value());
        text.gauge("dunlin_store_revision", "The newest revision.", self.revision());
        let help = "The oldest revision that watches and lists can start at.";
        text.gauge("dunlin_store_oldest_revision", help, self.oldest_revision());
        text.gauge("dunlin_store_size_bytes", "The store's files.", self.shared.file_bytes());
    }
}

/// Seconds: from a disk with a cache of its own to a card that is busy.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
