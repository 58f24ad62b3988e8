//! The coordinator ends and starts again, or all agents do: how soon all nodes are back, what is sent to them again, and what clients
//! notice meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use dunlin_link::rpc::Method;
use rustix::process::Signal;
use serde_json::json;

use super::{Args, Bench, change::CONFIG_MAPS, client::Client, connect, host::Told, idle, per};
use crate::{figures::Times, report::Figure};

/// What became of pods since they were assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statuses {
    /// All run and have told so; nothing moves.
    Unmoved,
    /// Every container has just ended, so that the store's newest revisions are those of statuses.
    Moved,
}

/// Ends the coordinator with a signal and starts it again at once.
pub(super) async fn measure(
    bench: &mut Bench,
    args: &Args,
    signal: Signal,
    statuses: Statuses,
) -> Result<Vec<Figure>> {
    let all_run = |told: Told| told.running == told.pods && told.unacked == 0;
    bench.fleet.wait_told("every pod is Running and recorded", all_run).await?;
    if statuses == Statuses::Moved {
        bench.fleet.end_containers();
        bench.fleet.wait_told("every end is recorded", |told| told.unacked == 0).await?;
    }
    let (term, told) = (bench.fleet.term(), bench.fleet.told());
    let start = Instant::now();
    let address = bench.address.to_string();
    bench.cluster.restart_coordinator(&address, signal)?;
    let gone = start.elapsed();
    bench.client = connect(&bench.cluster).await?;
    let answering = start.elapsed();
    let all_open = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(ask_until(bench.client.clone(), Arc::clone(&all_open)));
    let opened = bench.fleet.wait_open(term).await;
    all_open.store(true, Ordering::Relaxed);
    let mut opened = opened?;
    let mut beside = beside.await??;
    let usage = bench.usage()?;
    tokio::time::sleep(Duration::from_secs(args.settle_seconds)).await;
    let traffic = bench.fleet.traffic();
    let told_since = bench.fleet.told().changes - told.changes;
    let nodes = bench.fleet.len();

    let how = if signal == Signal::KILL { "kill -9" } else { "an orderly stop" };
    let how = match statuses {
        Statuses::Unmoved => how.to_owned(),
        Statuses::Moved => format!("{how} when all containers had ended"),
    };
    let name = |what: &str| format!("after {how}, {nodes} nodes: {what}");
    let answering_ms = answering.as_secs_f64() * 1000.0;
    let mut figures = vec![
        Figure::new(name("the old process was gone"), gone.as_secs_f64() * 1000.0, "ms"),
        Figure::new(name("the API answered a new client"), answering_ms, "ms"),
        Figure::new(name("half of the nodes were back"), answering_ms + opened.percentile_ms(50), "ms"),
        Figure::new(name("99 % of the nodes were back"), answering_ms + opened.percentile_ms(99), "ms"),
        Figure::new(name("all nodes were back"), answering_ms + opened.percentile_ms(100), "ms")
            .expect_at_most(60_000.0, "a keep-alive of 25 s to notice, a few tries with jitter, a handshake"),
        Figure::new(
            name("coordinator CPU per node until then"),
            usage.cpu_seconds * 1000.0 / per(nodes),
            "ms",
        ),
        Figure::new(
            name("bytes per node until then and settled"),
            (traffic.bytes_in + traffic.bytes_out) as f64 / per(nodes),
            "B",
        ),
        Figure::new(name("assignment changes sent to nodes that came back"), told_since as f64, "")
            .expect_at_most(0.0, "no assignment changed meanwhile"),
    ];
    for (what, times) in [("GET", &mut beside.gets), ("PATCH", &mut beside.writes)] {
        for percent in [50, 99, 100] {
            let percentile = if percent == 100 { "worst".to_owned() } else { format!("p{percent}") };
            let figure = Figure::new(
                name(&format!("{what} by a client beside, {percentile} of {}", times.len())),
                times.percentile_ms(percent),
                "ms",
            );
            figures.push(if percent == 99 {
                figure.expect_at_most(1000.0, "Kubernetes' objective for a mutating call at 5,000 nodes")
            } else {
                figure
            });
        }
    }
    figures.extend(idle::memory(bench.empty, bench.usage()?, nodes, &format!("after {how}")));
    Ok(figures)
}

/// Ends the agents of all nodes in order and starts them again at once.
pub(super) async fn measure_agents(bench: &mut Bench, args: &Args) -> Result<Vec<Figure>> {
    let (told, before) = (bench.fleet.told(), bench.usage()?);
    let start = Instant::now();
    bench.fleet.restart_agents().await?;
    bench.fleet.wait_open(0).await?;
    let opened = start.elapsed();
    bench.fleet.wait_told("every pod's status is recorded", |told| told.unacked == 0).await?;
    tokio::time::sleep(Duration::from_secs(args.settle_seconds)).await;
    let (after, told_since) = (bench.usage()?, bench.fleet.told().changes - told.changes);
    let nodes = bench.fleet.len();
    let name = |what: &str| format!("after all {nodes} agents started again: {what}");
    let written = (after.written_bytes - before.written_bytes) as f64 / per(nodes);
    Ok(vec![
        Figure::new(name("all nodes were back"), opened.as_secs_f64() * 1000.0, "ms"),
        Figure::new(name("assignment changes sent to them"), told_since as f64, "")
            .expect_at_most(0.0, "no assignment changed meanwhile"),
        Figure::new(
            name("coordinator CPU per node"),
            (after.cpu_seconds - before.cpu_seconds) * 1000.0 / per(nodes),
            "ms",
        ),
        Figure::new(name("coordinator, written to disk per node"), written, "B"),
    ])
}

/// What a client saw.
#[derive(Debug, Default)]
struct Beside {
    gets: Times,
    writes: Times,
}

/// Reads and writes in turn until told to end, at least once each.
async fn ask_until(client: Client, ended: Arc<AtomicBool>) -> Result<Beside> {
    let mut seen = Beside::default();
    let mut body = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "beside" }, "data": {},
    });
    // It is there already when this is the second restart.
    let _ = client.request(Method::Post, CONFIG_MAPS, Some(&body)).await;
    let path = format!("{CONFIG_MAPS}/beside");
    let mut round = 0_u64;
    while round == 0 || !ended.load(Ordering::Relaxed) {
        round += 1;
        body["data"]["round"] = format!("{round} {:?}", Instant::now()).into();
        let before = Instant::now();
        client.request(Method::Get, &path, None).await?;
        seen.gets.push(before.elapsed());
        let before = Instant::now();
        client.request(Method::Patch, &path, Some(&body)).await?;
        seen.writes.push(before.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(seen)
}

/// Between two rounds, so that the client itself is no load.
const PAUSE: Duration = Duration::from_millis(20);
