//! What a client sees of pods: when a watch of a namespace told that each was bound, that it runs, and that it is gone.

use std::{collections::HashMap, time::Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Duration, timeout},
};

use crate::https::client::{Connector, JSON};

/// A watch of the pods of a namespace.
#[derive(Debug)]
pub(crate) struct PodWatch {
    counts: watch::Receiver<Counts>,
    reading: JoinHandle<Result<HashMap<String, Sight>>>,
}

/// When a pod was seen for the first time so.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) bound: Option<Instant>,
    pub(crate) running: Option<Instant>,
}

/// How many pods were seen so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) bound: usize,
    pub(crate) running: usize,
    pub(crate) gone: usize,
    ended: bool,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Pod,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "nodeName")]
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

impl PodWatch {
    /// Opens it, over HTTPS; pods of that namespace must come later.
    pub(crate) async fn open(access: &Connector, namespace: &str) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{namespace}/pods?watch=true");
        let mut client = access.connect().await?;
        let body = client.start("GET", &path, JSON, Bytes::new()).await?.into_body();
        let (sender, counts) = watch::channel(Counts::default());
        let reading = tokio::spawn(async move {
            // The connection is the client's.
            let _client = client;
            let seen = read(body, &sender).await;
            sender.send_modify(|counts| counts.ended = true);
            seen
        });
        Ok(Self { counts, reading })
    }

    /// Waits until `is_so` holds of what was seen; answers when it did.
    pub(crate) async fn wait(&mut self, what: &str, is_so: impl Fn(Counts) -> bool) -> Result<Instant> {
        let seen = self.counts.wait_for(|counts| counts.ended || is_so(*counts));
        let counts = *timeout(SEEN_MAX, seen).await.with_context(|| format!("never seen: {what}"))??;
        if !is_so(counts) {
            bail!("the watch ended before it told: {what}; seen were {counts:?}");
        }
        Ok(Instant::now())
    }

    /// Ends the watch after every pod that came has gone; answers what was seen of each.
    pub(crate) async fn sights(self) -> Result<HashMap<String, Sight>> {
        self.reading.await?
    }
}

/// Reads until as many pods have gone as came.
async fn read(mut body: Incoming, counts: &watch::Sender<Counts>) -> Result<HashMap<String, Sight>> {
    let mut sights: HashMap<String, Sight> = HashMap::new();
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame?.into_data() else { continue };
        rest.extend_from_slice(&bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let now = Instant::now();
        let mut more = *counts.borrow();
        for line in rest[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            note(line, now, &mut sights, &mut more)?;
        }
        rest.drain(..=end);
        counts.send_replace(more);
        if more.gone > 0 && more.gone == sights.len() {
            break;
        }
    }
    Ok(sights)
}

fn note(line: &[u8], now: Instant, sights: &mut HashMap<String, Sight>, counts: &mut Counts) -> Result<()> {
    let Event { kind, object } = serde_json::from_slice(line).context("an event is malformed")?;
    let Pod { metadata, spec, status } = object;
    let sight = sights.entry(metadata.name).or_default();
    if !spec.node_name.is_empty() && sight.bound.is_none() {
        sight.bound = Some(now);
        counts.bound += 1;
    }
    if status.phase == "Running" && sight.running.is_none() {
        sight.running = Some(now);
        counts.running += 1;
    }
    if kind == "DELETED" {
        counts.gone += 1;
    }
    Ok(())
}

const SEEN_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_counted_once_for_each_state() {
        let (mut sights, mut counts) = (HashMap::new(), Counts::default());
        for line in [
            r#"{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":{},"status":{"phase":"Pending"}}}"#,
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"a"},"spec":{"nodeName":"n"},"status":{"phase":"Pending"}}}"#,
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"a"},"spec":{"nodeName":"n"},"status":{"phase":"Running"}}}"#,
            r#"{"type":"DELETED","object":{"metadata":{"name":"a"},"spec":{"nodeName":"n"},"status":{"phase":"Running"}}}"#,
        ] {
            note(line.as_bytes(), Instant::now(), &mut sights, &mut counts).unwrap();
        }
        assert_eq!(counts, Counts { bound: 1, running: 1, gone: 1, ended: false });
        assert!(sights["a"].bound.is_some() && sights["a"].running.is_some());
    }
}
