//! The steps by which a claim and a volume become each other's.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{Action, StatusChange, WorkloadAction, tell::Severity},
    BY, claim_id, claims_of, matching, volume_id,
};
use crate::{
    ObjectKey,
    view::{
        Claim, View, VolumeInfo,
        claim::{BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONER},
    },
};

/// What is next for a claim.
pub(super) fn advance(view: &View, key: &ObjectKey, claim: &Claim) -> Vec<Action> {
    let step = Step { view, key, claim };
    if claim.notes.is_complete { step.bound() } else { step.unbound() }
}

/// One look at a claim.
#[derive(Clone, Copy)]
struct Step<'a> {
    view: &'a View,
    key: &'a ObjectKey,
    claim: &'a Claim,
}

impl Step<'_> {
    /// Of a claim that had its volume before.
    fn bound(self) -> Vec<Action> {
        let Some(name) = &self.claim.volume else {
            return self.lost(
                "ClaimLost",
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
            );
        };
        let Some(volume) = self.view.volume(name) else {
            return self
                .lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
        };
        match &volume.claim {
            Some(of) if !of.is(self.key, self.claim) && !of.uid.is_empty() => self.lost(
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            ),
            _ => self.bind(&name.as_str().into(), volume),
        }
    }

    /// Of a claim that has none yet.
    fn unbound(self) -> Vec<Action> {
        if self.claim.deleting {
            return Vec::new();
        }
        let Some(name) = &self.claim.volume else {
            return match matching::find(self.view, self.key, self.claim) {
                Some((name, volume)) => self.bind(name, volume),
                None => self.waits(self.why_none()),
            };
        };
        let Some(volume) = self.view.volume(name) else { return self.waits(Vec::new()) };
        match &volume.claim {
            Some(of) if of.admits(self.key, self.claim) => self.bind(&name.as_str().into(), volume),
            Some(_) => {
                let message = format!("volume \"{name}\" already bound to a different claim.");
                self.waits(vec![self.tell(Severity::Warning, "FailedBinding", message)])
            }
            None => match matching::mismatch(volume, self.claim) {
                None => self.bind(&name.as_str().into(), volume),
                Some(why) => {
                    let message = format!("Cannot bind to requested volume \"{name}\": {why}");
                    self.waits(vec![self.tell(Severity::Warning, "VolumeMismatch", message)])
                }
            },
        }
    }

    /// The volume first, then the claim, then what the claim says of itself.
    fn bind(self, name: &Arc<str>, volume: &VolumeInfo) -> Vec<Action> {
        let (key, claim) = (self.key, self.claim);
        if !volume.claim.as_ref().is_some_and(|of| of.is(key, claim)) {
            let action = WorkloadAction::ClaimVolume {
                id: volume_id(name),
                uid: Arc::clone(&volume.uid),
                claim: key.clone(),
                claim_uid: claim.uid.as_str().into(),
            };
            return vec![Action::Workload(BY, action)];
        }
        if claim.volume.as_deref() != Some(&**name) || !claim.notes.is_complete {
            let mut annotations = json!({ BIND_COMPLETED: "yes" });
            if claim.volume.is_none() {
                annotations[BOUND_BY_CONTROLLER] = "yes".into();
            }
            let metadata = json!({ "annotations": annotations });
            return vec![self.patch(json!({ "metadata": metadata, "spec": { "volumeName": &**name } }))];
        }
        let (status, offered) = (&claim.status, &volume.offered);
        if status.phase == BOUND && status.modes == offered.modes && status.capacity == offered.storage {
            return Vec::new();
        }
        let capacity = offered.storage.map(|storage| json!({ "storage": storage.to_string() }));
        vec![self.write(json!({ "phase": BOUND, "accessModes": offered.modes, "capacity": capacity }))]
    }

    /// There is nothing for it yet: says so, and why.
    fn waits(self, mut told: Vec<Action>) -> Vec<Action> {
        told.extend(self.without_volume(PENDING));
        told
    }

    /// It had a volume that it will not get again. Said once.
    fn lost(self, reason: &'static str, message: &str) -> Vec<Action> {
        if self.claim.status.phase == LOST {
            return Vec::new();
        }
        let told = self.tell(Severity::Warning, reason, message.to_owned());
        self.without_volume(LOST).into_iter().chain([told]).collect()
    }

    fn without_volume(self, phase: &str) -> Option<Action> {
        let status = &self.claim.status;
        let is_known = status.phase == phase && status.modes.is_empty() && status.capacity.is_none();
        (!is_known).then(|| self.write(json!({ "phase": phase, "accessModes": null, "capacity": null })))
    }

    /// Why no volume was found: what the claim waits for.
    fn why_none(self) -> Vec<Action> {
        let class = self.claim.class();
        if matching::is_delayed(self.view, self.claim) {
            let pods = self.view.pods_of(&self.key.namespace);
            let waiting = pods.filter(|(key, pod)| {
                pod.node.is_none()
                    && !pod.phase.finished()
                    && claims_of(key, pod).any(|claim| claim == *self.key)
            });
            let waiting: Vec<&str> = waiting.map(|(key, _)| &*key.name).take(NAMED_MAX).collect();
            return vec![if waiting.is_empty() {
                let message = "waiting for first consumer to be created before binding".to_owned();
                self.tell(Severity::Normal, "WaitForFirstConsumer", message)
            } else {
                let message = format!("waiting for pod {} to be scheduled", waiting.join(","));
                self.tell(Severity::Normal, "WaitForPodScheduled", message)
            }];
        }
        if class.is_empty() {
            let message =
                "no persistent volumes available for this claim and no storage class is set".to_owned();
            return vec![self.tell(Severity::Normal, "FailedBinding", message)];
        }
        let Some(info) = self.view.storage_class(class) else {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            return vec![self.tell(Severity::Warning, "ProvisioningFailed", message)];
        };
        let provisioner = &info.provisioner;
        if provisioner.starts_with("kubernetes.io/") {
            let message = format!("no volume plugin matched name: {provisioner}");
            return vec![self.tell(Severity::Warning, "ProvisioningFailed", message)];
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        let told = self.tell(Severity::Normal, "ExternalProvisioning", message);
        // The name is what the provisioner looks for, in the older annotation or in this.
        let is_named = self.claim.notes.provisioner.as_ref() == Some(provisioner);
        let named = || {
            let annotations = json!({ PROVISIONER: provisioner, PROVISIONER_BEFORE: provisioner });
            self.patch(json!({ "metadata": { "annotations": annotations } }))
        };
        (!is_named).then(named).into_iter().chain([told]).collect()
    }

    fn patch(self, patch: Value) -> Action {
        let (id, uid) = (claim_id(self.key), self.claim.uid.as_str().into());
        Action::Workload(BY, WorkloadAction::Patch { id, uid, subresource: "", patch })
    }

    fn write(self, fields: Value) -> Action {
        let (id, uid) = (claim_id(self.key), self.claim.uid.as_str().into());
        let change = StatusChange::of_fields(fields);
        Action::Workload(BY, WorkloadAction::WriteStatus { id, uid, change })
    }

    fn tell(self, severity: Severity, reason: &'static str, message: String) -> Action {
        let (about, uid) = (claim_id(self.key), self.claim.uid.as_str().into());
        Action::Workload(BY, WorkloadAction::Tell { about, uid, severity, reason, message })
    }
}

/// Phases of a claim.
const PENDING: &str = "Pending";
const BOUND: &str = "Bound";
const LOST: &str = "Lost";

/// Where the provisioner was named before.
const PROVISIONER_BEFORE: &str = "volume.beta.kubernetes.io/storage-provisioner";

/// Pods that a message names.
const NAMED_MAX: usize = 10;
