//! Figures of one name, told apart by labels.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

/// What tells the figures of a family apart.
pub(crate) trait Labels: Clone + Eq + Hash {
    /// Their names with their values, as they are written.
    fn write(&self, each: &mut dyn FnMut(&str, &str));
}

/// One figure for each set of labels that came up.
#[derive(Debug)]
pub(crate) struct Family<L, M> {
    members: RwLock<HashMap<L, Arc<M>>>,
    make: fn() -> M,
}

impl<L: Labels, M> Family<L, M> {
    pub(crate) fn new(make: fn() -> M) -> Self {
        Self { members: RwLock::default(), make }
    }

    /// The figure of these labels; `None` when there are too many already, for each costs memory for ever and a line in every answer.
    pub(crate) fn member(&self, labels: &L) -> Option<Arc<M>> {
        if let Some(found) = self.members.read().unwrap_or_else(PoisonError::into_inner).get(labels) {
            return Some(Arc::clone(found));
        }
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if members.len() >= MEMBERS_MAX && !members.contains_key(labels) {
            return None;
        }
        Some(Arc::clone(members.entry(labels.clone()).or_insert_with(|| Arc::new((self.make)()))))
    }

    /// All figures, in no particular order.
    pub(crate) fn all(&self) -> Vec<(L, Arc<M>)> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.iter().map(|(labels, member)| (labels.clone(), Arc::clone(member))).collect()
    }
}

/// Figures of one family: all kinds with all verbs and some codes.
const MEMBERS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counter;

    impl Labels for usize {
        fn write(&self, each: &mut dyn FnMut(&str, &str)) {
            each("number", &self.to_string());
        }
    }

    #[test]
    fn a_family_has_a_bound() {
        let family = Family::new(Counter::default);
        for number in 0..MEMBERS_MAX {
            family.member(&number).unwrap().increment();
        }
        assert!(family.member(&MEMBERS_MAX).is_none());
        family.member(&7).unwrap().increment();
        assert_eq!(family.member(&7).unwrap().value(), 2);
        assert_eq!(family.all().len(), MEMBERS_MAX);
    }
}
