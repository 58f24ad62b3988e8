//! Lists, item by item: a list's length stands at its start, so that its items are encoded before its head, but never decoded and
//! held all at once.

use serde_json::{Map, Value};

use super::{
    envelope::{self, RAW},
    error::EncodeError,
    message_of,
    wire::{put_length, put_nested},
    write,
};
use crate::schema::{Definition, Shape, wire::WireField};

/// Collects the items of one list.
#[derive(Debug)]
pub struct ListEncoder {
    api_version: String,
    kind: String,
    list: &'static Definition,
    item: &'static Definition,
    /// Fields of the list's message.
    metadata_number: u32,
    items_number: u32,
    items: Vec<u8>,
}

impl ListEncoder {
    /// An empty list; `kind` is that of the list, such as `PodList`.
    ///
    /// # Errors
    ///
    /// When Kubernetes has no protobuf for such lists.
    pub fn new(api_version: &str, kind: &str) -> Result<Self, EncodeError> {
        let list = message_of(api_version, kind)?;
        let field = |name| list.wire_fields().iter().find(|field| field.name == name);
        let item = |items: &WireField| match items.ty.shape() {
            Shape::List(element) => element.definition(),
            _ => None,
        };
        let (Some(metadata), Some(items)) = (field("metadata"), field("items")) else {
            return Err(EncodeError::field("items", "a list"));
        };
        Ok(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            list,
            item: item(items).ok_or_else(|| EncodeError::field("items", "objects"))?,
            metadata_number: metadata.number,
            items_number: items.number,
            items: Vec::new(),
        })
    }

    /// Appends an item.
    ///
    /// # Errors
    ///
    /// When a field is not of its type.
    pub fn push(&mut self, item: &Value) -> Result<(), EncodeError> {
        let empty = Map::new();
        let fields = item.as_object().unwrap_or(&empty);
        put_nested(&mut self.items, self.items_number, |out| write::object(self.item, fields, out))
    }

    /// The whole list in its envelope, in parts that follow each other.
    ///
    /// # Errors
    ///
    /// When a field of the metadata is not of its type.
    pub fn finish(self, metadata: &Value) -> Result<[Vec<u8>; 3], EncodeError> {
        let mut head = Vec::new();
        let fields = Map::from_iter([("metadata".to_owned(), metadata.clone())]);
        write::object(self.list, &fields, &mut head)?;
        let mut before = envelope::head(&self.api_version, &self.kind)?;
        put_length(&mut before, RAW, head.len() + self.items.len());
        let mut after = Vec::new();
        if self.metadata_number < self.items_number {
            before.extend_from_slice(&head);
        } else {
            after = head;
        }
        after.extend_from_slice(envelope::TAIL);
        Ok([before, self.items, after])
    }
}
