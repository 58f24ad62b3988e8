//! What nodes answered lately about their use, and asking them.
//!
//! A rate takes two answers. The first time, a node is asked twice, a second apart; from then on each new answer is compared with the one
//! before, for as long as somebody asks. Whoever asks again within a moment gets what is known.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dunlin_coordinator_core::usage::{NodeUse, Sample};
use dunlin_link::{
    NodeName,
    frame::Message as _,
    usage::{ContainerThrottles, ContainerUsages, MachineUsage},
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::super::{ApiService, frames::FrameReader};
use crate::sessions::{NodeStream, StreamOpen};

/// What is known of nodes, and held for as long as somebody asks about them.
#[derive(Debug, Default)]
pub(in crate::service) struct Usages(Mutex<HashMap<NodeName, Entry>>);

#[derive(Debug)]
struct Entry {
    asked_at: Instant,
    /// Held while the node is asked, so that all who want to know it share one answer.
    last: Arc<tokio::sync::Mutex<Last>>,
}

/// How a node was asked last.
#[derive(Debug, Default)]
struct Last {
    sample: Option<(Instant, Sample)>,
    known: Option<Arc<Known>>,
    failed_at: Option<Instant>,
}

/// What a node used until `at`.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) at: Timestamp,
    pub(super) used: NodeUse,
}

impl Usages {
    fn entry(&self, node: &NodeName, now: Instant) -> Arc<tokio::sync::Mutex<Last>> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|_, entry| now.duration_since(entry.asked_at) < KEPT);
        let entry =
            nodes.entry(node.clone()).or_insert_with(|| Entry { asked_at: now, last: Arc::default() });
        entry.asked_at = now;
        Arc::clone(&entry.last)
    }
}

impl ApiService {
    /// What a node uses; `None` when it does not say.
    pub(super) async fn usage(&self, node: &NodeName) -> Option<Arc<Known>> {
        let last = self.inner.usages.entry(node, Instant::now());
        let mut last = last.lock().await;
        if let Some((at, _)) = &last.sample
            && at.elapsed() < FRESH
            && let Some(known) = &last.known
        {
            return Some(Arc::clone(known));
        }
        if last.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            return None;
        }
        match timeout(ANSWER_TIMEOUT, self.ask_usage(node, &mut last)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%node, %error, "a node does not say what it uses");
                last.failed_at = Some(Instant::now());
            }
            Err(_late) => last.failed_at = Some(Instant::now()),
        }
        last.known.clone()
    }

    async fn ask_usage(&self, node: &NodeName, last: &mut Last) -> io::Result<()> {
        last.known = None;
        let before = match last.sample.take().filter(|(at, _)| at.elapsed() < STALE) {
            Some((_, sample)) => sample,
            None => {
                let first = self.sample(node).await?;
                sleep(FIRST_WINDOW).await;
                first
            }
        };
        let after = self.sample(node).await?;
        // After a boot in between there is nothing to compare with; the next answer has this one.
        last.known =
            NodeUse::between(&before, &after).map(|used| Arc::new(Known { at: self.clock().now(), used }));
        last.sample = Some((Instant::now(), after));
        last.failed_at = None;
        Ok(())
    }

    async fn sample(&self, node: &NodeName) -> io::Result<Sample> {
        let opened = self.open_pod_stream(node, StreamOpen::Usage).await;
        read(opened.map_err(|status| io::Error::other(status.message().to_owned()))?).await
    }
}

async fn read(stream: NodeStream) -> io::Result<Sample> {
    let mut frames = FrameReader::new(stream);
    let first = frames.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let machine: MachineUsage = first.decode().map_err(io::Error::other)?;
    let (mut containers, mut throttles) = (Vec::new(), Vec::new());
    while let Some(frame) = frames.next().await? {
        // What a later version adds is not for us.
        if frame.kind == ContainerUsages::KIND {
            let part: ContainerUsages = frame.decode().map_err(io::Error::other)?;
            containers.extend(part.containers);
        } else if frame.kind == ContainerThrottles::KIND {
            let part: ContainerThrottles = frame.decode().map_err(io::Error::other)?;
            throttles.extend(part.containers);
        }
        if containers.len().max(throttles.len()) > CONTAINERS_MAX {
            return Err(io::Error::other("more containers than a node can have"));
        }
    }
    Ok(Sample { machine, containers, throttles })
}

/// How old an answer may be and still be given: metrics-server's resolution. It bounds what asking costs a node's link.
const FRESH: Duration = Duration::from_secs(15);

/// How old an answer may be to be compared with: a longer average would say little of now.
const STALE: Duration = Duration::from_mins(2);

/// The time between two answers where there was none before.
const FIRST_WINDOW: Duration = Duration::from_secs(1);

/// How long a node that did not answer is left alone.
const RETRY: Duration = Duration::from_secs(5);

/// How long a node may take; whoever asks about many does not wait longer for one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long something is known of a node that nobody asks about.
const KEPT: Duration = Duration::from_mins(5);

/// Containers of a node in one answer, which bounds what it makes us hold.
const CONTAINERS_MAX: usize = 16_384;
