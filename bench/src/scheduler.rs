//! The scheduler alone, on one core: pods of the shapes of Kubernetes' scheduler_perf on fleets that exist in memory only.
//!
//! What is timed is from the decision to the pod counted on its node, and for shapes with changes what those cost the view. Reading
//! the pods is not: that is done once per pod, when it is created.

mod fleet;
mod shapes;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use self::{
    fleet::Fleet,
    shapes::{SHAPES, Shape},
};
use crate::{
    figures::{self, Times},
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `scheduler`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sizes of the fleet.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000, 10_000])]
    nodes: Vec<usize>,
    /// Pods to place per shape; for shapes of one pod per node, at most as many as there are nodes.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Only shapes whose name contains this.
    #[arg(long)]
    shape: Option<String>,
}

/// Measures every shape on every size.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let machine = Machine::here();
    let mut figures = Vec::new();
    let wanted = |shape: &&Shape| args.shape.as_ref().is_none_or(|part| shape.name.contains(part));
    for shape in SHAPES.iter().filter(wanted) {
        for nodes in &args.nodes {
            measure(shape, *nodes, args.pods, &mut figures)?;
        }
    }
    ensure!(!figures.is_empty(), "no shape has such a name");
    Ok(Report::new("scheduler", machine, figures))
}

fn measure(shape: &Shape, nodes: usize, pods: usize, figures: &mut Vec<Figure>) -> Result<()> {
    let mut fleet = Fleet::new(shape, nodes)?;
    let pods = shape.measured(pods, nodes);
    let mut times = Times::default();
    let mut elapsed = Duration::ZERO;
    for number in 0..pods {
        let key = fleet.create(shape, number)?;
        let started = Instant::now();
        fleet.disturb(shape, number)?;
        fleet.place(shape, &key)?;
        let time = started.elapsed();
        elapsed += time;
        times.push(time);
    }
    let name = |what: &str| format!("{}, {nodes} nodes: {what}", shape.name);
    let rate = Figure::new(name("placements"), figures::rate(pods, elapsed), "1/s");
    figures.push(if nodes == THRESHOLD_NODES {
        rate.expect_at_least(shape.expected, shape.because)
    } else {
        rate
    });
    figures.push(Figure::new(name("one pod, p50"), times.percentile_ms(50), "ms"));
    let slow = Figure::new(name("one pod, p99"), times.percentile_ms(99), "ms");
    figures.push(if nodes == LARGE_NODES {
        slow.expect_at_most(10.0, "one pod at 10,000 nodes")
    } else {
        slow
    });
    Ok(())
}

/// The size for which scheduler_perf names thresholds.
const THRESHOLD_NODES: usize = 5000;

/// The size on which one pod has a bound.
const LARGE_NODES: usize = 10_000;
