//! Deployments: one ReplicaSet per revision of the pod template, scaled so that the newest takes over as the strategy allows.
//!
//! `pkg/controller/deployment` of Kubernetes is the reference for every rule. A plan makes one step; what the step changes brings
//! the next.

mod history;
mod progress;
mod proportion;
mod recreate;
mod rollback;
mod rolling;
mod sets;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use self::sets::{Set, Sets};
use super::{
    Action, Plan, WorkloadAction,
    auto_rollback::Verdict,
    create::{Blueprint, Creation},
    offline::{self, Rest},
    tell::{Component, Severity},
};
use crate::{
    ObjectKey,
    reconciler::Failure,
    view::{Deployment, DeploymentStatus, ObjectId, PodInfo, Strategy, View, workload::DEPLOYMENTS},
};

/// What to do about a Deployment.
pub fn reconcile(view: &View, key: &ObjectKey, failure: Option<&Failure>, now: Timestamp) -> Plan {
    let Some(deployment) = view.workloads().deployment(key) else { return Plan::nothing() };
    let id = ObjectId { resource: DEPLOYMENTS, key: key.clone() };
    let mut rollout = Rollout::new(view, &id, deployment, failure, now);
    if deployment.meta.deleting {
        rollout.finish_status();
        return rollout.plan;
    }
    if rollback::advance(&mut rollout) {
        return rollout.plan;
    }
    rollout.sets.look_at_nodes(view, rollout.offline);
    let recreates = deployment.strategy == Strategy::Recreate;
    if deployment.paused || !recreates && rollout.sets.are_to_be_scaled(deployment) {
        rollout.rescale();
    } else if recreates {
        // Sizes that changed go along: where several sets have pods, sharing out would wait for what only this brings about.
        rollout.recreate();
    } else {
        rollout.roll();
    }
    rollout.write_scales();
    rollout.plan
}

/// One look at a Deployment, on its way to a plan.
struct Rollout<'a> {
    view: &'a View,
    id: &'a ObjectId,
    deployment: &'a Deployment,
    sets: Sets,
    offline: offline::Policy,
    failure: Option<&'a Failure>,
    /// What is to be said of rollbacks, when that is something new.
    verdict: Option<Verdict>,
    now: Timestamp,
    plan: Plan,
}

impl<'a> Rollout<'a> {
    fn new(
        view: &'a View,
        id: &'a ObjectId,
        deployment: &'a Deployment,
        failure: Option<&'a Failure>,
        now: Timestamp,
    ) -> Self {
        let (sets, actions) = Sets::of(view, id, deployment);
        let plan = Plan { actions, again_at: None };
        let offline = offline::Policy::of(&deployment.meta);
        Self { view, id, deployment, sets, offline, failure, verdict: None, now, plan }
    }

    /// One step of a rolling update.
    fn roll(&mut self) {
        if !self.has_newest() {
            return;
        }
        if !rolling::grow(self.deployment, &mut self.sets)
            && !rolling::shrink(self.deployment, &mut self.sets)
            && status::is_complete(self.deployment, &self.sets, &self.deployment.status)
        {
            self.forget_old();
        }
        self.finish_rollout_status();
    }

    /// One step of replacing all pods at once.
    fn recreate(&mut self) {
        let is_there = |pod: &PodInfo| !pod.phase.finished() && !self.is_left_behind(pod);
        let is_held = recreate::old_pods_are_there(self.view, &self.sets, is_there);
        let is_waiting = recreate::shrink(&mut self.sets) || is_held;
        if !is_waiting {
            if !self.has_newest() {
                return;
            }
            recreate::grow(self.deployment, &mut self.sets);
            if status::is_complete(self.deployment, &self.sets, &self.deployment.status) {
                self.forget_old();
            }
        }
        self.finish_rollout_status();
    }

    /// Brings the sets to a new size without a new revision: while paused, or because `replicas` changed.
    fn rescale(&mut self) {
        if self.sets.held.is_none() {
            self.annotate_newest();
        }
        proportion::rescale(self.deployment, &mut self.sets);
        if self.deployment.paused {
            self.forget_old();
        }
        self.finish_status();
    }

    /// Whether the set of the current template is there and says of itself what it should. If not, that is seen to first.
    fn has_newest(&mut self) -> bool {
        if self.sets.held.is_some() {
            // What the Deployment says of itself is about another set.
            return true;
        }
        if self.sets.newest.is_some() {
            // Its revision has to be known before anything rests on it.
            return !self.annotate_newest();
        }
        self.create_newest();
        false
    }

    fn create_newest(&mut self) {
        let collisions = self.deployment.status.collision_count.unwrap_or(0);
        let hash = self.deployment.template.hash_label(collisions);
        let name = format!("{}-{hash}", self.id.key.name);
        if self.sets.is_taken(&name) {
            let mut status = self.counted();
            status.collision_count = Some(collisions + 1);
            self.write_status(status);
            return;
        }
        let replicas = rolling::size_of_new(self.deployment, &self.sets);
        let annotations = history::of_new_set(self.deployment, &self.sets);
        self.plan.actions.push(Action::Workload(
            BY,
            WorkloadAction::Create(Creation {
                owner: self.id.clone(),
                uid: Arc::clone(&self.deployment.meta.uid),
                generation: self.deployment.meta.generation,
                what: Blueprint::ReplicaSet { name: name.clone(), hash, replicas, annotations },
            }),
        ));
        if replicas > 0 {
            self.tell(format!("Scaled up replica set {name} from 0 to {replicas}"));
        }
        let mut status = self.counted();
        progress::created(self.deployment, &name, self.failure, &mut status, self.now);
        self.write_status(status);
    }

