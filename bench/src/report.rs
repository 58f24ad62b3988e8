//! What a bench prints: figures beside what was expected of them.

use serde::Serialize;

use crate::machine::Machine;

/// One run of one bench.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    machine: Machine,
    figures: Vec<Figure>,
    /// Everything expected was reached.
    met: bool,
}

/// One number.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// A bound, and in words where it comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    because: String,
}

impl Report {
    pub(crate) fn new(bench: &'static str, machine: Machine, figures: Vec<Figure>) -> Self {
        let met = figures.iter().all(|figure| figure.met != Some(false));
        Self { bench, machine, figures, met }
    }
}

impl Figure {
    /// A number that nothing is expected of.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value: rounded(value), unit, expected: None, met: None }
    }

    pub(crate) fn expect_at_least(mut self, bound: f64, because: impl Into<String>) -> Self {
        self.met = Some(self.value >= bound);
        let at_least = Some(rounded(bound));
        self.expected = Some(Expected { at_least, at_most: None, because: because.into() });
        self
    }

    pub(crate) fn expect_at_most(mut self, bound: f64, because: impl Into<String>) -> Self {
        self.met = Some(self.value <= bound);
        let at_most = Some(rounded(bound));
        self.expected = Some(Expected { at_least: None, at_most, because: because.into() });
        self
    }
}

/// Bytes as mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Digits beyond the thousandths say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
