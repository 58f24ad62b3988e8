//! Deployments at rest: what controllers do while nothing changes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use dunlin_link::rpc::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Bench, client::Client, per, placing};
use crate::{
    https::client::Connector,
    report::{Figure, mebibytes},
};

/// What is at rest, and for how long it is looked at.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) deployments: usize,
    pub(super) replicas: usize,
    pub(super) seconds: u64,
}

/// What the coordinator has counted since it started.
#[derive(Clone, Copy, Debug)]
struct Counted {
    turns: f64,
    plans: f64,
    carried_out: f64,
}

/// Creates Deployments, waits until all are available, and looks at the coordinator while nothing happens.
pub(super) async fn measure(bench: &Bench, load: &Load, settle_seconds: u64) -> Result<Vec<Figure>> {
    let start = Instant::now();
    let cpu_before = bench.usage()?.cpu_seconds;
    create(&bench.client, load).await?;
    wait_available(&bench.client, load).await?;
    let available = start.elapsed();
    let cpu = bench.usage()?.cpu_seconds - cpu_before;
    // Reports of nodes and events follow.
    tokio::time::sleep(Duration::from_secs(settle_seconds)).await;
    let access = Connector::of(&bench.cluster)?;
    let (counted, before) = (counted(&access).await?, bench.usage()?);
    tokio::time::sleep(Duration::from_secs(load.seconds)).await;
    let after = bench.usage()?;
    let counted_after = self::counted(&access).await?;
    let per_minute = 60.0 / load.seconds.max(1) as f64;
    let name = |what: &str| {
        let Load { deployments, replicas, .. } = load;
        format!("{deployments} Deployments of {replicas} on {} nodes, {what}", bench.fleet.len())
    };
    Ok(vec![
        Figure::new(name("created until all are available"), available.as_secs_f64(), "s"),
        Figure::new(
            name("CPU of the coordinator each until then"),
            cpu * 1000.0 / per(load.deployments),
            "ms",
        ),
        Figure::new(name("memory of the coordinator (PSS)"), mebibytes(after.pss_bytes), "MiB"),
        Figure::new(
            name("CPU per minute at rest"),
            (after.cpu_seconds - before.cpu_seconds) * per_minute,
            "s",
        )
        .expect_at_most(0.1, "keep-alives of the nodes, and a look at the figures"),
        Figure::new(
            name("controllers asked per minute at rest"),
            (counted_after.plans - counted.plans) * per_minute,
            "",
        )
        .expect_at_most(0.0, "nothing changed"),
        Figure::new(
            name("plans carried out per minute at rest"),
            (counted_after.carried_out - counted.carried_out) * per_minute,
            "",
        )
        .expect_at_most(0.0, "nothing changed"),
        Figure::new(
            name("turns of controllers and scheduler per minute at rest"),
            (counted_after.turns - counted.turns) * per_minute,
            "",
        ),
        Figure::new(
            name("written to disk per minute at rest"),
            (after.written_bytes - before.written_bytes) as f64 * per_minute,
            "B",
        )
        .expect_at_most(0.0, "nothing is written when nothing changes"),
    ])
}

async fn create(client: &Client, load: &Load) -> Result<()> {
    let mut creating = JoinSet::new();
    for number in 0..load.deployments {
        if creating.len() >= WRITERS
            && let Some(created) = creating.join_next().await
        {
            created??;
        }
        let (client, replicas) = (client.clone(), load.replicas);
        creating.spawn(async move {
            let labels = json!({ "app": format!("rest-{number}") });
            let deployment = json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": { "name": format!("rest-{number}") },
                "spec": {
                    "replicas": replicas,
                    "selector": { "matchLabels": labels },
                    "template": { "metadata": { "labels": labels }, "spec": placing::spec() },
                },
            });
            client.request(Method::Post, DEPLOYMENTS, Some(&deployment)).await.map(drop)
        });
    }
    while let Some(created) = creating.join_next().await {
        created??;
    }
    Ok(())
}

/// Waits until every Deployment says that all its pods are available.
async fn wait_available(client: &Client, load: &Load) -> Result<()> {
    let deadline = Instant::now() + AVAILABLE_MAX;
    loop {
        let list = client.request(Method::Get, DEPLOYMENTS, None).await?;
        let items = list["items"].as_array().context("the list has no items")?;
        let is_available = |item: &&serde_json::Value| {
            let replicas = item["status"]["availableReplicas"].as_u64();
            replicas == u64::try_from(load.replicas).ok()
        };
        let available = items.iter().filter(is_available).count();
        if available == load.deployments {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{available} of {} are available", load.deployments);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn counted(access: &Connector) -> Result<Counted> {
    let text = access.connect().await?.send("GET", "/metrics", "text/plain", Bytes::new()).await?;
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.with_context(|| format!("the coordinator counts no {name}"))
    };
    Ok(Counted {
        turns: value("dunlin_driver_turns_total")?,
        plans: value("dunlin_controller_plans_total")?,
        carried_out: value("dunlin_reconciliations_total")?,
    })
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WRITERS: usize = 16;
const AVAILABLE_MAX: Duration = Duration::from_secs(600);
/// A list of a thousand is some work for the coordinator.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
