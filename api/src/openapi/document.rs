//! A document as a sequence of parts.

use std::{collections::BTreeMap, vec};

use serde_json::{Map, Value, json};

use super::{
    Descriptions, Topic, component, dialect::Dialect, item::Item, operation::Content, paths::Path, protobuf,
    v2, v3,
};
use crate::{kind::Kind, schema::Definition};

/// A document: an iterator over its bytes, in parts of which none is large. The same kinds always give the same bytes.
#[derive(Debug)]
pub struct Document {
    form: Form,
    version: String,
    paths: vec::IntoIter<Path>,
    /// Definitions that the paths so far refer to, by name.
    found: BTreeMap<&'static str, &'static Definition>,
    definitions: vec::IntoIter<&'static Definition>,
    descriptions: Descriptions,
    stage: Stage,
    /// Whether the next entry is the first of its table.
    entry: Entry,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    V3,
    V2,
    V2Protobuf,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Paths,
    Definitions,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    First,
    Later,
}

impl Document {
    /// The document of version 3 about a topic, of a server that says it has this `version`.
    pub fn v3(topic: &Topic, kinds: &[&'static Kind], version: &str, descriptions: Descriptions) -> Self {
        Self::new(Form::V3, &[*topic], kinds, version, descriptions)
    }

    /// The document of version 2 as JSON.
    pub fn v2(kinds: &[&'static Kind], version: &str, descriptions: Descriptions) -> Self {
        Self::new(Form::V2, &Topic::all(kinds), kinds, version, descriptions)
    }

    /// The document of version 2 as a message of gnostic's `openapi.v2.Document`.
    pub fn v2_protobuf(kinds: &[&'static Kind], version: &str, descriptions: Descriptions) -> Self {
        Self::new(Form::V2Protobuf, &Topic::all(kinds), kinds, version, descriptions)
    }

    fn new(
        form: Form,
        topics: &[Topic],
        kinds: &[&'static Kind],
        version: &str,
        descriptions: Descriptions,
    ) -> Self {
        let mut paths = Vec::new();
        for topic in topics {
            topic.add_paths(kinds, &mut paths);
        }
        paths.sort_by(|one, other| one.path.cmp(&other.path));
        Self {
            form,
            version: version.to_owned(),
            paths: paths.into_iter(),
            found: BTreeMap::new(),
            definitions: Vec::new().into_iter(),
            descriptions,
            stage: Stage::Opening,
            entry: Entry::First,
        }
    }

    fn opening(&self) -> Vec<u8> {
        let info = json!({"title": "Kubernetes", "version": self.version});
        match self.form {
            Form::V3 => format!("{{\"openapi\":\"3.0.0\",\"info\":{info},\"paths\":{{").into_bytes(),
            Form::V2 => format!("{{\"swagger\":\"2.0\",\"info\":{info},\"paths\":{{").into_bytes(),
            Form::V2Protobuf => protobuf::opening(&info),
        }
    }

    fn path(&mut self, path: &Path) -> Vec<u8> {
        let item = Item::new(path);
        for operation in &item.operations {
            let body = operation.body.as_ref().map(|body| body.content);
            for content in body.into_iter().chain([operation.answer]) {
                self.find(content);
            }
        }
        match self.form {
            Form::V3 => self.entry(&path.path, &v3::item(&item)),
            Form::V2 => self.entry(&path.path, &v2::item(&item)),
            Form::V2Protobuf => protobuf::path(&path.path, v2::item(&item)),
        }
    }

    /// Takes a definition down with all that it refers to.
    fn find(&mut self, content: Content) {
        let Content::Object(definition) = content else { return };
        let mut queue = vec![definition];
        while let Some(definition) = queue.pop() {
            if self.found.insert(definition.name, definition).is_none() {
                queue.extend(component::references(definition));
            }
        }
    }

    /// Ends the paths.
    fn turning(&mut self) -> Vec<u8> {
        self.definitions = std::mem::take(&mut self.found).into_values().collect::<Vec<_>>().into_iter();
        self.entry = Entry::First;
        match self.form {
            Form::V3 => b"},\"components\":{\"schemas\":{".to_vec(),
            Form::V2 => b"},\"definitions\":{".to_vec(),
            Form::V2Protobuf => Vec::new(),
        }
    }

    fn definition(&mut self, definition: &Definition) -> Vec<u8> {
        let described = self.descriptions.find(definition.name);
        let dialect = if self.form == Form::V3 { Dialect::V3 } else { Dialect::V2 };
        let schema = component::component(definition, dialect, described.as_ref());
        match self.form {
            Form::V3 | Form::V2 => self.entry(definition.name, &schema),
            Form::V2Protobuf => protobuf::definition(definition.name, schema),
        }
    }

    fn closing(&self) -> Vec<u8> {
        let security = json!({
            "BearerToken": {
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
                "description": "A token of a service account, after the word Bearer.",
            },
        });
        if self.form == Form::V3 {
            return format!("}},\"securitySchemes\":{security}}}}}").into_bytes();
        }
        let parameters: Map<String, Value> = v2::parameters().into_iter().collect();
        let tables = json!({
            "parameters": parameters,
            "securityDefinitions": security,
            "security": [{"BearerToken": []}],
        });
        match self.form {
            Form::V2Protobuf => protobuf::closing(&tables),
            // Goes on behind the table of definitions.
            _ => format!("}},{}", &tables.to_string()[1..]).into_bytes(),
        }
    }

    /// An entry of a table of JSON.
    fn entry(&mut self, key: &str, value: &Value) -> Vec<u8> {
        let separator = match std::mem::replace(&mut self.entry, Entry::Later) {
            Entry::First => "",
            Entry::Later => ",",
        };
        format!("{separator}{}:{value}", Value::from(key)).into_bytes()
    }
}

impl Iterator for Document {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::Paths;
                Some(self.opening())
            }
            Stage::Paths => Some(match self.paths.next() {
                Some(path) => self.path(&path),
                None => {
                    self.stage = Stage::Definitions;
                    self.turning()
                }
            }),
            Stage::Definitions => Some(match self.definitions.next() {
                Some(definition) => self.definition(definition),
                None => {
                    self.stage = Stage::Done;
                    self.closing()
                }
            }),
            Stage::Done => None,
        }
    }
}
