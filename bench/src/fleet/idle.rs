//! What idle nodes cost their coordinator and their links.

use std::time::Duration;

use anyhow::Result;
use dunlin_edge_node::session::Traffic;

use super::{Args, Bench, per};
use crate::{
    process::Usage,
    report::{Figure, mebibytes},
};

/// Leaves the nodes alone, then looks at memory, and at CPU, disk and network over a while.
pub(super) async fn measure(bench: &Bench, args: &Args) -> Result<Vec<Figure>> {
    tokio::time::sleep(Duration::from_secs(args.settle_seconds)).await;
    let nodes = bench.fleet.len();
    let (before, traffic_before) = (bench.usage()?, bench.fleet.traffic());
    tokio::time::sleep(Duration::from_secs(u64::from(args.seconds))).await;
    let (after, traffic) = (bench.usage()?, since(traffic_before, bench.fleet.traffic()));
    let per_day = 86_400.0 / f64::from(args.seconds);
    let written = (after.written_bytes - before.written_bytes) as f64 * per_day;
    let mut figures = memory(bench.empty, after, nodes, "idle");
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    figures.extend([
        Figure::new(
            format!("coordinator CPU per minute, {nodes} nodes"),
            cpu_seconds * per_day / 1440.0,
            "s",
        ),
        Figure::new(
            format!("coordinator CPU per keep-alive, {nodes} nodes"),
            cpu_seconds * 1e6 / (traffic.pings_out.max(1) as f64),
            "us",
        )
        .expect_at_most(5.0, "a packet is received, decrypted, answered and timed: a few microseconds"),
        Figure::new(
            format!("keep-alives per idle node and day, {nodes} nodes"),
            traffic.pings_out as f64 * per_day / per(nodes),
            "",
        ),
    ]);
    figures.extend(network(traffic, nodes, per_day));
    figures.push(
        Figure::new(format!("coordinator, written to disk per idle day, {nodes} nodes"), written, "B")
            .expect_at_most(0.0, "nothing is written when nothing changes"),
    );
    Ok(figures)
}

/// Memory above an empty coordinator, for each node.
pub(super) fn memory(empty: Usage, now: Usage, nodes: usize, when: &str) -> Vec<Figure> {
    let each = |now: u64, empty: u64| now.saturating_sub(empty) as f64 / 1024.0 / per(nodes);
    vec![
        Figure::new(
            format!("coordinator, memory (PSS), {nodes} nodes {when}"),
            mebibytes(now.pss_bytes),
            "MiB",
        ),
        Figure::new(
            format!("memory per session (PSS), {nodes} nodes {when}"),
            each(now.pss_bytes, empty.pss_bytes),
            "KiB",
        )
        .expect_at_most(32.0, "a QUIC connection with its TLS keys, a task, and the node in the view"),
        Figure::new(
            format!("memory per session (anonymous), {nodes} nodes {when}"),
            each(now.anonymous_bytes, empty.anonymous_bytes),
            "KiB",
        )
        .expect_at_most(32.0, "as above"),
    ]
}

/// Bytes per node and day in both directions.
fn network(traffic: Traffic, nodes: usize, per_day: f64) -> [Figure; 2] {
    let payload = (traffic.bytes_in + traffic.bytes_out) as f64 * per_day / per(nodes);
    let datagrams = (traffic.datagrams_in + traffic.datagrams_out) as f64 * per_day / per(nodes);
    [
        Figure::new(format!("bytes per idle node and day, UDP payload, {nodes} nodes"), payload, "B"),
        Figure::new(
            format!("bytes per idle node and day, with IPv4 and UDP headers, {nodes} nodes"),
            payload + datagrams * HEADERS_BYTES,
            "B",
        )
        .expect_at_most(
            500_000.0,
            "3,456 keep-alives of 25 s and their answers, below 70 B each with headers",
        ),
    ]
}

/// What was carried between two looks at the same connections.
pub(super) fn since(before: Traffic, after: Traffic) -> Traffic {
    Traffic {
        datagrams_out: after.datagrams_out.saturating_sub(before.datagrams_out),
        bytes_out: after.bytes_out.saturating_sub(before.bytes_out),
        datagrams_in: after.datagrams_in.saturating_sub(before.datagrams_in),
        bytes_in: after.bytes_in.saturating_sub(before.bytes_in),
        pings_out: after.pings_out.saturating_sub(before.pings_out),
    }
}

/// Of IPv4 and UDP.
const HEADERS_BYTES: f64 = 28.0;
