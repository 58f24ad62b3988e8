//! When memories of pods are written: what must be durable first at once, everything else together within a second.

use std::{collections::BTreeSet, io, time::Duration};

use dunlin_edge_node_core::pod::Recording;
use dunlin_link::PodUid;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Agent, Written};
use crate::local::{Batch, Change};

/// Pods whose memory is to be written.
#[derive(Debug, Default)]
pub(super) struct ToRemember {
    pods: BTreeSet<PodUid>,
    due: Option<Instant>,
    urgency: Urgency,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Urgency {
    #[default]
    Later,
    Now,
}

impl ToRemember {
    pub(super) fn add(&mut self, uid: &PodUid, recording: Recording) {
        match recording {
            Recording::Clean => return,
            Recording::First => self.urgency = Urgency::Now,
            Recording::Soon => {
                self.due.get_or_insert_with(|| Instant::now() + GATHER);
            }
        }
        self.pods.insert(uid.clone());
    }

    /// When the loop must write at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The time has come.
    pub(super) fn set_due(&mut self) {
        self.urgency = Urgency::Now;
    }

    fn take_due(&mut self) -> BTreeSet<PodUid> {
        if self.urgency == Urgency::Later {
            return BTreeSet::new();
        }
        std::mem::take(self).pods
    }
}

impl Agent {
    /// Starts the write of what is due, all of it in one batch.
    pub(super) fn write_memories(&mut self) {
        let now = self.clock.now();
        let mut batch = Batch::default();
        let mut pods = Vec::new();
        for uid in self.to_remember.take_due() {
            let Some(entry) = self.pods.get_mut(&uid) else { continue };
            if entry.pod.recording(now) != Recording::Clean {
                batch.memories.push((uid.clone(), Change::Put(entry.pod.take_memory(now))));
                pods.push(uid);
            }
        }
        if pods.is_empty() {
            return;
        }
        let write = self.local.write(batch);
        self.writes.push(write.map(|result| Written::Memories { pods, result }).boxed());
    }

    /// Ends that are durable may be reported, and their containers forgotten.
    pub(super) fn handle_memories_written(&mut self, pods: &[PodUid], result: io::Result<()>) {
        if let Err(error) = result {
            // Pods go on; what they end as is held back, because a crash would bring them to life again. A full disk may clear.
            tracing::error!(%error, "memories of pods could not be written and are tried again");
            for uid in pods {
                if let Some(entry) = self.pods.get_mut(uid) {
                    entry.pod.handle_not_remembered();
                    self.to_remember.add(uid, Recording::Soon);
                }
            }
            return;
        }
        for uid in pods {
            self.with_pod(uid, |pod, _| pod.handle_remembered());
        }
    }
}

/// How long small changes are gathered before they are written together.
const GATHER: Duration = Duration::from_secs(1);
