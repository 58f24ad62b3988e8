//! How long a handler's answers take beside guests that compute without end, against alone: in turns, so that what else the machine
//! does meets both alike.

use std::{thread::available_parallelism, time::Duration};

use anyhow::Result;
use dunlin_wasm_host::Host;

use super::{
    GuestArgs, Running, free_address, guest,
    load::{Client, paced},
};
use crate::{
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `guest-neighbours`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    guests: GuestArgs,
    /// How long each of the ten phases lasts
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// Runs both, five times each.
///
/// # Errors
/// When a guest does not run or a request fails.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let host = Host::new()?;
    let spinners = 2 * available_parallelism().map_or(1, usize::from);
    let (mut alone, mut beside) = runtime.block_on(measure(&host, args, spinners))?;
    let (alone_p99, beside_p99) = (median(&mut alone, 99), median(&mut beside, 99));
    let figures = vec![
        Figure::new("spinning guests", spinners as f64, ""),
        Figure::new("answer alone, p50, median of five", median(&mut alone, 50), "ms"),
        Figure::new("answer beside them, p50, median of five", median(&mut beside, 50), "ms"),
        Figure::new("answer alone, p99, median of five", alone_p99, "ms"),
        Figure::new("answer beside them, p99, median of five", beside_p99, "ms")
            .expect_at_most(alone_p99 + 2.0, "alone, and 2 ms"),
    ];
    Ok(Report::new("guest-neighbours", Machine::here(), figures))
}

async fn measure(host: &Host, args: &Args, spinners: usize) -> Result<(Vec<Times>, Vec<Times>)> {
    let (handler, hog) = (args.guests.program(host, "http-hello")?, args.guests.program(host, "hog")?);
    let address = free_address()?;
    let neighbour = Running::start(host, &handler, guest(&["http-hello"], Some(address))).await?;
    let mut client = Client::connect(address).await?;
    let duration = Duration::from_secs(args.seconds);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    paced(&mut client, PAUSE, Duration::from_secs(1)).await?;
    for _ in 0..RUNS {
        alone.push(paced(&mut client, PAUSE, duration).await?);
        let mut spinning = Vec::new();
        for _ in 0..spinners {
            spinning.push(Running::start(host, &hog, guest(&["hog", "spin"], None)).await?);
        }
        beside.push(paced(&mut client, PAUSE, duration).await?);
        for spinner in spinning {
            spinner.end().await?;
        }
    }
    neighbour.end().await?;
    Ok((alone, beside))
}

fn median(runs: &mut [Times], percent: usize) -> f64 {
    let mut values: Vec<f64> = runs.iter_mut().map(|times| times.percentile_ms(percent)).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Runs of either kind.
const RUNS: usize = 5;

/// Two hundred requests in a second: a handler that has something to do and is mostly idle.
const PAUSE: Duration = Duration::from_millis(5);
