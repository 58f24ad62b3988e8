//! When memories of pods are written: what must be durable first at once, everything else together within a second.

use std::{collections::BTreeSet, mem};

use dunlin_link::PodUid;

use super::{Batch, Change, Desk, NodeCore, Notice, Output, WriteTicket};
use crate::{
    clock::{Mono, Now},
    pod::Recording,
};

/// Pods whose memory is to be written.
#[derive(Debug, Default)]
pub(super) struct ToRemember {
    pods: BTreeSet<PodUid>,
    due: Option<Mono>,
    urgency: Urgency,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Urgency {
    #[default]
    Later,
    Now,
}

impl ToRemember {
    pub(super) fn add(&mut self, uid: &PodUid, recording: Recording, now: Mono) {
        match recording {
            Recording::Clean => return,
            Recording::First => self.urgency = Urgency::Now,
            Recording::Soon => {
                self.due.get_or_insert_with(|| now.plus_millis(GATHER_MS));
            }
        }
        self.pods.insert(uid.clone());
    }

    /// Has a pod's memory written again that could not be, after a while.
    fn add_again(&mut self, uid: &PodUid, now: Mono) {
        self.due.get_or_insert_with(|| now.plus_millis(AGAIN_MS));
        self.pods.insert(uid.clone());
    }

    /// Something beside memories is to be written with the next batch.
    pub(super) fn write_soon(&mut self, now: Mono) {
        self.due.get_or_insert_with(|| now.plus_millis(GATHER_MS));
    }

    /// When the next batch must be made at the latest.
    pub(super) fn due(&self) -> Option<Mono> {
        self.due
    }

    pub(super) fn handle_timeout(&mut self, now: Mono) {
        if self.due.is_some_and(|due| due <= now) {
            self.set_due();
        }
    }

    /// The time has come.
    pub(super) fn set_due(&mut self) {
        self.urgency = Urgency::Now;
    }

    fn take_due(&mut self) -> Option<BTreeSet<PodUid>> {
        match self.urgency {
            Urgency::Later => None,
            Urgency::Now => Some(mem::take(self).pods),
        }
    }
}

impl NodeCore {
    /// Puts all that is due into one batch, unless one is on its way: then it waits for the next.
    pub(super) fn write_memories(&mut self, now: Now) {
        if self.remembering.is_some() {
            return;
        }
        let Some(due) = self.desk.to_remember.take_due() else { return };
        let mut batch = Batch::default();
        let mut pods = Vec::new();
        for uid in due {
            // Its memory is being removed; written now it would stay behind for ever.
            if self.committing.as_ref().is_some_and(|committing| committing.forgets(&uid)) {
                continue;
            }
            let Some(entry) = self.pods.get_mut(&uid) else { continue };
            if entry.pod.recording(now) != Recording::Clean {
                batch.memories.push((uid.clone(), Change::Put(entry.pod.take_memory(now))));
                pods.push(uid);
            }
        }
        batch.tokens = self.desk.tokens.take_records();
        if let Some(committing) = &self.committing {
            batch.tokens.retain(|(uid, _)| !committing.forgets(uid));
        }
        if pods.is_empty() && batch.tokens.is_empty() {
            return;
        }
        let ticket = self.next_write();
        self.remembering = Some((ticket, pods));
        self.desk.outputs.push_back(Output::Write { ticket, batch: Box::new(batch) });
    }

    /// A batch is durable, or could not be made so, in words.
    pub fn handle_written(&mut self, ticket: WriteTicket, result: Result<(), String>, now: Now) {
        if self.committing.as_ref().is_some_and(|committing| committing.write == ticket) {
            self.end_commit(result, now);
        } else if let Some((_, pods)) = self.remembering.take_if(|(writing, _)| *writing == ticket) {
            self.handle_memories_written(&pods, result, now);
        }
    }

    /// Ends that are durable may be reported, and their containers forgotten.
    fn handle_memories_written(&mut self, pods: &[PodUid], result: Result<(), String>, now: Now) {
        self.handle_tokens_kept(now);
        let Err(error) = result else {
            for uid in pods {
                self.with_pod(uid, now, |pod, _| pod.handle_remembered());
            }
            return;
        };
        // Pods go on; what they end as is held back, because a crash would bring them to life again. A full disk may clear.
        self.desk.notice(Notice::NotRemembered(error));
        for uid in pods {
            if let Some(entry) = self.pods.get_mut(uid) {
                entry.pod.handle_not_remembered();
                self.desk.to_remember.add_again(uid, now.mono);
            }
        }
    }
}

impl Desk {
    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}

/// How long small changes are gathered before they are written together.
const GATHER_MS: u64 = 1000;

/// How long a write that failed is left alone, unless something urgent is to be written: the store opens its file anew for each try.
const AGAIN_MS: u64 = 10_000;
