//! Watches of everything that are not read, or too slowly, and what becomes of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    Plan, SharedSeen,
    connection::{Http2, Identity},
    observer::{End, Observer, Seen},
    record::{Change, Sequence},
    scope::Scope,
    tenants::Tenants,
};
use crate::report::Figure;

/// All of them.
#[derive(Debug)]
pub(super) struct Slow {
    /// Never read.
    silent: Vec<(Http2, Incoming)>,
    /// Read now and then, until told to read on.
    sipping: Vec<(JoinHandle<()>, SharedSeen)>,
    hurry: tokio_util::sync::CancellationToken,
}

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Fates {
    closed: usize,
    expired: usize,
    caught_up: usize,
    left: usize,
}

impl Slow {
    /// Opens them.
    pub(super) async fn open(tenants: &Tenants, plan: &Plan, epoch: Instant) -> Result<Self> {
        let hurry = tokio_util::sync::CancellationToken::new();
        let mut slow = Self { silent: Vec::new(), sipping: Vec::new(), hurry: hurry.clone() };
        let path = tenants.watch_path(Scope::All);
        for _ in 0..plan.silent {
            let client = tenants.http2(Identity::Administrator).await?;
            let body = client.start("GET", &path, Bytes::new()).await?.into_body();
            slow.silent.push((client, body));
        }
        for _ in 0..plan.slow {
            let client = tenants.http2(Identity::Administrator).await?;
            let body = client.start("GET", &path, Bytes::new()).await?.into_body();
            let seen = Arc::new(Seen::listing());
            let observer = Observer::new(epoch, Arc::clone(&seen));
            slow.sipping.push((tokio::spawn(sip(client, body, observer, hurry.clone())), seen));
        }
        Ok(slow)
    }

    /// Reads on in those that were slow, and waits until the others are closed.
    ///
    /// # Errors
    /// When one told something else than was written.
    pub(super) async fn end(self, tenants: &Tenants, changes: &[Change]) -> Result<Fates> {
        let mut fates = Fates::default();
        self.hurry.cancel();
        for (reading, seen) in self.sipping {
            let complete = || seen.with(|seen| seen.told >= changes.len() || seen.end.is_some());
            let done = super::verdict::wait_until(complete).await;
            reading.abort();
            let (told, sequence, end) = seen.with(|seen| (seen.told, seen.sequence, seen.end.clone()));
            ensure!(told <= changes.len(), "a slow watch told more than was written");
            let expected: Sequence = tenants.expected(Scope::All, &changes[..told]);
            ensure!(sequence == expected, "a slow watch told something else than was written");
            match end {
                Some(End::Error(410)) => fates.expired += 1,
                Some(End::Closed) => fates.closed += 1,
                None if done => fates.caught_up += 1,
                other => anyhow::bail!("a slow watch ended otherwise: {other:?}"),
            }
        }
        for (client, body) in self.silent {
            match timeout(CLOSED_MAX, client.io).await {
                Ok(_) => fates.closed += 1,
                Err(_) => fates.left += 1,
            }
            drop(body);
        }
        Ok(fates)
    }
}

impl Fates {
    pub(super) fn figures(&self) -> Vec<Figure> {
        let count = |count| super::number(count);
        vec![
            Figure::new("slow watches closed", count(self.closed), ""),
            Figure::new("slow watches told 410", count(self.expired), ""),
            Figure::new("slow watches that caught up once they read", count(self.caught_up), ""),
            Figure::new("watches that nobody reads left open", count(self.left), "")
                .expect_at_most(0.0, "a client that takes nothing for a minute is left"),
        ]
    }
}

/// Takes one frame a second, until told to hurry.
async fn sip(
    client: Http2,
    mut body: Incoming,
    mut observer: Observer,
    hurry: tokio_util::sync::CancellationToken,
) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(bytes) = frame.data_ref() {
            observer.take(bytes);
        }
        tokio::select! {
            () = tokio::time::sleep(SIP_INTERVAL) => {}
            () = hurry.cancelled() => {}
        }
    }
    observer.close();
    drop(client);
}

const SIP_INTERVAL: Duration = Duration::from_secs(1);
/// The coordinator looks for clients that take nothing every quarter of a minute, and gives them a minute.
const CLOSED_MAX: Duration = Duration::from_secs(90);
