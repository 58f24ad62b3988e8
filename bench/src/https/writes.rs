//! Creates, gets and updates of 1 KiB ConfigMaps, each acknowledged after its flush.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    client::{Client, Connector, JSON},
    cpu_seconds, times_kubernetes,
};
use crate::{cluster::Cluster, figures::Times, report::Figure};

/// What a round does.
#[derive(Clone, Copy)]
enum Verb {
    Create,
    Get,
    Update,
}

/// Measures each verb with each number of clients.
pub(super) async fn measure(cluster: &Cluster, access: &Connector, seconds: u64) -> Result<Vec<Figure>> {
    let time = Duration::from_secs(seconds);
    let mut figures = Vec::new();
    for (clients, theirs) in CLIENTS {
        for (verb, name, theirs) in [
            (Verb::Create, "creates", theirs[0]),
            (Verb::Get, "gets", theirs[1]),
            (Verb::Update, "updates", theirs[2]),
        ] {
            let cpu = cpu_seconds(cluster)?;
            let (mut times, rate) = round(access, verb, clients, time).await?;
            let cpu = cpu_seconds(cluster)? - cpu;
            let name = format!("{name}, {clients} clients");
            figures.push(times_kubernetes(Figure::new(&name, rate, "1/s"), theirs, FACTOR));
            figures.push(Figure::new(format!("{name}, p50"), times.percentile_ms(50), "ms"));
            figures.push(Figure::new(format!("{name}, p99"), times.percentile_ms(99), "ms"));
            let count = u32::try_from(times.len().max(1)).map_or(f64::INFINITY, f64::from);
            figures.push(Figure::new(
                format!("{name}, CPU of the coordinator each"),
                cpu * 1e6 / count,
                "us",
            ));
        }
    }
    Ok(figures)
}

async fn round(access: &Connector, verb: Verb, clients: usize, time: Duration) -> Result<(Times, f64)> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(access.connect().await?);
    }
    let start = Instant::now();
    let mut work = JoinSet::new();
    for (position, mut client) in connections.into_iter().enumerate() {
        work.spawn(async move {
            let mut times = Times::default();
            // However slow a machine is, there is enough to read and update.
            while start.elapsed() < time || times.len() < REUSED {
                let count = times.len();
                let before = Instant::now();
                step(&mut client, verb, clients, position, count).await?;
                times.push(before.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Times::default();
    for finished in work.join_all().await {
        times.extend(finished?);
    }
    let rate = times.rate(start.elapsed());
    Ok((times, rate))
}

/// One request. Gets and updates go round the objects that the creates of the same number of clients made.
async fn step(client: &mut Client, verb: Verb, clients: usize, position: usize, count: usize) -> Result<()> {
    let name = |count: usize| format!("c{clients}-{position}-{count}");
    let path = |count: usize| format!("{CONFIG_MAPS}/{}", name(count % REUSED));
    match verb {
        Verb::Create => {
            client.send("POST", CONFIG_MAPS, JSON, body(&name(count), count)).await?;
        }
        Verb::Get => {
            client.send("GET", &path(count), JSON, Bytes::new()).await?;
        }
        Verb::Update => {
            let name = name(count % REUSED);
            client.send("PUT", &path(count), JSON, body(&name, count + 1)).await?;
        }
    }
    Ok(())
}

fn body(name: &str, count: usize) -> Bytes {
    let content = "0123456789abcdef".repeat(CONTENT_BYTES / 16);
    let object: Value = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"content": content, "count": count.to_string()},
    });
    object.to_string().into()
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONTENT_BYTES: usize = 1024;
/// Objects of each client that are read and updated again and again; each client makes at least these.
const REUSED: usize = 20;
/// Kubernetes 1.36 with etcd on such a machine: creates, gets and updates a second (the better of several runs).
const CLIENTS: [(usize, [f64; 3]); 3] =
    [(1, [626.0, 1240.0, 590.0]), (16, [1522.0, 3809.0, 1239.0]), (64, [1824.0, 4301.0, 1436.0])];
/// What is wanted: five times as many.
const FACTOR: f64 = 5.0;
