//! Lists as text, JSON or YAML, written a part at a time: a list of any size and shape takes the memory of one part.
//!
//! All that stands before the items is known before the first of them, so that nothing has to be gathered.

use dunlin_api::{
    Status,
    table::{self, IncludeObject},
    yaml,
};
use serde_json::{Map, Value};

use super::{
    media::{Encoding, MetaVersion, Shape},
    served,
    shape::{ITEM_EXTRA_BYTES, Shaper, partial, set_row_version, without_kind},
    stored,
};
use crate::store::KeyValue;

/// A list that is being written.
#[derive(Debug)]
pub(super) struct ListText {
    shaper: Shaper,
    items: Items,
}

/// Whether items were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Items {
    None,
    Some,
}

impl ListText {
    /// Writes a list up to its first item.
    pub(super) fn start(shaper: Shaper, metadata: &Value, text: &mut Vec<u8>) -> Result<Self, Status> {
        let (kind, version) = match shaper.accepted.shape {
            Shape::Object => (format!("{}List", shaper.kind.kind), shaper.kind.api_version()),
            Shape::Metadata(version) => {
                ("PartialObjectMetadataList".to_owned(), version.api_version().to_owned())
            }
            Shape::Table(version) => ("Table".to_owned(), version.api_version().to_owned()),
        };
        let columns = match shaper.accepted.shape {
            Shape::Table(_) => {
                let table = table::render(shaper.kind, [], shaper.include, shaper.now);
                Some(table["columnDefinitions"].clone())
            }
            Shape::Object | Shape::Metadata(_) => None,
        };
        let items = if columns.is_some() { "rows" } else { "items" };
        if shaper.accepted.encoding == Encoding::Yaml {
            let mut head = Map::new();
            head.insert("kind".to_owned(), kind.into());
            head.insert("apiVersion".to_owned(), version.into());
            head.insert("metadata".to_owned(), metadata.clone());
            head.extend(columns.map(|columns| ("columnDefinitions".to_owned(), columns)));
            text.extend_from_slice(yaml::emit(&Value::Object(head)).as_bytes());
            text.extend_from_slice(format!("{items}:").as_bytes());
        } else {
            let head = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata}");
            text.extend_from_slice(head.as_bytes());
            if let Some(columns) = columns {
                text.extend_from_slice(format!(",\"columnDefinitions\":{columns}").as_bytes());
            }
            text.extend_from_slice(format!(",\"{items}\":[").as_bytes());
        }
        Ok(Self { shaper, items: Items::None })
    }

    /// Writes the next items.
    pub(super) fn items(&mut self, items: &[KeyValue], text: &mut Vec<u8>) -> Result<(), Status> {
        text.reserve(items.iter().map(|item| item.value.len() + ITEM_EXTRA_BYTES).sum());
        let shaper = self.shaper;
        match shaper.accepted.shape {
            Shape::Object if shaper.is_spliced() && served::is_as_stored(shaper.kind) => {
                for item in items {
                    self.comma(text);
                    stored::write_item(shaper.kind, &item.value, item.mod_revision, text)
                        .map_err(Status::internal)?;
                }
            }
            Shape::Object => {
                for item in items {
                    self.item(&without_kind(shaper.served(item)?), text)?;
                }
            }
            Shape::Metadata(version) => {
                for item in items {
                    self.item(&partial(&shaper.served(item)?, version), text)?;
                }
            }
            Shape::Table(version) if self.splices_rows() => {
                for item in items {
                    self.comma(text);
                    self.row(item, version, text)?;
                }
            }
            Shape::Table(version) => {
                for item in items {
                    let object = shaper.served(item)?;
                    let mut row = table::row(shaper.kind, &object, shaper.include, shaper.now);
                    set_row_version(&mut row, version);
                    self.item(&row, text)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what follows the last item.
    pub(super) fn end(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(match (self.shaper.accepted.encoding, self.items) {
            (Encoding::Yaml, Items::None) => b" []\n",
            (Encoding::Yaml, Items::Some) => b"",
            (Encoding::Json | Encoding::Protobuf, _) => b"]}",
        });
    }

    /// Whether the metadata in rows can be copied as it is stored.
    fn splices_rows(&self) -> bool {
        let Shaper { accepted, include, kind, .. } = self.shaper;
        accepted.encoding == Encoding::Json
            && include == IncludeObject::Metadata
            && served::is_as_stored(kind)
    }

    /// Writes a row: cells from what is decoded of an object, its metadata as it is stored.
    fn row(&self, item: &KeyValue, version: MetaVersion, text: &mut Vec<u8>) -> Result<(), Status> {
        let Shaper { kind, now, .. } = self.shaper;
        let (object, metadata) =
            stored::decode_for_row(&item.value, item.mod_revision).map_err(Status::internal)?;
        let row = table::row(kind, &object, IncludeObject::None, now);
        serde_json::to_writer(&mut *text, &row).map_err(Status::internal)?;
        let closing = text.pop();
        debug_assert_eq!(closing, Some(b'}'), "a row is an object with cells");
        let (kind, version) = ("PartialObjectMetadata", version.api_version());
        let head = format!(",\"object\":{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":");
        text.extend_from_slice(head.as_bytes());
        metadata.write(text);
        text.extend_from_slice(b"}}");
        Ok(())
    }

    fn item(&mut self, item: &Value, text: &mut Vec<u8>) -> Result<(), Status> {
        if self.shaper.accepted.encoding == Encoding::Yaml {
            if self.items == Items::None {
                text.push(b'\n');
                self.items = Items::Some;
            }
            // A sequence of one: its lines go on with those of the one before.
            text.extend_from_slice(yaml::emit_element(item).as_bytes());
            return Ok(());
        }
        self.comma(text);
        serde_json::to_writer(text, item).map_err(Status::internal)
    }

    fn comma(&mut self, text: &mut Vec<u8>) {
        match self.items {
            Items::None => self.items = Items::Some,
            Items::Some => text.push(b','),
        }
    }
}
