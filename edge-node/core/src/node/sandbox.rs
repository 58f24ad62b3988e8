//! What the core knows of the sandbox, and what it makes of what it hears.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{ContainerId, PodUid};

use super::{Desk, NodeCore, Notice, Output, Told};
use crate::{
    clock::Now,
    pod::{Pod, Sandboxed},
    sandbox::{Owner, Request, State},
};

/// What is known of the sandbox.
#[derive(Debug, Default)]
pub(super) struct SandboxView {
    pub(super) knowledge: Knowledge,
    /// Containers of pods that this node knows nothing of: its state was lost, or is older than they are.
    pub(super) orphans: BTreeMap<PodUid, Vec<(ContainerId, Owner, State)>>,
    /// Such containers that were told to stop.
    dying: BTreeSet<ContainerId>,
}

/// Whether it is known what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Knowledge {
    #[default]
    Unsure,
    Synced,
}

impl NodeCore {
    /// Takes over what the sandbox tells.
    pub fn handle_told(&mut self, told: Told, now: Now) {
        match told {
            Told::Container { id, owner, state } => self.hear_container(id, owner, state, now),
            Told::RequestsFailed { id, owner, count, message } => {
                let uid = PodUid::new(&*owner.pod_uid);
                self.with_pod(&uid, now, |pod, now| {
                    pod.handle_requests_failed(&id, &owner.container, (count, &message), now);
                });
            }
            Told::Synced { runtime } => {
                let facts = &mut self.desk.node.facts;
                if facts.runtime_version != runtime {
                    facts.runtime_version = runtime;
                    self.desk.outputs.push_back(Output::Facts(Box::new(facts.clone())));
                }
                self.sandbox.knowledge = Knowledge::Synced;
                self.with_all(now, Pod::handle_synced);
            }
            Told::Gone => {
                self.sandbox = SandboxView { knowledge: Knowledge::Synced, ..SandboxView::default() };
                self.warn_of_lost();
                self.with_all(now, Pod::handle_sandbox_lost);
            }
            Told::Unsure => {
                self.sandbox.knowledge = Knowledge::Unsure;
                self.with_all(now, |pod, _| pod.handle_sandbox_unsure());
            }
        }
    }

    /// Stops and forgets the containers of a pod that has no machine.
    pub(super) fn end_orphans(&mut self, uid: &PodUid) {
        for (id, _, state) in self.sandbox.orphans.remove(uid).unwrap_or_default() {
            if let State::Exited(_) = state {
                self.desk.ask(Request::Remove { id });
            } else {
                self.end_container(id);
            }
        }
    }

    /// Kills a container that no pod answers for; it is forgotten when it has ended.
    pub(super) fn end_container(&mut self, id: ContainerId) {
        self.sandbox.dying.insert(id.clone());
        self.desk.ask(Request::Stop { id, grace_ms: 0 });
    }

    fn warn_of_lost(&mut self) {
        let sandboxed = self.pods.values().flat_map(|entry| entry.pod.sandboxed());
        let containers = sandboxed.filter(|held| matches!(held, Sandboxed::Live(_))).count();
        if containers > 0 {
            self.desk.notice(Notice::SandboxLost { containers });
        }
    }

    fn hear_container(&mut self, id: ContainerId, owner: Owner, state: State, now: Now) {
        let uid = PodUid::new(&*owner.pod_uid);
        if self.pods.contains_key(&uid) {
            self.with_pod(&uid, now, |pod, now| pod.handle_container(&id, &owner, state, now));
        } else {
            self.hear_orphan(uid, id, owner, state);
        }
    }

    /// A container of an unknown pod: one that is being forgotten is ended, any other is kept for its pod to come back.
    fn hear_orphan(&mut self, uid: PodUid, id: ContainerId, owner: Owner, state: State) {
        if self.sandbox.dying.contains(&id) {
            if let State::Exited(_) = state {
                self.sandbox.dying.remove(&id);
                self.desk.ask(Request::Remove { id });
            }
            return;
        }
        let known = self.sandbox.orphans.entry(uid.clone()).or_default();
        known.retain(|(other, ..)| *other != id);
        known.push((id, owner, state));
        if self.tombstones.contains_key(&uid) {
            self.end_orphans(&uid);
        } else {
            self.desk.notice(Notice::Stranger(uid));
        }
    }
}

impl Desk {
    pub(super) fn ask(&mut self, request: Request) {
        self.outputs.push_back(Output::Ask(request));
    }
}
