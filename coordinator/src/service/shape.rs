//! What answers look like: objects as they are stored, their metadata only, or tables for people.

use dunlin_api::{
    Kind, Status,
    pipeline::Accepted as AcceptedObject,
    protobuf::ListEncoder,
    table::{self, IncludeObject},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    encode::{check_has_protobuf, encode, protobuf_list, unencodable},
    list::Found,
    list_text::ListText,
    media::{Accepted, Encoding, MetaVersion, Shape},
    query::Query,
    response::Response,
    served,
};
use crate::store::KeyValue;

/// Reads `includeObject` of a table request.
pub(super) fn include_object(query: &Query) -> Result<IncludeObject, Status> {
    match query.text("includeObject") {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        other => Err(Status::bad_request(format!("unrecognized includeObject value: \"{other}\""))),
    }
}

/// How one answer is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shaper {
    pub(super) kind: &'static Kind,
    pub(super) accepted: Accepted,
    pub(super) include: IncludeObject,
    pub(super) now: Timestamp,
}

impl Shaper {
    /// An answer of one object.
    pub(super) fn object(&self, status: u16, answer: AcceptedObject) -> Result<Response, Status> {
        let AcceptedObject { object, warnings } = answer;
        let object = served::serve(self.kind, object)?;
        let shaped = match self.accepted.shape {
            Shape::Object => object,
            Shape::Metadata(version) => partial(&object, version),
            Shape::Table(version) => {
                let version_text = object["metadata"]["resourceVersion"].clone();
                self.table(&[object], version, json!({"resourceVersion": version_text}))
            }
        };
        Ok(self.encode(status, &shaped)?.with_warnings(warnings))
    }

    /// An answer of a delete: a Status, or the object where the kind answers that.
    pub(super) fn deleted(&self, answer: Value) -> Result<Response, Status> {
        if answer["kind"] == "Status" {
            return self.plain(200, &answer);
        }
        self.object(200, AcceptedObject { object: answer, warnings: Vec::new() })
    }

    /// An answer of a Status or the like, which has one shape only.
    pub(super) fn plain(&self, status: u16, value: &Value) -> Result<Response, Status> {
        self.encode(status, value)
    }

    /// An answer of a list.
    pub(super) fn list(&self, found: &Found) -> Result<Response, Status> {
        let metadata = list_metadata(found);
        if self.accepted.encoding == Encoding::Protobuf {
            let mut list = self.protobuf_list()?;
            self.add_items(&found.items, &mut list)?;
            return protobuf_list(list, &metadata);
        }
        let mut text = Vec::new();
        let mut list = ListText::start(*self, &metadata, &mut text)?;
        list.items(&found.items, &mut text)?;
        list.end(&mut text);
        Ok(Response::bytes(200, self.accepted.encoding.media_type(), text))
    }

    /// An answer of a list of objects that are not stored.
    pub(super) fn made(&self, objects: &[Value]) -> Result<Response, Status> {
        let list = match self.accepted.shape {
            Shape::Object => json!({
                "kind": format!("{}List", self.kind.kind),
                "apiVersion": self.kind.api_version(),
                "metadata": {},
                "items": objects.iter().cloned().map(without_kind).collect::<Vec<_>>(),
            }),
            Shape::Metadata(version) => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": version.api_version(),
                "metadata": {},
                "items": objects.iter().map(|object| partial(object, version)).collect::<Vec<_>>(),
            }),
            Shape::Table(version) => self.table(objects, version, json!({})),
        };
        self.encode(200, &list)
    }

    /// An empty list in protobuf, of objects or of their metadata.
    pub(super) fn protobuf_list(&self) -> Result<ListEncoder, Status> {
        let list = match self.accepted.shape {
            Shape::Metadata(version) => ListEncoder::new(version.api_version(), "PartialObjectMetadataList"),
            Shape::Object | Shape::Table(_) => {
                ListEncoder::new(&self.kind.api_version(), &format!("{}List", self.kind.kind))
            }
        };
        list.map_err(unencodable)
    }

    /// Appends items of a list in protobuf; each is decoded for itself.
    pub(super) fn add_items(&self, items: &[KeyValue], list: &mut ListEncoder) -> Result<(), Status> {
        for item in items {
            let object = self.served(item)?;
            let shaped = match self.accepted.shape {
                Shape::Metadata(version) => partial(&object, version),
                Shape::Object | Shape::Table(_) => object,
            };
            list.push(&shaped).map_err(unencodable)?;
        }
        Ok(())
    }

    /// Refuses what cannot be answered as it is accepted, before anything is done.
    pub(super) fn check(&self) -> Result<(), Status> {
        check(self.accepted, self.kind)
    }

    /// Whether items are told as they are stored.
    pub(super) fn is_spliced(&self) -> bool {
        self.accepted == Accepted { shape: Shape::Object, encoding: Encoding::Json }
    }

    /// A stored item as an object of its kind.
    pub(super) fn served(&self, item: &KeyValue) -> Result<Value, Status> {
        served::decode(self.kind, &item.value, item.mod_revision)
    }

    fn table(&self, objects: &[Value], version: MetaVersion, metadata: Value) -> Value {
        let mut table = table::render(self.kind, objects, self.include, self.now);
        table["metadata"] = metadata;
        set_version(&mut table, version);
        table
    }

    fn encode(&self, status: u16, value: &Value) -> Result<Response, Status> {
        encode(self.accepted.encoding, status, value)
    }
}

/// Refuses to answer objects of a kind in an encoding that it has not.
pub(super) fn check(accepted: Accepted, kind: &Kind) -> Result<(), Status> {
    match accepted.shape {
        Shape::Object => check_has_protobuf(accepted.encoding, &kind.api_version(), kind.kind),
        Shape::Metadata(_) | Shape::Table(_) => Ok(()),
    }
}

/// Metadata of a list.
pub(super) fn list_metadata(found: &Found) -> Value {
    let mut metadata = json!({"resourceVersion": found.revision.to_string()});
    if let Some(token) = &found.token {
        metadata["continue"] = token.as_str().into();
        if let Some(remaining) = found.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    metadata
}

/// An item of a list of its kind, which says it once for all.
pub(super) fn without_kind(mut item: Value) -> Value {
    if let Some(fields) = item.as_object_mut() {
        fields.retain(|field, _| field != "kind" && field != "apiVersion");
    }
    item
}

/// An object's metadata, as an object of its own.
pub(super) fn partial(object: &Value, version: MetaVersion) -> Value {
    let mut partial = table::partial_metadata(object);
    partial["apiVersion"] = version.api_version().into();
    partial
}

/// Says in a table, and in the metadata in its rows, which version they are of.
pub(super) fn set_version(table: &mut Value, version: MetaVersion) {
    table["apiVersion"] = version.api_version().into();
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        set_row_version(row, version);
    }
}

/// The same for one row.
pub(super) fn set_row_version(row: &mut Value, version: MetaVersion) {
    // Indexing makes the null that a row without an object has.
    let object = &mut row["object"];
    if object["kind"] == "PartialObjectMetadata" {
        object["apiVersion"] = version.api_version().into();
    }
}

/// Room for what an event or list adds to an object's bytes.
pub(super) const ITEM_EXTRA_BYTES: usize = 96;
