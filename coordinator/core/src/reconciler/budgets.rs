//! What a change means to PodDisruptionBudgets.

use std::sync::Arc;

use super::{Key, Reconciler};
use crate::{
    budget::{Amount, Limit},
    view::{DecodeError, ObjectKey, PodInfo},
};

impl Reconciler {
    /// Folds in a budget as stored.
    ///
    /// # Errors
    /// When it cannot be decoded; nothing changes then.
    pub fn fold_budget(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.view.apply_budget(key, json)?;
        self.keys.touch(Key::Budget(key.clone()));
        Ok(())
    }

    /// Looks again at the budgets that a change of a pod concerns.
    pub(super) fn touch_budgets(
        &mut self,
        key: &ObjectKey,
        before: Option<&PodInfo>,
        after: Option<&PodInfo>,
    ) {
        if before.map(counted) == after.map(counted) {
            return;
        }
        let Self { view, keys, .. } = self;
        let guarded = [before, after].map(|pod| pod.map(|pod| &pod.affiliation.labels));
        for (key, budget) in view.budgets_of(&key.namespace) {
            if guarded.iter().flatten().any(|labels| budget.guards_labels(labels)) {
                keys.touch(Key::Budget(key.clone()));
            }
        }
    }

    pub(super) fn touch_budgets_by_scale(&mut self, namespace: &Arc<str>) {
        let Self { view, keys, .. } = self;
        for (key, budget) in view.budgets_of(namespace) {
            if matches!(
                budget.limit,
                Some(Limit::MaxUnavailable(_) | Limit::MinAvailable(Amount::Percent(_)))
            ) {
                keys.touch(Key::Budget(key.clone()));
            }
        }
    }
}

/// What of a pod a budget counts by.
fn counted(pod: &PodInfo) -> impl PartialEq + use<'_> {
    let is_ready = pod.ready.as_ref().is_some_and(|(ready, _)| *ready);
    (&pod.uid, &pod.affiliation, is_ready, pod.deletion.is_some())
}
