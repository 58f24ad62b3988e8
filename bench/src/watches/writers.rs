//! Clients that make, change and delete their own objects, and note what they did.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Plan,
    connection::{Http2, Identity},
    record::{Colour, Written},
    scope,
    tenants::Tenants,
};

/// Writes until time is up; answers what was written to each object.
pub(super) async fn write(tenants: Tenants, plan: Plan, epoch: Instant) -> Result<Vec<Vec<Written>>> {
    let start = Instant::now();
    let mut work = JoinSet::new();
    for number in 0..plan.writers {
        let client = tenants.http2(Identity::Administrator).await?;
        let objects = number * plan.objects..(number + 1) * plan.objects;
        let written = objects.map(|object| (object, Vec::new())).collect();
        let writer = Writer { client, plan: plan.clone(), epoch, written };
        work.spawn(writer.run(start, number));
    }
    let mut all = vec![Vec::new(); plan.writers * plan.objects];
    while let Some(done) = work.join_next().await {
        for (object, written) in done?? {
            all[object] = written;
        }
    }
    Ok(all)
}

struct Writer {
    client: Http2,
    plan: Plan,
    epoch: Instant,
    written: Vec<(usize, Vec<Written>)>,
}

impl Writer {
    async fn run(mut self, start: Instant, number: usize) -> Result<Vec<(usize, Vec<Written>)>> {
        let end = Duration::from_secs(self.plan.seconds);
        let writers = u32::try_from(self.plan.writers)?;
        let pause = if self.plan.rate == 0 {
            Duration::ZERO
        } else {
            Duration::from_secs(1) * writers / self.plan.rate
        };
        // Not all at the same moment.
        let mut due = start + pause * u32::try_from(number)? / writers;
        let mut turn = 0;
        while start.elapsed() < end {
            if !pause.is_zero() {
                tokio::time::sleep_until(due.into()).await;
                due += pause;
            }
            self.step(turn % self.plan.objects).await?;
            turn += 1;
        }
        Ok(self.written)
    }

    /// The next write to one of the objects: of five, one makes it, three change it, one deletes it.
    async fn step(&mut self, place: usize) -> Result<()> {
        let (object, written) = &mut self.written[place];
        let namespace = scope::namespace_name(*object % self.plan.namespaces);
        let name = scope::object_name(*object);
        let folder = format!("/api/v1/namespaces/{namespace}/configmaps");
        let path = format!("{folder}/{name}");
        let step = written.len();
        let colour = Colour::of(*object + step);
        let sent = self.epoch.elapsed().as_micros().to_string();
        let body = || {
            let content = "0123456789abcdef".repeat(self.plan.bytes / 16);
            let body = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": &name, "labels": {"colour": colour.as_str()}},
                "data": {"content": content, "sent": &sent},
            });
            Bytes::from(body.to_string())
        };
        let (method, path, body, colour) = match step % 5 {
            0 => ("POST", &folder, body(), Some(colour)),
            4 => ("DELETE", &path, Bytes::new(), None),
            _ => ("PUT", &path, body(), Some(colour)),
        };
        let answer = self.client.send(method, path, body).await.context("a write was refused")?;
        let revision = match colour {
            Some(_) => {
                Some(serde_json::from_slice::<Answer<'_>>(&answer)?.metadata.resource_version.parse()?)
            }
            None => None,
        };
        written.push(Written { revision, colour });
        Ok(())
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    resource_version: &'a str,
}
