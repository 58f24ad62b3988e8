//! One pod's turn: it hears what happened, and what it asks for is done.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use dunlin_edge_node_core::{
    clock::Now,
    env::Surroundings,
    launch::{Launch, container_spec},
    pod::{Command, ContainerIndex, Fetch, Pod, Pulled, Sandboxed},
    sandbox::{Owner, Request, State},
    termination,
};
use dunlin_link::{ContainerId, Digest, PodUid};

use super::{Agent, Entry, Knowledge};
use crate::{
    logs,
    modules::Fetched,
    sandbox::{Addressed, Told},
};

impl Agent {
    /// Lets a pod hear something and take its steps. A panic on the way is this pod's failure: it keeps what it got to.
    pub(super) fn with_pod(&mut self, uid: &PodUid, hear: impl FnOnce(&mut Pod, Now)) {
        let Some(mut entry) = self.pods.remove(uid) else { return };
        let now = self.clock.now();
        let turn = AssertUnwindSafe(|| {
            hear(&mut entry.pod, now);
            self.turn(uid, &mut entry, now);
        });
        if catch_unwind(turn).is_err() {
            tracing::error!(pod = %uid, "a pod's turn panicked");
        }
        self.pods.insert(uid.clone(), entry);
    }

    /// Does all that a pod asks for, then tells what became of it.
    fn turn(&mut self, uid: &PodUid, entry: &mut Entry, now: Now) {
        while let Some(command) = entry.pod.poll_command() {
            self.obey(entry, command, now);
        }
        self.to_remember.add(uid, entry.pod.recording(now));
        if let Some(report) = entry.pod.poll_report(now) {
            self.shared.reported(report.clone());
            self.session.report(report);
        }
        let wakes_at = entry.pod.poll_timeout();
        if wakes_at != entry.wakes_at
            && let Some(at) = wakes_at
        {
            self.timers.set(at, uid.clone());
        }
        entry.wakes_at = wakes_at;
    }

    fn obey(&mut self, entry: &mut Entry, command: Command, now: Now) {
        match command {
            Command::Pull { container, digest, fetch } => {
                self.pull(entry, (container, digest, fetch), now);
            }
            Command::Create { container, id, attempt } => self.create(entry, container, id, attempt, now),
            Command::Stop { id, grace_ms } => self.ask(Request::Stop { id, grace_ms }),
            Command::Remove { id } => self.ask(Request::Remove { id }),
            Command::Event(event) => self.session.event(event),
        }
    }

    fn pull(
        &mut self,
        entry: &mut Entry,
        (container, digest, fetch): (ContainerIndex, Digest, Fetch),
        now: Now,
    ) {
        if self.modules.has(&digest) {
            self.modules.touch(&digest, now.wall.0.unsigned_abs());
            entry.pod.handle_pull(container, Pulled::Present, now);
            return;
        }
        if fetch == Fetch::Forbidden {
            entry.pod.handle_pull(container, Pulled::Absent, now);
            return;
        }
        entry.pod.handle_pull(container, Pulled::Fetching, now);
        let waiting = self.pulls.entry(digest).or_default();
        if waiting.is_empty() {
            self.fetches.spawn(self.modules.fetch(digest, self.session.clone()));
        }
        waiting.push((entry.pod.uid().clone(), container));
    }

    /// Hands a module, or why there is none, to all containers that wait for it.
    pub(super) fn handle_fetched(&mut self, Fetched { digest, result }: Fetched) {
        let outcome = match result {
            Ok(arrived) => {
                self.modules.insert(digest, arrived.bytes, self.clock.now().wall.0.unsigned_abs());
                Pulled::Fetched { took_ms: arrived.took_ms, size_bytes: arrived.bytes }
            }
            Err(error) => Pulled::Failed(error),
        };
        for (uid, container) in self.pulls.remove(&digest).unwrap_or_default() {
            let outcome = outcome.clone();
            self.with_pod(&uid, |pod, now| pod.handle_pull(container, outcome, now));
        }
    }

    fn create(
        &mut self,
        entry: &mut Entry,
        container: ContainerIndex,
        id: ContainerId,
        attempt: u32,
        now: Now,
    ) {
        let pod = &mut entry.pod;
        let assignment = Arc::clone(pod.assignment());
        let declared = pod.container(container).clone();
        let log = match self.logs.prepare(&assignment, &declared.name, attempt) {
            Ok(log) => log,
            Err(error) => {
                pod.handle_config_error(
                    container,
                    format!("failed to create the log's folder: {error}"),
                    now,
                );
                return;
            }
        };
        let module =
            declared.image.digest.map(|digest| text(&self.modules.path(&digest))).unwrap_or_default();
        let pod_ip = pod.place().address.slot.map(|slot| slot.pod_ip().to_string());
        let objects = |digest: &Digest| self.objects.get(digest).cloned();
        let around = Surroundings {
            node_name: &self.node.name,
            host_ip: &self.node.host_ip,
            pod_ip: pod_ip.as_deref().unwrap_or(&self.node.host_ip),
            allocatable: self.node.facts.allocatable,
            objects: &objects,
        };
        let launch = Launch { id: id.clone(), attempt, module, log: text(&log) };
        match container_spec(&assignment, &declared, launch, &pod.place().address, &around) {
            Ok(spec) => {
                self.ask(Request::Start(Box::new(spec)));
                pod.handle_created(container, id, now);
            }
            Err(error) => pod.handle_config_error(container, error.to_string(), now),
        }
    }

