//! Changes that reach many nodes: a pod for each, then new content of the ConfigMap that they all name.

use std::time::{Duration, Instant};

use anyhow::Result;
use dunlin_link::{Digest, rpc::Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Args, Bench, client::Client, hollow, idle, per};
use crate::report::Figure;

/// Gives each of the first nodes a pod, then changes what the pods name.
pub(super) async fn measure(bench: &mut Bench, args: &Args) -> Result<Vec<Figure>> {
    let changed = args.changed.min(bench.fleet.len());
    bench.client.request(Method::Post, CONFIG_MAPS, Some(&config_map("one"))).await?;
    let mut figures = pods(bench, changed).await?;
    tokio::time::sleep(SETTLE).await;
    figures.extend(content(bench, changed).await?);
    Ok(figures)
}

/// A pod for each node: from the first create until the last status is recorded.
async fn pods(bench: &Bench, changed: usize) -> Result<Vec<Figure>> {
    let written_before = bench.usage()?.written_bytes;
    let start = Instant::now();
    let mut creating = JoinSet::new();
    for number in 0..changed {
        if creating.len() >= WRITERS
            && let Some(created) = creating.join_next().await
        {
            created??;
        }
        creating.spawn(create(bench.client.clone(), number));
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    let recorded = |told: super::host::Told| told.running == changed && told.unacked == 0;
    bench.fleet.wait_told("every pod is Running and recorded", recorded).await?;
    let took = start.elapsed();
    let written = bench.usage()?.written_bytes - written_before;
    Ok(vec![
        Figure::new(
            format!("{changed} pods on {changed} nodes, created until Running is recorded"),
            ms(took),
            "ms",
        ),
        Figure::new(
            "coordinator, written to disk per pod (create and Running)",
            written as f64 / per(changed),
            "B",
        ),
    ])
}

/// One write that concerns every node with a pod.
async fn content(bench: &Bench, changed: usize) -> Result<Vec<Figure>> {
    let (before, traffic_before) = (bench.fleet.told(), bench.fleet.traffic());
    let usage_before = bench.usage()?;
    let start = Instant::now();
    let path = format!("{CONFIG_MAPS}/{CONFIG_MAP}");
    bench.client.request(Method::Patch, &path, Some(&config_map("two"))).await?;
    let answered = start.elapsed();
    let all = before.changes + changed as u64;
    bench.fleet.wait_told("every node has the new content", |told| told.changes >= all).await?;
    let committed = start.elapsed();
    bench.fleet.wait_told("every node's status is recorded", |told| told.unacked == 0).await?;
    let recorded = start.elapsed();
    tokio::time::sleep(ACKS).await;
    let traffic = idle::since(traffic_before, bench.fleet.traffic());
    let usage = bench.usage()?;
    let name = |what: &str| format!("one ConfigMap that pods of {changed} nodes name, {what}");
    Ok(vec![
        Figure::new(name("write answered"), ms(answered), "ms"),
        Figure::new(name("committed by all, acknowledged with it"), ms(committed), "ms").expect_at_most(
            1000.0,
            "a millisecond of coordinator and node for each, on two cores that do both",
        ),
        Figure::new(name("statuses that follow recorded"), ms(recorded), "ms"),
        Figure::new(name("bytes to a node"), traffic.bytes_in as f64 / per(changed), "B"),
        Figure::new(name("bytes from a node"), traffic.bytes_out as f64 / per(changed), "B"),
        Figure::new(
            name("coordinator CPU per node"),
            (usage.cpu_seconds - usage_before.cpu_seconds) * 1e6 / per(changed),
            "us",
        ),
        Figure::new(name("written to disk"), (usage.written_bytes - usage_before.written_bytes) as f64, "B"),
    ])
}

/// A pod for the node of this number, which names the ConfigMap.
pub(super) async fn create(client: Client, number: usize) -> Result<()> {
    let node = hollow::name(number);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": format!("pod-{number}"), "labels": { "app": "bench" } },
        "spec": {
            "nodeName": node,
            "containers": [{
                "name": "main",
                "image": format!("dunlin.local/hollow@{}", Digest::of(b"nothing")),
                "envFrom": [{ "configMapRef": { "name": CONFIG_MAP } }],
            }],
        },
    });
    client.request(Method::Post, "/api/v1/namespaces/default/pods", Some(&pod)).await.map(drop)
}

/// A kibibyte of content.
pub(super) fn config_map(text: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": CONFIG_MAP },
        "data": { "KEY": text.repeat(1024 / text.len()) },
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONFIG_MAP: &str = "shared";
/// Creates under way at a time.
const WRITERS: usize = 16;
const SETTLE: Duration = Duration::from_secs(3);
/// After the last commit, for acks of packets to be counted.
const ACKS: Duration = Duration::from_millis(500);
