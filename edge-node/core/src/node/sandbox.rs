//! What the core knows of its sandboxes, and what it makes of what it hears: of the node's runner, and of pods' own.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{ContainerId, PodUid};

use super::{Desk, NodeCore, Notice, Output, Told};
use crate::{
    clock::Now,
    pod::{Pod, Sandboxed},
    sandbox::{Owner, Request, State},
};

/// What is known of the sandboxes.
#[derive(Debug, Default)]
pub(super) struct SandboxView {
    /// Of the runner.
    pub(super) knowledge: Knowledge,
    /// Pods' own sandboxes that have told everything.
    pub(super) synced_own: BTreeSet<PodUid>,
    /// Containers of pods that this node knows nothing of: its state was lost, or is older than they are.
    orphans: BTreeMap<PodUid, Vec<Orphan>>,
    /// Such containers that were told to stop.
    dying: BTreeSet<ContainerId>,
}

type Orphan = (ContainerId, Owner, State);

/// Whether it is known what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Knowledge {
    #[default]
    Unsure,
    Synced,
}

impl NodeCore {
    /// Takes over what the node's runner tells.
    pub fn handle_told(&mut self, told: Told, now: Now) {
        match told {
            Told::Container { id, owner, state } => self.hear_container(id, owner, state, now),
            Told::RequestsFailed { id, owner, count, message } => {
                self.hear_of_requests(&id, &owner, (count, &message), now);
            }
            Told::Denied { id, owner, message } => self.hear_of_denial(&id, &owner, message, now),
            Told::Synced { runtime } => {
                self.desk.node.facts.runtime_version = runtime;
                self.tell_room();
                self.sandbox.knowledge = Knowledge::Synced;
                self.with_shared(now, Pod::handle_synced);
            }
            Told::Gone => {
                self.sandbox.knowledge = Knowledge::Synced;
                self.sandbox.dying.clear();
                let own = &self.desk.own;
                self.sandbox.orphans.retain(|uid, _| own.contains(uid));
                self.warn_of_lost();
                self.with_shared(now, Pod::handle_sandbox_lost);
            }
            Told::Unsure => {
                self.sandbox.knowledge = Knowledge::Unsure;
                self.with_shared(now, |pod, _| pod.handle_sandbox_unsure());
            }
            // The runner is no pod's.
            Told::Opened { .. } | Told::NotOpened(_) => {}
        }
    }

    /// Takes over what a pod's own sandbox tells.
    pub fn handle_told_by(&mut self, uid: &PodUid, told: Told, now: Now) {
        match told {
            // A sandbox speaks of its own pod only.
            Told::Container { ref owner, .. }
            | Told::RequestsFailed { ref owner, .. }
            | Told::Denied { ref owner, .. }
                if owner.pod_uid != uid.as_str() => {}
            Told::Container { id, owner, state } => self.hear_container(id, owner, state, now),
            Told::RequestsFailed { id, owner, count, message } => {
                self.hear_of_requests(&id, &owner, (count, &message), now);
            }
            Told::Denied { id, owner, message } => self.hear_of_denial(&id, &owner, message, now),
            Told::Opened { given } => self.with_pod(uid, now, |pod, now| pod.handle_opened(given, now)),
            Told::NotOpened(why) => self.with_pod(uid, now, |pod, now| pod.handle_not_opened(&why, now)),
            Told::Synced { .. } => {
                self.sandbox.synced_own.insert(uid.clone());
                if !self.pods.contains_key(uid) && !self.has_live_orphans(uid) {
                    self.sandbox.orphans.remove(uid);
                    self.close_own(uid);
                }
                self.with_pod(uid, now, Pod::handle_synced);
            }
            Told::Gone => {
                self.sandbox.synced_own.insert(uid.clone());
                self.sandbox.orphans.remove(uid);
                if !self.pods.contains_key(uid) {
                    self.close_own(uid);
                }
                self.with_pod(uid, now, Pod::handle_sandbox_lost);
            }
            Told::Unsure => {
                self.sandbox.synced_own.remove(uid);
                self.with_pod(uid, now, |pod, _| pod.handle_sandbox_unsure());
            }
        }
    }