    /// Takes over what the sandbox tells.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Container { id, owner, state } => self.hear_container(id, owner, state),
            Told::Synced { runtime } => {
                if self.node.facts.runtime_version != runtime {
                    self.node.facts.runtime_version = runtime;
                    self.session.facts(self.node.facts.clone());
                }
                self.sandbox.knowledge = Knowledge::Synced;
                self.with_all(Pod::handle_synced);
            }
            Told::Gone => {
                self.sandbox.incarnation += 1;
                self.sandbox.outbox.clear();
                self.sandbox.orphans.clear();
                self.sandbox.dying.clear();
                self.sandbox.knowledge = Knowledge::Synced;
                self.warn_of_lost();
                for (_, ended) in self.followers.drain() {
                    ended.send_replace(true);
                }
                self.with_all(Pod::handle_sandbox_lost);
            }
            Told::Unsure => {
                self.sandbox.knowledge = Knowledge::Unsure;
                self.with_all(|pod, _| pod.handle_sandbox_unsure());
            }
        }
    }

    fn warn_of_lost(&self) {
        let sandboxed = self.pods.values().flat_map(|entry| entry.pod.sandboxed());
        let containers = sandboxed.filter(|held| matches!(held, Sandboxed::Live(_))).count();
        if containers > 0 {
            tracing::warn!(containers, "the runner is gone, and its containers ended with it");
        }
    }

    /// Asks the sandbox, as soon as it listens.
    pub(super) fn ask(&mut self, request: Request) {
        let incarnation = self.sandbox.incarnation;
        self.sandbox.outbox.push_back(Addressed { incarnation, request });
    }

    /// Hands waiting requests over while there is room.
    pub(super) fn flush_requests(&mut self) {
        while !self.sandbox.outbox.is_empty() {
            let Ok(permit) = self.sandbox.requests.try_reserve() else { return };
            if let Some(request) = self.sandbox.outbox.pop_front() {
                permit.send(request);
            }
        }
    }

    /// Stops and forgets the containers of a pod that has no machine.
    pub(super) fn end_orphans(&mut self, uid: &PodUid) {
        for (id, _, state) in self.sandbox.orphans.remove(uid).unwrap_or_default() {
            if let State::Exited(_) = state {
                self.ask(Request::Remove { id });
            } else {
                self.end_container(id);
            }
        }
    }

    /// Kills a container that no pod answers for; it is forgotten when it has ended.
    pub(super) fn end_container(&mut self, id: ContainerId) {
        self.sandbox.dying.insert(id.clone());
        self.ask(Request::Stop { id, grace_ms: 0 });
    }

    fn hear_container(&mut self, id: ContainerId, owner: Owner, mut state: State) {
        let uid = PodUid::new(&*owner.pod_uid);
        let Some(entry) = self.pods.get(&uid) else {
            self.hear_orphan(uid, id, owner, state);
            return;
        };
        if let State::Exited(exit) = &mut state {
            if let Some(ended) = self.followers.remove(&id) {
                ended.send_replace(true);
            }
            let assignment = entry.pod.assignment();
            let all = assignment.spec.containers.iter().chain(&assignment.spec.init_containers);
            let from_logs =
                all.clone().any(|known| known.name == owner.container && known.termination_message_from_logs);
            if from_logs && exit.message.is_empty() && termination::exit_code(exit.cause) != 0 {
                exit.message =
                    logs::termination_message(&self.logs.path(assignment, &owner.container, owner.attempt));
            }
        }
        self.with_pod(&uid, |pod, now| pod.handle_container(&id, &owner, state, now));
    }

    /// A container of an unknown pod: one that is being forgotten is ended, any other is kept for its pod to come back.
    fn hear_orphan(&mut self, uid: PodUid, id: ContainerId, owner: Owner, state: State) {
        if self.sandbox.dying.contains(&id) {
            if let State::Exited(_) = state {
                self.sandbox.dying.remove(&id);
                self.ask(Request::Remove { id });
            }
            return;
        }
        let known = self.sandbox.orphans.entry(uid.clone()).or_default();
        known.retain(|(other, ..)| *other != id);
        known.push((id, owner, state));
        if self.tombstones.contains_key(&uid) {
            self.end_orphans(&uid);
        } else {
            tracing::warn!(pod = %uid, "a container runs whose pod is not known here; it is kept");
        }
    }

    fn with_all(&mut self, hear: impl Fn(&mut Pod, Now)) {
        let uids: Vec<_> = self.pods.keys().cloned().collect();
        for uid in uids {
            self.with_pod(&uid, &hear);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
