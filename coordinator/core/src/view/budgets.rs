//! Budgets and workloads in the view.

use std::sync::Arc;

use super::{DecodeError, ObjectId, ObjectKey, View, Workload};
use crate::budget::Budget;

impl View {
    /// Folds in a PodDisruptionBudget as stored.
    ///
    /// # Errors
    /// When `json` is not a budget; the view is then unchanged.
    pub fn apply_budget(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.budgets.insert(key.clone(), Budget::decode(json)?);
        Ok(())
    }

    /// Forgets a budget.
    pub fn delete_budget(&mut self, key: &ObjectKey) {
        self.budgets.remove(key);
    }

    /// Folds in an object of a kind that has a scale, as stored. Says whether that changes anything.
    ///
    /// # Errors
    /// When `json` is no such object; the view is then unchanged.
    pub fn apply_workload(&mut self, id: &ObjectId, json: &[u8]) -> Result<bool, DecodeError> {
        let workload = Workload::decode(json)?;
        let is_new = self.workloads.get(id) != Some(&workload);
        if is_new {
            self.workloads.insert(id.clone(), workload);
        }
        Ok(is_new)
    }

    /// Forgets a workload.
    pub fn delete_workload(&mut self, id: &ObjectId) {
        self.workloads.remove(id);
    }

    /// A budget.
    pub fn budget(&self, key: &ObjectKey) -> Option<&Budget> {
        self.budgets.get(key)
    }

    /// The budgets of a namespace, by name.
    pub fn budgets_of(&self, namespace: &Arc<str>) -> impl Iterator<Item = (&ObjectKey, &Budget)> {
        let first = ObjectKey { namespace: Arc::clone(namespace), name: "".into() };
        self.budgets.range(first..).take_while(|(key, _)| key.namespace == *namespace)
    }

    /// A workload.
    pub fn workload(&self, id: &ObjectId) -> Option<&Workload> {
        self.workloads.get(id)
    }
}