    fn has_live_orphans(&self, uid: &PodUid) -> bool {
        let orphans = self.sandbox.orphans.get(uid);
        orphans.is_some_and(|all| all.iter().any(|(.., state)| !matches!(state, State::Exited(_))))
    }

    /// Gives a pod that came back what runs of it.
    pub(super) fn take_in_orphans(&mut self, uid: &PodUid, now: Now) {
        for (id, owner, state) in self.sandbox.orphans.remove(uid).unwrap_or_default() {
            self.with_pod(uid, now, |pod, now| pod.handle_container(&id, &owner, state, now));
        }
    }

    /// Stops and forgets the containers of a pod that has no machine.
    pub(super) fn end_orphans(&mut self, uid: &PodUid) {
        for (id, _, state) in self.sandbox.orphans.remove(uid).unwrap_or_default() {
            if let State::Exited(_) = state {
                self.desk.ask(uid, Request::Remove { id });
            } else {
                self.end_container(uid, id);
            }
        }
        if !self.pods.contains_key(uid) {
            self.close_own(uid);
        }
    }

    /// Ends the sandbox of a pod alone, and all that is in it.
    pub(super) fn close_own(&mut self, uid: &PodUid) {
        self.sandbox.synced_own.remove(uid);
        if self.desk.own.contains(uid) {
            self.desk.close(uid);
        }
    }

    /// Kills a container that no pod answers for; it is forgotten when it has ended.
    pub(super) fn end_container(&mut self, uid: &PodUid, id: ContainerId) {
        if !self.desk.own.contains(uid) {
            self.sandbox.dying.insert(id.clone());
        }
        self.desk.ask(uid, Request::Stop { id, grace_ms: 0 });
    }

    fn warn_of_lost(&mut self) {
        let shared = self.pods.values().filter(|entry| !entry.pod.has_own_sandbox());
        let sandboxed = shared.flat_map(|entry| entry.pod.sandboxed());
        let containers = sandboxed.filter(|held| matches!(held, Sandboxed::Live(_))).count();
        if containers > 0 {
            self.desk.notice(Notice::SandboxLost { containers });
        }
    }

    /// Lets all pods hear what concerns those in the runner, and those that are nowhere yet.
    fn with_shared(&mut self, now: Now, hear: impl Fn(&mut Pod, Now)) {
        self.with_all(now, |pod, now| {
            if !pod.has_own_sandbox() {
                hear(pod, now);
            }
        });
    }

    fn hear_of_requests(&mut self, id: &ContainerId, owner: &Owner, failed: (u64, &str), now: Now) {
        let uid = PodUid::new(&*owner.pod_uid);
        self.with_pod(&uid, now, |pod, now| {
            pod.handle_requests_failed(id, &owner.container, failed, now);
        });
    }

    fn hear_of_denial(&mut self, id: &ContainerId, owner: &Owner, message: String, now: Now) {
        let uid = PodUid::new(&*owner.pod_uid);
        self.with_pod(&uid, now, |pod, now| pod.handle_denied(id, &owner.container, message, now));
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
                self.desk.ask(&uid, Request::Remove { id });
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
    /// Asks the sandbox that a pod's containers are in.
    pub(super) fn ask(&mut self, uid: &PodUid, request: Request) {
        self.outputs.push_back(if self.own.contains(uid) {
            Output::AskPod(uid.clone(), request)
        } else {
            Output::Ask(request)
        });
    }

    /// Ends the sandbox of a pod alone.
    pub(super) fn close(&mut self, uid: &PodUid) {
        self.own.remove(uid);
        self.outputs.push_back(Output::CloseSandbox(uid.clone()));
    }
}
