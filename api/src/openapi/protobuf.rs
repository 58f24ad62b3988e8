//! Version 2 as protobuf: the message `openapi.v2.Document` of gnostic, made from the same JSON.
//!
//! A reader merges the parts of a message that comes in several, so each path and each definition is a `paths` or `definitions` of its
//! own and the document needs no length in front. Values of extensions and enums are YAML in that message; JSON is YAML.

use serde_json::{Map, Value};

/// The fields before the paths.
pub(super) fn opening(info: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Form::Text.write(1, &"2.0".into(), &mut out);
    Form::One(&INFO).write(2, info, &mut out);
    out
}

/// One path.
pub(super) fn path(name: &str, item: Value) -> Vec<u8> {
    let mut out = Vec::new();
    PATHS.write(8, &named(name, item), &mut out);
    out
}

/// One definition.
pub(super) fn definition(name: &str, schema: Value) -> Vec<u8> {
    let mut out = Vec::new();
    DEFINITIONS.write(9, &named(name, schema), &mut out);
    out
}

/// The tables behind the definitions.
pub(super) fn closing(tables: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    PARAMETERS.write(10, &tables["parameters"], &mut out);
    SECURITY.write(12, &tables["security"], &mut out);
    SECURITY_DEFINITIONS.write(13, &tables["securityDefinitions"], &mut out);
    out
}

fn named(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// How a value of JSON is written as a field.
enum Form {
    /// A string.
    Text,
    /// A boolean.
    Flag,
    /// Anything, as the text of an `Any`.
    Any,
    /// An object with known fields.
    One(&'static Message),
    /// An array: the field again for each element.
    List(&'static Self),
    /// A message of one field, which holds the value.
    Within(u32, &'static Self),
    /// An object with any keys: a pair of name and value for each.
    Named(&'static Self),
    /// A parameter: which message it is depends on where it is given.
    Parameter,
    /// A parameter, or a reference to one.
    ParameterOrReference,
}

/// An object with known fields, and the number of the field for extensions (those that begin with `x-`).
struct Message {
    fields: &'static [(&'static str, u32, Form)],
    extensions: u32,
}

impl Form {
    fn write(&self, number: u32, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::Text => write_bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
            Self::Flag => write_varints([u64::from(number << 3), u64::from(value == true)], out),
            Self::Any => nest(number, out, |any| write_bytes(2, value.to_string().as_bytes(), any)),
            Self::One(message) => nest(number, out, |inner| message.write(value, inner)),
            Self::List(element) => {
                for item in value.as_array().into_iter().flatten() {
                    element.write(number, item, out);
                }
            }
            Self::Within(field, form) => nest(number, out, |inner| form.write(*field, value, inner)),
            Self::Named(form) => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    nest(number, out, |pair| {
                        write_bytes(1, key.as_bytes(), pair);
                        form.write(2, item, pair);
                    });
                }
            }
            Self::Parameter => match value["in"].as_str() {
                Some("body") => IN_BODY.write(number, value, out),
                Some("path") => IN_PATH.write(number, value, out),
                _ => IN_QUERY.write(number, value, out),
            },
            Self::ParameterOrReference if value.get("$ref").is_some() => ELSEWHERE.write(number, value, out),
            Self::ParameterOrReference => HERE.write(number, value, out),
        }
    }
}

impl Message {
    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        for (key, item) in value.as_object().into_iter().flatten() {
            if let Some((_, number, form)) = self.fields.iter().find(|(name, ..)| name == key) {
                form.write(*number, item, out);
            } else if key.starts_with("x-") {
                nest(self.extensions, out, |pair| {
                    write_bytes(1, key.as_bytes(), pair);
                    Form::Any.write(2, item, pair);
                });
            } else {
                debug_assert!(false, "{key} has no field");
            }
        }
    }
}

/// A field of bytes, text or a message.
fn write_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    write_varints([u64::from(number << 3 | LENGTH_DELIMITED), length], out);
    out.extend_from_slice(bytes);
}

fn nest(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    write_bytes(number, &inner, out);
}

