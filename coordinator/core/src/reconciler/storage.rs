//! What changes of claims, volumes, classes and pods mean to claims and volumes.

use std::sync::Arc;

use super::{Key, Reconciler};
use crate::{
    ObjectKey,
    controllers::storage,
    scheduler::Hint,
    view::{Claim, DecodeError, PodInfo, VolumeInfo},
};

impl Reconciler {
    /// Folds in a PersistentVolumeClaim.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_claim(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        let before = self.view.apply_claim(key, json)?;
        self.touch_claimants(key);
        self.hint_claim(key);
        self.touch_volumes_of(key, before.as_ref());
        self.keys.touch(Key::Claim(key.clone()));
        Ok(())
    }

    /// Forgets a claim.
    pub fn forget_claim(&mut self, key: &ObjectKey) {
        let before = self.view.delete_claim(key);
        self.touch_claimants(key);
        self.touch_volumes_of(key, before.as_ref());
    }

    /// Folds in a PersistentVolume as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as missing then.
    pub fn fold_volume(&mut self, name: &Arc<str>, json: &[u8]) -> Result<(), DecodeError> {
        let folded = self.view.apply_volume(name, json);
        self.queue.changed(Hint::Storage, |_, _| true);
        let before = folded?;
        self.touch_claims_by(name, before.as_ref());
        self.keys.touch(Key::Volume(Arc::clone(name)));
        Ok(())
    }

    /// Forgets a PersistentVolume.
    pub fn forget_volume(&mut self, name: &str) {
        let before = self.view.delete_volume(name);
        self.touch_claims_by(name, before.as_ref());
    }

    /// Folds in a StorageClass as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; it counts as missing then.
    pub fn fold_storage_class(&mut self, name: &str, json: &[u8]) -> Result<(), DecodeError> {
        let folded = self.view.apply_storage_class(name, json);
        self.queue.changed(Hint::Storage, |_, _| true);
        let Self { view, keys, .. } = self;
        let concerned = view.unbound_claims().filter(|(_, claim)| claim.class() == name);
        concerned.for_each(|(key, _)| keys.touch(Key::Claim(key.clone())));
        folded
    }

    /// A pod that ends, or gets a node, may be what a claim waits for: to go, or for its volume.
    pub(super) fn touch_claims_of(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: Option<&PodInfo>,
    ) {
        let Self { view, keys, .. } = self;
        for pod in before.into_iter().chain(after).filter(|pod| !pod.template.claims.is_empty()) {
            for claim in storage::claims_of(key, pod) {
                if view.claim(&claim).is_some_and(|claim| claim.deleting || claim.volume.is_none()) {
                    keys.touch(Key::Claim(claim));
                }
            }
        }
    }

    fn touch_volumes_of(&mut self, key: &ObjectKey, before: Option<&Claim>) {
        let Self { view, keys, .. } = self;
        let after = view.claim(key);
        let named = before.into_iter().chain(after).filter_map(|claim| claim.volume.as_deref());
        let naming = view.volumes_naming(key).map(|name| &**name);
        named.chain(naming).for_each(|name| keys.touch(Key::Volume(name.into())));
    }

    /// Claims that name a volume or are named by it, and those that it may be for now that it is free.
    fn touch_claims_by(&mut self, name: &str, before: Option<&VolumeInfo>) {
        let Self { view, keys, .. } = self;
        let after = view.volume(name);
        let named = before.into_iter().chain(after).filter_map(|volume| volume.claim.as_ref());
        let named = named.map(|claim| &claim.key);
        named.chain(view.claims_naming(name)).for_each(|claim| keys.touch(Key::Claim(claim.clone())));
        let Some(free) = after.filter(|after| before != Some(*after)) else { return };
        let concerned = view.unbound_claims().filter(|(_, claim)| storage::may_have(free, claim));
        concerned.for_each(|(key, _)| keys.touch(Key::Claim(key.clone())));
    }
}
