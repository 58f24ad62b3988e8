//! From sending a write until a watch tells it.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::json;

use super::client::{Connector, JSON};
use crate::{figures::Times, report::Figure};

/// Writes one after the other, each watched by the same watch.
pub(super) async fn measure(access: &Connector) -> Result<Vec<Figure>> {
    let (mut writer, mut watcher) = (access.connect().await?, access.connect().await?);
    let path = format!(
        "{CONFIG_MAPS}?watch=true&labelSelector=bench%3Dwatch&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    );
    let mut events = watcher.start("GET", &path, JSON, Bytes::new()).await?.into_body();
    let mut times = Times::default();
    for position in 0..WRITES {
        let object =
            json!({"metadata": {"name": format!("watched-{position}"), "labels": {"bench": "watch"}}});
        let before = Instant::now();
        writer.send("POST", CONFIG_MAPS, JSON, object.to_string().into()).await?;
        let frame = events.frame().await.context("the watch ended")??;
        anyhow::ensure!(frame.is_data(), "the watch told no event");
        times.push(before.elapsed());
    }
    Ok(vec![
        Figure::new("write sent until a watch told it, p50", times.percentile_ms(50), "ms")
            .expect_at_most(3.2, "as kube-apiserver and etcd on such a machine, and no slower"),
        Figure::new("write sent until a watch told it, p99", times.percentile_ms(99), "ms")
            .expect_at_most(11.0, "as kube-apiserver and etcd on such a machine, and no slower"),
    ])
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITES: usize = 500;
