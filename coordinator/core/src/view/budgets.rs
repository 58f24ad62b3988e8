//! Budgets in the view.

use std::sync::Arc;

use super::{DecodeError, ObjectKey, View};
use crate::budget::Budget;

impl View {
    /// Folds in a PodDisruptionBudget as stored.
    ///
    /// # Errors
    /// When `json` is not a budget; the view is then unchanged.
    pub fn apply_budget(&mut self, key: &ObjectKey, json: &[u8]) -> Result<(), DecodeError> {
        self.budgets.insert(key.clone(), Budget::decode(json)?);
        self.budgets_changed += 1;
        Ok(())
    }

    /// Forgets a budget.
    pub fn delete_budget(&mut self, key: &ObjectKey) {
        self.budgets.remove(key);
        self.budgets_changed += 1;
    }

    /// Counts changes of budgets, so that what was derived from them can tell whether it still holds.
    pub(crate) fn budgets_changed(&self) -> u64 {
        self.budgets_changed
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
}