    /// Lets the newest set and the Deployment itself say which revision it is. True when the set did not yet.
    fn annotate_newest(&mut self) -> bool {
        let Some(newest) = &self.sets.newest else { return false };
        let changes = history::changes_of_newest(self.deployment, &self.sets, newest);
        let revision = changes.revision;
        let min_ready = newest.info.min_ready_seconds != self.deployment.min_ready_seconds;
        let changed = !changes.annotations.is_empty() || min_ready;
        if changed {
            let mut patch = json!({ "metadata": { "annotations": changes.annotations } });
            if min_ready {
                patch["spec"] = json!({ "minReadySeconds": self.deployment.min_ready_seconds });
            }
            let action = patch_of(&newest.id, &newest.info.meta.uid, "", patch);
            self.plan.actions.push(action);
        }
        if self.deployment.meta.number(history::REVISION) != Some(revision) {
            let patch = json!({ "metadata": { "annotations": { history::REVISION: revision.to_string() } } });
            // With the status, as Kubernetes: a change of annotations alone would count as a new generation.
            self.plan.actions.push(patch_of(self.id, &self.deployment.meta.uid, "status", patch));
        }
        changed
    }

    /// Deletes sets of old revisions beyond those that are kept for a rollback.
    fn forget_old(&mut self) {
        let (id, meta) = (self.id, &self.deployment.meta);
        let doomed = history::superfluous(self.deployment, &self.sets);
        self.plan.actions.extend(doomed.into_iter().map(|set| {
            Action::Workload(
                BY,
                WorkloadAction::DeleteOwned {
                    id: set.id.clone(),
                    uid: Arc::clone(&set.info.meta.uid),
                    owner: id.clone(),
                    owner_uid: Arc::clone(&meta.uid),
                },
            )
        }));
    }

    fn finish_rollout_status(&mut self) {
        let mut status = self.counted();
        let broken = rollback::broken(self);
        progress::judge(self.deployment, &self.sets, broken, &mut status, self.now);
        if let Some(at) = progress::deadline(self.deployment, &status) {
            self.plan.wake_at(at);
        }
        self.write_status(status);
    }

    fn finish_status(&mut self) {
        let status = self.counted();
        self.write_status(status);
    }

    fn counted(&mut self) -> DeploymentStatus {
        let mut status = status::counted(self.deployment, &self.sets, self.now);
        progress::note_pause(self.deployment, &self.sets, &mut status, self.now);
        if let Some(verdict) = &self.verdict {
            verdict.put(&mut status.conditions, self.now);
        }
        let is_new = self.sets.deferred.tell(Rest::Open, &mut status.conditions, self.now);
        if is_new && progress::is_under_way(&status) {
            let message = self.sets.deferred.message();
            self.tell_of(Severity::Normal, offline::EVENT, message);
        }
        status
    }

    /// Whether a pod is on a node that is offline, where it ends when that is seen again.
    fn is_left_behind(&self, pod: &PodInfo) -> bool {
        self.offline.defers() && pod.node.as_ref().is_some_and(|node| self.view.is_offline(node))
    }

    /// Whether a pod is deferred.
    fn defers(&self, pod: &PodInfo) -> bool {
        self.offline.defers() && offline::is_deferred(self.view, pod)
    }

    fn write_status(&mut self, status: DeploymentStatus) {
        if status != self.deployment.status {
            let (id, uid) = (self.id.clone(), Arc::clone(&self.deployment.meta.uid));
            let change = status::change(&self.deployment.status, &status);
            self.plan.actions.push(Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change }));
        }
    }

    /// Writes the sizes that were decided on.
    fn write_scales(&mut self) {
        let (desired, most) =
            (self.deployment.replicas, self.deployment.replicas + self.deployment.max_surge());
        let mut told = Vec::new();
        for set in self.sets.all().filter(|set| set.is_decided) {
            let Set { id, info, replicas, .. } = set;
            let annotated = info.meta.number(history::DESIRED) == Some(desired)
                && info.meta.number(history::MOST) == Some(most);
            if *replicas == info.replicas && annotated {
                continue;
            }
            let annotations =
                json!({ history::DESIRED: desired.to_string(), history::MOST: most.to_string() });
            let patch =
                json!({ "metadata": { "annotations": annotations }, "spec": { "replicas": replicas } });
            self.plan.actions.push(patch_of(id, &info.meta.uid, "", patch));
            if *replicas != info.replicas {
                let way = if *replicas > info.replicas { "up" } else { "down" };
                let (name, before) = (&id.key.name, info.replicas);
                told.push(format!("Scaled {way} replica set {name} from {before} to {replicas}"));
            }
        }
        told.into_iter().for_each(|message| self.tell(message));
    }

    fn tell(&mut self, message: String) {
        self.tell_of(Severity::Normal, "ScalingReplicaSet", message);
    }

    fn tell_of(&mut self, severity: Severity, reason: &'static str, message: String) {
        let (about, uid) = (self.id.clone(), Arc::clone(&self.deployment.meta.uid));
        let told = WorkloadAction::Tell { about, uid, severity, reason, message };
        self.plan.actions.push(Action::Workload(BY, told));
    }
}

fn patch_of(id: &ObjectId, uid: &Arc<str>, subresource: &'static str, patch: serde_json::Value) -> Action {
    Action::Workload(BY, WorkloadAction::Patch { id: id.clone(), uid: Arc::clone(uid), subresource, patch })
}

const BY: Component = Component::Deployment;

#[cfg(test)]
mod tests;
