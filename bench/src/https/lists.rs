//! Lists of many pods: whole and paged, as JSON and as a table.

use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    client::{Client, Connector, JSON},
    cpu_seconds,
};
use crate::{
    cluster::Cluster,
    figures::Times,
    report::{Figure, mebibytes},
};

/// Measures each way to list.
pub(super) async fn measure(cluster: &Cluster, access: &Connector, pods: usize) -> Result<Vec<Figure>> {
    let mut client = access.connect().await?;
    let mut figures = Vec::new();
    for (name, accept) in [("JSON", JSON), ("table", TABLE)] {
        let (mut times, cpu) = (Times::default(), cpu_seconds(cluster)?);
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let before = Instant::now();
            bytes = client.send("GET", PODS, accept, Bytes::new()).await?.len();
            times.push(before.elapsed());
        }
        let cpu = (cpu_seconds(cluster)? - cpu) / f64::from(ROUNDS);
        let whole = Figure::new(format!("list of {pods} pods, {name}, p50"), times.percentile_ms(50), "ms");
        let cpu =
            Figure::new(format!("list of {pods} pods, {name}, CPU of the coordinator"), cpu * 1000.0, "ms");
        figures.push(whole);
        figures.push(if accept == JSON {
            cpu.expect_at_most(
                LIST_MS / 10.0,
                format!("ten lists for the CPU of one of kube-apiserver's, which takes {LIST_MS} ms"),
            )
        } else {
            cpu
        });
        figures.push(Figure::new(
            format!("list of {pods} pods, {name}, size"),
            mebibytes(bytes as u64),
            "MiB",
        ));
        figures.push(pages(&mut client, accept, pods, name).await?);
    }
    let memory = cluster.usage(&["coordinator"])?;
    figures.push(Figure::new("memory after the lists (PSS)", mebibytes(memory.pss_bytes), "MiB"));
    Ok(figures)
}

/// A page of 500, and that all pages are the whole list.
async fn pages(client: &mut Client, accept: &str, pods: usize, name: &str) -> Result<Figure> {
    let (mut times, mut token, mut seen) = (Times::default(), String::new(), 0);
    loop {
        let path = format!("{PODS}?limit=500&continue={token}");
        let before = Instant::now();
        let page = client.send("GET", &path, accept, Bytes::new()).await?;
        times.push(before.elapsed());
        let page: Page = serde_json::from_slice(&page)?;
        seen += page.items.len() + page.rows.len();
        token = page.metadata.token;
        if token.is_empty() {
            break;
        }
    }
    ensure!(seen == pods, "the pages hold {seen} pods of {pods}");
    let figure = Figure::new(format!("page of 500 pods, {name}, p50"), times.percentile_ms(50), "ms");
    Ok(if accept == JSON {
        figure.expect_at_most(PAGE_MS, "as kube-apiserver, and no slower")
    } else {
        figure
    })
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    rows: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const ROUNDS: u32 = 10;
/// Kubernetes 1.36 on such a machine: 10,000 pods as JSON, and a page of 500.
const LIST_MS: f64 = 263.0;
const PAGE_MS: f64 = 16.0;
