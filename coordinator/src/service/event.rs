//! Events of watches: what each tells of an object, and how it is written. In JSON an event is a line, in protobuf a frame.

use bytes::Bytes;
use dunlin_api::{
    Kind, Status, protobuf,
    table::{self, IncludeObject},
};
use dunlin_link::Revision;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    encode::unencodable,
    media::{Accepted, Encoding, Shape},
    served,
    shape::{ITEM_EXTRA_BYTES, partial, set_version},
    stored,
    watch::EventKind,
};

/// How the events of one watch are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventShape {
    accepted: Accepted,
    include: IncludeObject,
    columns: Columns,
}

/// Only the first table of a watch describes its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    ToCome,
    Told,
}

impl EventShape {
    pub(super) const fn new(accepted: Accepted, include: IncludeObject) -> Self {
        Self { accepted, include, columns: Columns::ToCome }
    }

    /// The media type of the whole.
    pub(super) const fn media_type(&self) -> &'static str {
        self.accepted.encoding.stream_type()
    }

    /// One event about one object.
    pub(super) fn event(
        &mut self,
        kind: &'static Kind,
        what: EventKind,
        value: &[u8],
        revision: Revision,
        now: Timestamp,
    ) -> Result<Bytes, Status> {
        if self.accepted != WHOLE_JSON || !served::is_as_stored(kind) {
            let object = served::decode(kind, value, revision)?;
            let shaped = self.shaped(kind, object, now);
            return self.written(what.as_str(), &shaped);
        }
        let mut line = Vec::with_capacity(value.len() + ITEM_EXTRA_BYTES);
        line.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", what.as_str()).as_bytes());
        stored::write(value, revision, &mut line).map_err(Status::internal)?;
        line.extend_from_slice(b"}\n");
        Ok(line.into())
    }

    /// One event that says how far the watch is; `annotation` marks the end of the initial objects.
    pub(super) fn bookmark(
        &mut self,
        kind: &Kind,
        revision: Revision,
        annotation: Option<&str>,
    ) -> Result<Bytes, Status> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(annotation) = annotation {
            metadata["annotations"] = json!({ annotation: "true" });
        }
        let object = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata});
        let shaped = self.shaped(kind, object, Timestamp::UNIX_EPOCH);
        self.written("BOOKMARK", &shaped)
    }

    /// The event that ends a watch which cannot go on.
    pub(super) fn error(&self, status: &Status) -> Bytes {
        let written = self.written("ERROR", &status.0);
        // A status has protobuf; were it not so, the end of the watch would have to speak for itself.
        written.unwrap_or_default()
    }

    fn written(&self, what: &str, object: &Value) -> Result<Bytes, Status> {
        match self.accepted.encoding {
            Encoding::Json | Encoding::Yaml => {
                Ok(format!("{{\"type\":\"{what}\",\"object\":{object}}}\n").into())
            }
            Encoding::Protobuf => {
                let object = protobuf::encode(object).map_err(unencodable)?;
                protobuf::watch_frame(what, &object).map(Bytes::from).map_err(unencodable)
            }
        }
    }

    fn shaped(&mut self, kind: &Kind, object: Value, now: Timestamp) -> Value {
        match self.accepted.shape {
            Shape::Object => object,
            Shape::Metadata(version) => partial(&object, version),
            Shape::Table(version) => {
                let mut table = table::render(kind, [&object], self.include, now);
                table["metadata"] = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                set_version(&mut table, version);
                if self.columns == Columns::Told {
                    table["columnDefinitions"] = Value::Null;
                }
                self.columns = Columns::Told;
                table
            }
        }
    }
}

/// What is copied from the store.
const WHOLE_JSON: Accepted = Accepted { shape: Shape::Object, encoding: Encoding::Json };
