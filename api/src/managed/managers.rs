//! `metadata.managedFields`: who owns which fields of an object, and since when.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{
    fields_v1::{MalformedSet, covers, touches},
    node_type::NodeType,
    set::{FieldSet, Node},
};
use crate::value::text;

/// Who owns fields. The same name is another manager for each way it writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    /// As the writer calls itself.
    pub(super) name: String,
    /// How it writes.
    pub(super) operation: Operation,
    /// Version that it writes; empty for those who apply, of whom every version is the same manager.
    pub(super) api_version: String,
    /// Subresource that it writes; empty for the object itself.
    pub(super) subresource: String,
}

/// How fields came to be owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By a server-side apply, whose fields are all that it names.
    Apply,
    /// By any other write, whose fields are those that it changed.
    Update,
}

/// A manager with its fields.
#[derive(Clone, Debug)]
pub(super) struct Entry<'v> {
    pub(super) manager: Manager,
    /// Version in which the fields are named.
    pub(super) api_version: String,
    /// RFC 3339 with seconds; empty when never set.
    pub(super) time: String,
    /// The set as it lies in the object, until it is decoded.
    encoded: Option<&'v Value>,
    /// The set, once it is decoded.
    set: FieldSet,
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers<'v>(pub(super) Vec<Entry<'v>>);

/// A list that is no `managedFields`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MalformedManagers {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {0:?} in managed fields entry {1}")]
    FieldsType(String, usize),
    #[error("error decoding set: {0}")]
    Fields(#[from] MalformedSet),
}

impl Operation {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl<'v> Managers<'v> {
    /// Reads `managedFields`, which may be null. Sets are decoded when they are needed.
    pub(super) fn read(managed_fields: &'v Value) -> Result<Self, MalformedManagers> {
        let mut entries: Vec<Entry<'v>> = Vec::new();
        for (position, value) in managed_fields.as_array().into_iter().flatten().enumerate() {
            let entry = Entry::read(value, position)?;
            // Of two entries of one manager the last counts.
            entries.retain(|earlier| earlier.manager != entry.manager);
            entries.push(entry);
        }
        Ok(Self(entries))
    }

    /// The managers as `managedFields`, in Kubernetes' order; null when there are none.
    pub(super) fn into_value(mut self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        self.0.sort_by(Entry::compare);
        self.0.into_iter().map(Entry::into_value).collect()
    }

    /// Takes the entry of a manager out.
    pub(super) fn take(&mut self, manager: &Manager) -> Option<Entry<'v>> {
        let position = self.0.iter().position(|entry| entry.manager == *manager)?;
        Some(self.0.remove(position))
    }
}

impl<'v> Entry<'v> {
    pub(super) fn new(manager: Manager, api_version: String, time: String, set: FieldSet) -> Self {
        Self { manager, api_version, time, encoded: None, set }
    }

    fn read(value: &'v Value, position: usize) -> Result<Self, MalformedManagers> {
        let operation = match text(value, "operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(MalformedManagers::Operation),
        };
        let api_version = text(value, "apiVersion");
        if api_version.is_empty() {
            return Err(MalformedManagers::ApiVersion);
        }
        match text(value, "fieldsType") {
            FIELDS_TYPE => {}
            "" => return Err(MalformedManagers::NoFieldsType(position)),
            other => return Err(MalformedManagers::FieldsType(other.to_owned(), position)),
        }
        Ok(Self {
            manager: Manager::new(text(value, "manager"), operation, api_version, text(value, "subresource")),
            api_version: api_version.to_owned(),
            time: text(value, "time").to_owned(),
            encoded: value.get("fieldsV1").filter(|fields| !fields.is_null()),
            set: FieldSet::default(),
        })
    }

    /// Decodes the set. Where a field of a value of type `ty` is owned as a whole, none below it is.
    pub(super) fn decode(&mut self, ty: NodeType) -> Result<(), MalformedSet> {
        if let Some(fields) = self.encoded {
            self.set = fitted(&FieldSet::from_fields_v1(fields)?, ty);
            self.encoded = None;
        }
        Ok(())
    }

    /// The set, which is decoded.
    pub(super) fn set(&self) -> &FieldSet {
        debug_assert!(self.encoded.is_none(), "decode it first");
        &self.set
    }

    /// Replaces the set.
    pub(super) fn put(&mut self, set: FieldSet) {
        self.encoded = None;
        self.set = set;
    }

    /// Whether it may own a field of `set`; surely not when this says no.
    pub(super) fn touches(&self, set: &FieldSet) -> bool {
        self.encoded.map_or_else(|| !self.set.intersection(set).is_empty(), |fields| touches(fields, set))
    }

    /// Whether it owns all of `set`.
    pub(super) fn covers(&self, set: &FieldSet) -> bool {
        self.encoded.map_or_else(|| set.difference(&self.set).is_empty(), |fields| covers(fields, set))
    }

    /// Applied before updated, then by age, then by name.
    fn compare(&self, other: &Self) -> Ordering {
        let (own, others) = (&self.manager, &other.manager);
        own.operation
            .cmp(&others.operation)
            .then_with(|| self.time.cmp(&other.time))
            .then_with(|| own.name.cmp(&others.name))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then_with(|| own.subresource.cmp(&others.subresource))
    }

    fn into_value(self) -> Value {
        let Manager { name, operation, subresource, .. } = self.manager;
        let texts = [
            ("manager", name),
            ("operation", operation.as_str().to_owned()),
            ("apiVersion", self.api_version),
            ("time", self.time),
            ("fieldsType", FIELDS_TYPE.to_owned()),
            ("subresource", subresource),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let mut value: Map<String, Value> = texts.map(|(key, text)| (key.to_owned(), text.into())).collect();
        let fields = self.encoded.map_or_else(|| self.set.to_fields_v1(), Value::clone);
        value.insert("fieldsV1".to_owned(), fields);
        value.into()
    }
}

impl Manager {
    pub(super) fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let api_version = match operation {
            Operation::Apply => "",
            Operation::Update => api_version,
        };
        Self {
            name: name.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}

/// A set in which no field is below one that is owned as a whole. Sets of clients, and of servers with another schema, may have some.
fn fitted(set: &FieldSet, ty: NodeType) -> FieldSet {
    let mut result = FieldSet::default();
    for (element, node) in set.nodes() {
        let node = match ty.at(element) {
            Some(NodeType::Leaf) if !node.below.is_empty() => Node::leaf(),
            Some(ty) => Node { is_member: node.is_member, below: fitted(&node.below, ty) },
            None => node.clone(),
        };
        result.attach(element.clone(), node);
    }
    result
}

/// The one `fieldsType` there is.
const FIELDS_TYPE: &str = "FieldsV1";