fn write_varints<const N: usize>(values: [u64; N], out: &mut Vec<u8>) {
    for mut value in values {
        while value >= 0x80 {
            out.push(0x80 | u8::try_from(value & 0x7f).unwrap_or_default());
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap_or_default());
    }
}

const LENGTH_DELIMITED: u32 = 2;

static PATHS: Form = Form::Within(2, &Form::Named(&Form::One(&PATH_ITEM)));
static DEFINITIONS: Form = Form::Within(1, &Form::Named(&Form::One(&SCHEMA)));
static PARAMETERS: Form = Form::Within(1, &Form::Named(&Form::Parameter));
static SECURITY: Form =
    Form::List(&Form::Within(1, &Form::Named(&Form::Within(1, &Form::List(&Form::Text)))));
static SECURITY_DEFINITIONS: Form = Form::Within(1, &Form::Named(&Form::Within(2, &Form::One(&API_KEY))));

static IN_BODY: Form = Form::Within(1, &Form::One(&BODY_PARAMETER));
static IN_QUERY: Form = Form::Within(2, &Form::Within(3, &Form::One(&QUERY_PARAMETER)));
static IN_PATH: Form = Form::Within(2, &Form::Within(4, &Form::One(&PATH_PARAMETER)));
static HERE: Form = Form::Within(1, &Form::Parameter);
static ELSEWHERE: Form = Form::Within(2, &Form::One(&REFERENCE));

static INFO: Message =
    Message { fields: &[("title", 1, Form::Text), ("version", 2, Form::Text)], extensions: 7 };

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("options", 6, Form::One(&OPERATION)),
        ("head", 7, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::List(&Form::ParameterOrReference)),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::List(&Form::Text)),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::List(&Form::Text)),
        ("consumes", 7, Form::List(&Form::Text)),
        ("parameters", 8, Form::List(&Form::ParameterOrReference)),
        ("responses", 9, Form::Within(1, &Form::Named(&Form::Within(1, &Form::One(&RESPONSE))))),
        ("schemes", 10, Form::List(&Form::Text)),
    ],
    extensions: 13,
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::Within(1, &Form::One(&SCHEMA)))],
    extensions: 5,
};

static REFERENCE: Message = Message { fields: &[("$ref", 1, Form::Text)], extensions: 0 };

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: 22,
};

static API_KEY: Message = Message {
    fields: &[
        ("type", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("description", 4, Form::Text),
    ],
    extensions: 5,
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("description", 4, Form::Text),
        ("required", 19, Form::List(&Form::Text)),
        ("enum", 20, Form::List(&Form::Any)),
        ("additionalProperties", 21, Form::Within(1, &Form::One(&SCHEMA))),
        ("type", 22, Form::Within(1, &Form::Text)),
        ("items", 23, Form::Within(1, &Form::One(&SCHEMA))),
        ("properties", 25, Form::Within(1, &Form::Named(&Form::One(&SCHEMA)))),
    ],
    extensions: 31,
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn values_become_fields() {
        let check = |form: &Form, value: Value, expected: &str| {
            let mut out = Vec::new();
            form.write(1, &value, &mut out);
            assert_eq!(hex(&out), expected, "{value}");
        };
        check(&Form::Text, json!("ab"), "0a026162");
        check(&Form::Flag, json!(true), "0801");
        check(&Form::Any, json!(["a"]), "0a0712055b2261225d");
        check(&Form::List(&Form::Text), json!(["a", "b"]), "0a01610a0162");
        check(&Form::Within(2, &Form::Text), json!("a"), "0a03120161");
        check(&Form::Named(&Form::Text), json!({"a": "b"}), "0a060a0161120162");
        check(&Form::One(&INFO), json!({"title": "a", "x-b": 1}), "0a0f0a01613a0a0a03782d621203120131");
    }

    #[test]
    fn long_values_have_long_lengths() {
        let mut out = Vec::new();
        write_bytes(20, &[b'a'; 300], &mut out);
        assert_eq!(hex(&out[..4]), "a201ac02");
        assert_eq!(out.len(), 304);
    }
}
