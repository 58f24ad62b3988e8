//! Sets of fields: which fields of an object somebody owns.

use std::collections::{BTreeMap, btree_map::Entry};

use super::element::Element;

/// A set of fields, as a tree of steps. A field can be in the set without what is below it, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// No node is without meaning: each is a member or has members below.
    nodes: BTreeMap<Element, Node>,
}

/// One step of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Whether the field itself is in the set.
    pub(crate) is_member: bool,
    /// What of the fields below is.
    pub(crate) below: FieldSet,
}

impl FieldSet {
    /// A set of these paths.
    pub fn of<const N: usize>(paths: [&[Element]; N]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// Adds a field. The whole object, which the empty path names, is nobody's.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((last, above)) = path.split_last() else { return };
        let mut set = self;
        for element in above {
            set = &mut set.nodes.entry(element.clone()).or_default().below;
        }
        set.nodes.entry(last.clone()).or_default().is_member = true;
    }

    /// Adds what `node` says about the field at `element`.
    pub(crate) fn attach(&mut self, element: Element, node: Node) {
        if node.is_nothing() {
            return;
        }
        match self.nodes.entry(element) {
            Entry::Vacant(vacant) => {
                vacant.insert(node);
            }
            Entry::Occupied(mut occupied) => occupied.get_mut().add(node),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: Self) {
        for (element, node) in other.nodes {
            self.attach(element, node);
        }
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.add(other.clone());
        union
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |node, other| Node {
            is_member: node.is_member && other.is_some_and(|other| other.is_member),
            below: other.map_or_else(Self::default, |other| node.below.intersection(&other.below)),
        })
    }

    /// What is in this set and not in `other`. Fields below those of `other` stay.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |node, other| match other {
            None => node.clone(),
            Some(other) => Node {
                is_member: node.is_member && !other.is_member,
                below: node.below.difference(&other.below),
            },
        })
    }

    /// What is in this set and neither in `other` nor below one of its fields.
    pub fn without(&self, other: &Self) -> Self {
        self.combine(other, |node, other| match other {
            None => node.clone(),
            Some(other) if other.is_member => Node::default(),
            Some(other) => Node { is_member: node.is_member, below: node.below.without(&other.below) },
        })
    }

    /// The fields with none of their own below them in the set.
    pub fn leaves(&self) -> Self {
        self.combine(&Self::default(), |node, _| Node {
            is_member: node.is_member && node.below.is_empty(),
            below: node.below.leaves(),
        })
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether the field at `path` itself is in the set.
    pub fn contains(&self, path: &[Element]) -> bool {
        let Some((last, above)) = path.split_last() else { return false };
        let set = above.iter().try_fold(self, |set, element| set.below(element));
        set.is_some_and(|set| set.has_member(last))
    }

    /// All fields: those of one level first, then what is below each.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    /// Whether the field that one step leads to is in the set.
    pub(crate) fn has_member(&self, element: &Element) -> bool {
        self.nodes.get(element).is_some_and(|node| node.is_member)
    }

    /// The fields below one step, relative to it.
    pub(crate) fn below(&self, element: &Element) -> Option<&Self> {
        self.nodes.get(element).map(|node| &node.below)
    }

    /// What it says about one step.
    pub(crate) fn node(&self, element: &Element) -> Option<&Node> {
        self.nodes.get(element)
    }

    /// All steps, in order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Element, &Node)> {
        self.nodes.iter()
    }

    /// The set of what `of_node` makes of each node and its fellow in `other`.
    fn combine(&self, other: &Self, of_node: impl Fn(&Node, Option<&Node>) -> Node) -> Self {
        let combined = self.nodes.iter().filter_map(|(element, node)| {
            let node = of_node(node, other.nodes.get(element));
            (!node.is_nothing()).then(|| (element.clone(), node))
        });
        Self { nodes: combined.collect() }
    }

    fn collect_paths(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for (element, _) in self.nodes.iter().filter(|(_, node)| node.is_member) {
            paths.push(prefix.iter().chain([element]).cloned().collect());
        }
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            node.below.collect_paths(prefix, paths);
            prefix.pop();
        }
    }
}

impl Node {
    /// A field with nothing below it.
    pub(crate) fn leaf() -> Self {
        Self { is_member: true, below: FieldSet::default() }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.is_member |= other.is_member;
        self.below.add(other.below);
    }
}
