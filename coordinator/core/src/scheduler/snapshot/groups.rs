//! Pods of one namespace with the same labels: what selects one of them selects all, so it is found out once.

use std::{collections::HashMap, sync::Arc};

use super::{
    counters::{CounterId, Counters},
    slab::Slab,
};
use crate::view::{Affiliation, Labels};

/// A group with pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupId(usize);

/// All groups with pods.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By namespace and the address of the labels, which the group keeps alive.
    ids: HashMap<(Arc<str>, usize), GroupId>,
    groups: Slab<Group>,
}

#[derive(Debug)]
struct Group {
    namespace: Arc<str>,
    affiliation: Arc<Affiliation>,
    /// Counters that count its pods.
    counters: Vec<CounterId>,
    pods: usize,
}

impl Groups {
    /// A pod came.
    pub(super) fn enter(
        &mut self,
        namespace: &Arc<str>,
        affiliation: &Arc<Affiliation>,
        counters: &Counters,
        namespaces: &HashMap<Arc<str>, Labels>,
    ) -> GroupId {
        let key = (Arc::clone(namespace), Arc::as_ptr(affiliation).addr());
        if let Some(id) = self.ids.get(&key) {
            if let Some(group) = self.groups.get_mut(id.0) {
                group.pods += 1;
            }
            return *id;
        }
        let of_namespace = namespaces.get(namespace);
        let counted = |(id, counter): (CounterId, &super::counters::Counter)| {
            counter.spec.matches(namespace, of_namespace, affiliation).then_some(id)
        };
        let group = Group {
            namespace: Arc::clone(namespace),
            affiliation: Arc::clone(affiliation),
            counters: counters.iter().filter_map(counted).collect(),
            pods: 1,
        };
        let id = GroupId(self.groups.insert(group));
        self.ids.insert(key, id);
        id
    }

    /// A pod went.
    pub(super) fn leave(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(id.0) else { return };
        group.pods = group.pods.saturating_sub(1);
        if group.pods == 0
            && let Some(group) = self.groups.remove(id.0)
        {
            self.ids.remove(&(group.namespace, Arc::as_ptr(&group.affiliation).addr()));
        }
    }

    /// A counter came: which groups it counts.
    pub(super) fn learn_counter(
        &mut self,
        id: CounterId,
        counters: &Counters,
        namespaces: &HashMap<Arc<str>, Labels>,
    ) {
        let Some(counter) = counters.get(id) else { return };
        for (_, group) in self.groups.iter_mut() {
            let of_namespace = namespaces.get(&group.namespace);
            if counter.spec.matches(&group.namespace, of_namespace, &group.affiliation) {
                group.counters.push(id);
            }
        }
    }

    /// A counter went.
    pub(super) fn forget_counter(&mut self, id: CounterId) {
        for (_, group) in self.groups.iter_mut() {
            group.counters.retain(|known| known.index() != id.index());
        }
    }

    /// The counters that count a group's pods.
    pub(super) fn counters(&self, id: GroupId) -> &[CounterId] {
        self.groups.get(id.0).map_or(&[], |group| &group.counters)
    }
}
