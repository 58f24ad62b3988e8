//! Topology keys that some pod names, and the domain of each node by each of them, as numbers.

use std::{collections::HashMap, sync::Arc};

use super::{Slot, slab::Slab};
use crate::view::Labels;

/// A topology key in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(usize);

/// One value of a topology key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Domain(u32);

/// All keys in use.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    ids: HashMap<Arc<str>, KeyId>,
    keys: Slab<Key>,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    users: usize,
    of_node: Vec<Option<Domain>>,
    domains: HashMap<String, Domain>,
    values: Vec<Value>,
    free: Vec<Domain>,
}

#[derive(Debug, Default)]
struct Value {
    text: String,
    nodes: usize,
}

impl Domain {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Topology {
    /// Takes a key into use; `nodes` are needed when it is new.
    pub(crate) fn enter<'a>(&mut self, name: &str, nodes: impl Iterator<Item = (Slot, &'a Labels)>) -> KeyId {
        if let Some(id) = self.ids.get(name) {
            if let Some(key) = self.keys.get_mut(id.0) {
                key.users += 1;
            }
            return *id;
        }
        let name: Arc<str> = name.into();
        let mut key = Key {
            name: Arc::clone(&name),
            users: 1,
            of_node: Vec::new(),
            domains: HashMap::new(),
            values: Vec::new(),
            free: Vec::new(),
        };
        nodes.for_each(|(slot, labels)| key.attach(slot, labels));
        let id = KeyId(self.keys.insert(key));
        self.ids.insert(name, id);
        id
    }

    /// Gives back what [`Self::enter`] took.
    pub(crate) fn leave(&mut self, id: KeyId) {
        let Some(key) = self.keys.get_mut(id.0) else { return };
        key.users = key.users.saturating_sub(1);
        if key.users == 0 {
            let name = Arc::clone(&key.name);
            self.ids.remove(&name);
            self.keys.remove(id.0);
        }
    }

    /// A node came, with these labels.
    pub(crate) fn attach(&mut self, slot: Slot, labels: &Labels) {
        self.keys.iter_mut().for_each(|(_, key)| key.attach(slot, labels));
    }

    /// A node went, or is about to come anew.
    pub(crate) fn detach(&mut self, slot: Slot) {
        self.keys.iter_mut().for_each(|(_, key)| key.detach(slot));
    }

    /// The domain of a node; `None` when it does not have the label.
    pub(crate) fn domain(&self, id: KeyId, slot: Slot) -> Option<Domain> {
        *self.keys.get(id.0)?.of_node.get(slot.index())?
    }
}

impl Key {
    fn attach(&mut self, slot: Slot, labels: &Labels) {
        let Some(text) = labels.get(&*self.name) else { return };
        let domain = self.domain_of(text);
        self.values[domain.index()].nodes += 1;
        if self.of_node.len() <= slot.index() {
            self.of_node.resize(slot.index() + 1, None);
        }
        self.of_node[slot.index()] = Some(domain);
    }

    fn detach(&mut self, slot: Slot) {
        let Some(domain) = self.of_node.get_mut(slot.index()).and_then(Option::take) else { return };
        let value = &mut self.values[domain.index()];
        value.nodes -= 1;
        if value.nodes == 0 {
            self.domains.remove(&std::mem::take(&mut value.text));
            self.free.push(domain);
        }
    }

    fn domain_of(&mut self, text: &str) -> Domain {
        if let Some(domain) = self.domains.get(text) {
            return *domain;
        }
        let domain = self.free.pop().unwrap_or_else(|| {
            self.values.push(Value::default());
            Domain(u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX))
        });
        text.clone_into(&mut self.values[domain.index()].text);
        self.domains.insert(text.to_owned(), domain);
        domain
    }
}
