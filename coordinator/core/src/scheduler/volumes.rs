//! Volumes: whether a pod's claims are there and bound, and on which nodes they can be used.

use std::sync::Arc;

use super::{affinity, refusal::Refusal, snapshot::Node};
use crate::view::{BindingMode, Claim, ClaimState, NodeTerm, ObjectKey, PodClaim, PodInfo, View};

/// What a pod's volumes ask of nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    /// Terms of each bound volume that only some nodes can use.
    bound: Vec<Arc<[NodeTerm]>>,
    /// A claim names a volume that does not exist.
    missing: bool,
    /// A claim waits for its first pod, and there is no volume for it.
    unbound: bool,
}

impl Volumes {
    /// What a pod's claims ask.
    ///
    /// # Errors
    /// Kubernetes' message when no node whatsoever could run the pod.
    pub(crate) fn of(view: &View, key: &ObjectKey, pod: &PodInfo) -> Result<Self, String> {
        let mut volumes = Self::default();
        for claim in &pod.template.claims {
            let name = claim.name(&key.name);
            let owned = matches!(claim, PodClaim::Ephemeral(_)).then(|| pod.uid.as_str());
            let Some(claim) = view.claim(&ObjectKey::new(&key.namespace, &name)) else {
                return Err(match owned {
                    None => format!("persistentvolumeclaim \"{name}\" not found"),
                    Some(_) => format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                    ),
                });
            };
            if let Some(uid) = owned.filter(|uid| !claim.is_controlled_by(uid)) {
                return Err(format!("PVC \"{name}\" was not created for pod \"{}\" ({uid})", key.name));
            }
            volumes.add(view, &name, claim)?;
        }
        Ok(volumes)
    }

    /// Whether every node will do.
    pub(crate) fn ask_nothing(&self) -> bool {
        self.bound.is_empty() && !self.missing && !self.unbound
    }

    /// Whether the volumes can be used on a node.
    pub(crate) fn check(&self, node: &Node) -> Refusal {
        if self.missing {
            return Refusal::VOLUME_MISSING;
        }
        let Some(info) = &node.info else { return Refusal::NONE };
        if !self.bound.iter().all(|terms| terms.iter().any(|term| affinity::term_matches(term, info))) {
            return Refusal::VOLUME_AFFINITY;
        }
        if self.unbound { Refusal::VOLUME_UNBOUND } else { Refusal::NONE }
    }

    fn add(&mut self, view: &View, name: &str, claim: &Claim) -> Result<(), String> {
        if claim.state == ClaimState::Lost {
            let volume = claim.volume.as_deref().unwrap_or_default();
            return Err(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
            ));
        }
        if claim.deleting {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        match claim.volume.as_deref().filter(|_| claim.state == ClaimState::Bound) {
            Some(volume) => match view.volume(volume) {
                None => self.missing = true,
                Some(volume) => self.bound.extend(volume.required.clone()),
            },
            None if view.binding_mode(claim) == BindingMode::Immediate => {
                return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
            }
            None => self.unbound = true,
        }
        Ok(())
    }
}
