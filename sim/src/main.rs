//! `dunlin-sim`: runs the worlds of many seeds, on as many threads as there are cores.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a tool for the terminal")]
#![expect(clippy::disallowed_methods, reason = "the worlds have no clock, the tool that runs them has")]

use std::{
    ops::RangeInclusive,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use dunlin_sim::{Options, Plant, Report, run};

/// Run the worlds of many seeds, and show the first promise that is broken.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many nodes a world has, as A..B; drawn from the seed (3 to 1,000) by default.
    #[arg(long, value_parser = parse_range)]
    nodes: Option<RangeInclusive<usize>>,
    /// Plant a bug, which has to be found.
    #[arg(long)]
    plant: Option<Plant>,
    /// End when this many seconds have passed, whatever is left.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many of the last things that happened a violation shows.
    #[arg(long, default_value_t = 60)]
    trace: usize,
    /// What to name the tree in a replay, for instance its commit.
    #[arg(long, default_value = "unknown")]
    commit: String,
}

/// What all threads have seen.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    nodes: usize,
    largest: usize,
    virtual_time: Duration,
    hash: u64,
    failed: Option<Report>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let started = Instant::now();
    let sum = run_all(&args, started);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s ({:.1} seeds/s): {} steps, {} nodes, at most {} in one, {} h of virtual time, hash {:016x}",
        sum.seeds,
        rate(sum.seeds, seconds),
        sum.steps,
        sum.nodes,
        sum.largest,
        sum.virtual_time.as_secs() / 3600,
        sum.hash,
    );
    match sum.failed {
        None => ExitCode::SUCCESS,
        Some(report) => {
            show(&report, &args);
            ExitCode::FAILURE
        }
    }
}

fn run_all(args: &Args, started: Instant) -> Sum {
    let options = Options { nodes: args.nodes.clone(), plant: args.plant, trace_lines: args.trace };
    let (next, stop, sum) = (AtomicU64::new(args.from), AtomicBool::new(false), Mutex::new(Sum::default()));
    let end = args.from.saturating_add(args.seeds);
    let work = || {
        loop {
            let late = args.seconds.is_some_and(|bound| started.elapsed().as_secs() >= bound);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || late || stop.load(Ordering::Relaxed) {
                return;
            }
            let report = run(seed, &options);
            if report.violation.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(report);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.steps += report.steps;
        self.nodes += report.nodes;
        self.largest = self.largest.max(report.nodes);
        self.virtual_time += report.elapsed;
        // In no order, for threads end in none.
        self.hash ^= report.hash.wrapping_mul(report.seed | 1);
        let is_first = self.failed.as_ref().is_none_or(|failed| report.seed < failed.seed);
        if report.violation.is_some() && is_first {
            self.failed = Some(report);
        }
    }
}

fn show(report: &Report, args: &Args) {
    let Some(violation) = &report.violation else { return };
    for line in &violation.trace {
        println!("{line}");
    }
    let Report { seed, nodes, steps, elapsed, .. } = report;
    println!("\nVIOLATION: {}", violation.what);
    println!(
        "seed {seed}, commit {}, step {steps}, {nodes} nodes, after {:.3} s",
        args.commit,
        elapsed.as_secs_f64()
    );
    let range = args
        .nodes
        .as_ref()
        .map_or(String::new(), |nodes| format!(" --nodes {}..{}", nodes.start(), nodes.end()));
    let plant = args.plant.map_or(String::new(), |plant| format!(" --plant {plant}"));
    println!("replay: cargo xtask sim --seeds 1 --from {seed}{range}{plant}");
}

fn rate(seeds: u64, seconds: f64) -> f64 {
    u32::try_from(seeds).map_or(f64::INFINITY, f64::from) / seconds
}

fn parse_range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let wrong = || "a range is A..B, with A of at least 1 and not above B".to_owned();
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first >= 1 && first <= last { Ok(first..=last) } else { Err(wrong()) }
}
