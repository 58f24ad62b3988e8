//! The scheduler alone, on one core: pods of the shapes of Kubernetes' scheduler_perf on fleets that exist in memory only.
//!
//! What is timed is from the decision to the pod counted on its node, and for shapes with changes what those cost the view. Reading
//! the pods is not: that is done once per pod, when it is created.

mod fleet;
mod shapes;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};

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
    let (mut times, mut times_used) = (Times::default(), Times::default());
    let (mut elapsed, mut used) = (Duration::ZERO, Duration::ZERO);
    for first in (0..pods).step_by(BATCH) {
        let batch = first..pods.min(first + BATCH);
        let keys = batch.clone().map(|number| fleet.create(shape, number)).collect::<Result<Vec<_>>>()?;
        let mut before = (Instant::now(), cpu_time());
        for (number, key) in batch.zip(&keys) {
            fleet.disturb(shape, number)?;
            fleet.place(shape, key)?;
            let now = (Instant::now(), cpu_time());
            let (time, time_used) = (now.0 - before.0, now.1 - before.1);
            times.push(time);
            times_used.push(time_used);
            elapsed += time;
            used += time_used;
            before = now;
        }
    }
    let name = |what: &str| format!("{}, {nodes} nodes: {what}", shape.name);
    let rate = Figure::new(name("placements per second of a core"), figures::rate(pods, used), "1/s");
    figures.push(if nodes == THRESHOLD_NODES {
        rate.expect_at_least(shape.expected, shape.because)
    } else {
        rate
    });
    figures.push(Figure::new(name("placements"), figures::rate(pods, elapsed), "1/s"));
    figures.push(Figure::new(name("one pod, p50 of a core's time"), times_used.percentile_ms(50), "ms"));
    let slow = Figure::new(name("one pod, p99 of a core's time"), times_used.percentile_ms(99), "ms");
    figures.push(if nodes == LARGE_NODES {
        slow.expect_at_most(10.0, "one pod at 10,000 nodes")
    } else {
        slow
    });
    figures.push(Figure::new(name("one pod, p99"), times.percentile_ms(99), "ms"));
    Ok(())
}

/// What this thread has used of a core. On a machine that does other things beside, the clock on the wall counts those too.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Pods that are created, and then placed one after the other.
const BATCH: usize = 100;

/// The size for which scheduler_perf names thresholds.
const THRESHOLD_NODES: usize = 5000;

/// The size on which one pod has a bound.
const LARGE_NODES: usize = 10_000;
