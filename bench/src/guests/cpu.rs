//! Whether quotas of processor time hold: guests that always compute are watched, and each window of their time is compared with what
//! they may have.

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_wasm_host::{Container, Guest, Host};
use tokio::{net::TcpStream, time::sleep};

use super::{GuestArgs, Running, free_address, guest};
use crate::{
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `guest-cpu`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    guests: GuestArgs,
    /// How many windows of time to watch each limit for
    #[arg(long, default_value_t = 2)]
    windows: u32,
}

/// Watches one guest, several, and one with several instances.
///
/// # Errors
/// When a guest does not run.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let host = Host::new()?;
    let mut figures = Vec::new();
    for (milli, guests) in CASES {
        let seen = runtime.block_on(commands(&host, args, *milli, *guests))?;
        report(&mut figures, &format!("{guests} x {milli}m"), *milli, seen);
    }
    let seen = runtime.block_on(instances(&host, args, INSTANCES_MILLI))?;
    report(&mut figures, &format!("{INSTANCES} instances of one {INSTANCES_MILLI}m"), INSTANCES_MILLI, seen);
    Ok(Report::new("guest-cpu", Machine::here(), figures))
}

/// Guests that each have a container and a limit.
async fn commands(host: &Host, args: &Args, milli: u64, count: usize) -> Result<Seen> {
    let program = args.guests.program(host, "hog")?;
    let mut spinning = Vec::new();
    for _ in 0..count {
        let limited = Guest { cpu_milli_max: Some(milli), ..guest(&["hog", "spin"], None) };
        spinning.push(Running::start(host, &program, limited).await?);
    }
    let seen = watch(&spinning, window(milli), args.windows).await;
    for guest in spinning {
        guest.end().await?;
    }
    Ok(seen)
}

/// One handler's requests that all compute.
async fn instances(host: &Host, args: &Args, milli: u64) -> Result<Seen> {
    use tokio::io::AsyncWriteExt as _;
    let program = args.guests.program(host, "http-hello")?;
    let address = free_address()?;
    let limited = Guest { cpu_milli_max: Some(milli), ..guest(&["http-hello"], Some(address)) };
    let handler = Running::start(host, &program, limited).await?;
    let mut asked = Vec::new();
    for _ in 0..INSTANCES {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /spin HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        asked.push(stream);
    }
    // Each has to begin, at a tenth of a core for all together.
    sleep(Duration::from_secs(2)).await;
    let handlers = [handler];
    let seen = watch(&handlers, window(milli), args.windows).await;
    drop(asked);
    for handler in handlers {
        handler.end().await?;
    }
    Ok(seen)
}

const fn window(milli: u64) -> Duration {
    if milli < 100 { Duration::from_secs(10) } else { Duration::from_secs(1) }
}

/// What all windows of some guests had, in thousandths of a core.
#[derive(Debug, Default)]
struct Seen {
    least: f64,
    most: f64,
    mean: f64,
    throttled: Duration,
}

/// Samples the guests' time, and looks at every window of it.
async fn watch(guests: &[Running], window: Duration, windows: u32) -> Seen {
    let mut samples: Vec<Vec<(Instant, Duration)>> = vec![Vec::new(); guests.len()];
    let (start, whole) = (Instant::now(), window * (windows + 1));
    let mut now = start;
    while now.duration_since(start) < whole {
        for (samples, guest) in samples.iter_mut().zip(guests) {
            samples.push((Instant::now(), used(&guest.container)));
        }
        sleep(SAMPLE).await;
        now = Instant::now();
    }
    let throttled = guests.iter().map(|guest| guest.container.usage().throttled).sum();
    let mut seen = Seen { least: f64::INFINITY, most: 0.0, mean: 0.0, throttled };
    let mut count = 0.0;
    for samples in &samples {
        for (number, (from, before)) in samples.iter().enumerate() {
            let end = samples[number..].iter().find(|(to, _)| to.duration_since(*from) >= window);
            let Some((to, after)) = end else { break };
            let milli = 1000.0 * (*after - *before).as_secs_f64() / to.duration_since(*from).as_secs_f64();
            seen.least = seen.least.min(milli);
            seen.most = seen.most.max(milli);
            seen.mean += milli;
            count += 1.0;
        }
    }
    seen.mean /= count;
    seen
}

fn used(container: &Container) -> Duration {
    container.usage().cpu
}

fn report(figures: &mut Vec<Figure>, name: &str, milli: u64, seen: Seen) {
    let limit = milli as f64;
    let because = "the limit, within a tenth of it";
    let seconds = window(milli).as_secs();
    figures.push(
        Figure::new(format!("{name}: most in any {seconds} s"), seen.most, "m")
            .expect_at_most(limit * 1.1, because),
    );
    figures.push(
        Figure::new(format!("{name}: least in any {seconds} s"), seen.least, "m")
            .expect_at_least(limit * 0.9, because),
    );
    figures.push(Figure::new(format!("{name}: mean"), seen.mean, "m"));
    figures.push(Figure::new(format!("{name}: waited for quota"), seen.throttled.as_secs_f64(), "s"));
}

/// Limits, and how many guests have it at once; together never more than a core.
const CASES: &[(u64, usize)] =
    &[(10, 1), (50, 1), (50, 10), (100, 1), (100, 8), (250, 1), (250, 3), (500, 1), (900, 1)];

/// Requests of the handler with several instances.
const INSTANCES: usize = 8;

/// Its limit.
const INSTANCES_MILLI: u64 = 200;

/// How often the time is looked at.
const SAMPLE: Duration = Duration::from_millis(10);
