//! Making a JSON value conform to a definition: types checked, unknown fields pruned, numbers and times in canonical form, the
//! schema's defaults filled in, and empty values left out where Kubernetes leaves them out.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    base64,
    decode::{note, shown},
    quantity::Quantity,
    schema::{Definition, Encoding, Field, Shape, Type},
    time::{format_micro_time, format_time},
};

/// The first value that does not fit; the message is the one a Kubernetes server gives for a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Mismatch {
    message: String,
    /// What it says of a patched object that was never text: `cannot convert int64 to string`.
    conversion: Option<String>,
}

impl Mismatch {
    /// The message for an object that a strategic merge patch made.
    pub(crate) fn into_conversion(self) -> String {
        self.conversion.unwrap_or(self.message)
    }

    fn new(message: String) -> Self {
        Self { message, conversion: None }
    }
}

/// Makes `object` conform and adds `unknown field "path"` for every field pruned.
pub(crate) fn conform(
    definition: &'static Definition,
    object: &mut Value,
    unknown: &mut Vec<String>,
) -> Result<(), Mismatch> {
    let mut walk =
        Walk { unknown, path: String::new(), go_path: String::new(), owner: definition.short_name() };
    walk.definition(definition, object)
}

struct Walk<'u> {
    unknown: &'u mut Vec<String>,
    /// As in `spec.containers[0].image`.
    path: String,
    /// As Go writes it, without positions and keys.
    go_path: String,
    /// The struct that holds the field at hand.
    owner: &'static str,
}

impl Walk<'_> {
    fn definition(&mut self, definition: &'static Definition, value: &mut Value) -> Result<(), Mismatch> {
        match definition.encoding {
            Encoding::Struct => self.fields(definition, value),
            Encoding::Quantity => quantity(value),
            Encoding::Time => time(value, Precision::Seconds),
            Encoding::MicroTime => time(value, Precision::Micros),
            Encoding::IntOrString => int_or_string(value),
            Encoding::Any | Encoding::Message => Ok(()),
        }
    }

    fn fields(&mut self, definition: &'static Definition, value: &mut Value) -> Result<(), Mismatch> {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        let Value::Object(object) = value else { return Err(self.mismatch(value, &definition.go_name())) };
        let owner = std::mem::replace(&mut self.owner, definition.short_name());
        object.retain(|key, _| {
            let known = definition.field(key).is_some();
            if !known {
                let dot = if self.path.is_empty() { "" } else { "." };
                let (path, key) = (shown(&self.path), shown(key));
                note(self.unknown, "unknown", format_args!("{path}{dot}{key}"));
            }
            known
        });
        for field in definition.fields() {
            if object.get(field.name).is_none_or(|value| is_unset(field, value)) {
                object.remove(field.name);
                if let Some(value) = field.when_unset() {
                    object.insert(field.name.to_owned(), value);
                }
            }
            let Some(slot) = object.get_mut(field.name).filter(|slot| !slot.is_null()) else { continue };
            let (length, go_length) = (self.path.len(), self.go_path.len());
            for path in [&mut self.path, &mut self.go_path] {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(field.name);
            }
            self.typed(field.ty, slot)?;
            self.path.truncate(length);
            self.go_path.truncate(go_length);
            if is_left_out(field, slot) {
                object.remove(field.name);
            }
        }
        self.owner = owner;
        Ok(())
    }

    fn typed(&mut self, ty: Type, value: &mut Value) -> Result<(), Mismatch> {
        match (ty.shape(), &mut *value) {
            (Shape::Named(definition), value) => self.definition(definition, value),
            (Shape::Any, _)
            | (Shape::String, Value::String(_))
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Double, Value::Number(_)) => Ok(()),
            (Shape::Int32, Value::Number(number))
                if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) =>
            {
                Ok(())
            }
            (Shape::Int64, Value::Number(number)) if number.is_i64() => Ok(()),
            (Shape::Bytes, Value::String(text)) => match base64::decode(text) {
                Ok(_) => Ok(()),
                Err(position) => Err(Mismatch::new(format!("illegal base64 data at input byte {position}"))),
            },
            (Shape::List(element), Value::Array(elements)) => {
                let length = self.path.len();
                for (position, slot) in elements.iter_mut().enumerate() {
                    self.path.push_str(&format!("[{position}]"));
                    self.entry(element, slot)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            (Shape::Map(entry), Value::Object(entries)) => {
                let length = self.path.len();
                for (key, slot) in entries {
                    self.path.push('.');
                    self.path.push_str(key);
                    self.entry(entry, slot)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            (_, value) => Err(self.mismatch(value, &ty.go_name())),
        }
    }

    /// An element of a list or map, where null means the zero value.
    fn entry(&mut self, ty: Type, slot: &mut Value) -> Result<(), Mismatch> {
        if slot.is_null() {
            *slot = match ty.shape() {
                Shape::String | Shape::Bytes => "".into(),
                Shape::Bool => false.into(),
                Shape::Int32 | Shape::Int64 | Shape::Double => 0.into(),
                Shape::List(_) => Value::Array(Vec::new()),
                Shape::Map(_) => Value::Object(Map::new()),
                Shape::Any | Shape::Named(_) => return self.typed(ty, slot),
            };
        }
        self.typed(ty, slot)
    }

    fn mismatch(&self, value: &Value, go_type: &str) -> Mismatch {
        let found = match value {
            // Go quotes the literal only where a number was expected, and this is one that does not fit.
            Value::Number(number) if go_type.starts_with("int") => format!("number {number}"),
            value => json_type(value).to_owned(),
        };
        let Self { owner, go_path, .. } = self;
        let message = if go_path.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {go_type}")
        } else {
            format!("json: cannot unmarshal {found} into Go struct field {owner}.{go_path} of type {go_type}")
        };
        Mismatch { message, conversion: Some(conversion(value, go_type)) }
    }
}

/// Whether `value` is what the field has when nobody sets it. Lists and maps count when they are empty, as they do once Kubernetes has
/// stored them.
fn is_unset(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty() && matches!(field.ty.shape(), Shape::List(_)),
        Value::Object(entries) => entries.is_empty() && matches!(field.ty.shape(), Shape::Map(_)),
        Value::String(text) => field.drops_zero && text.is_empty(),
        Value::Bool(value) => field.drops_zero && !value,
        Value::Number(number) => field.drops_zero && number.as_i64() == Some(0),
    }
}

/// Whether Kubernetes leaves `value` out of the encoded object.
fn is_left_out(field: &Field, value: &Value) -> bool {
    is_unset(field, value) && (field.drops_zero || field.when_unset().is_none())
}

/// What is said of a value that was never text.
fn conversion(value: &Value, go_type: &str) -> String {
    let found = unstructured_type(value);
    if value.is_object() && go_type.starts_with("[]") {
        return "cannot restore slice from map".to_owned();
    }
    format!("cannot convert {found} to {go_type}")
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The Go type that a JSON value has before it is converted.
fn unstructured_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn quantity(value: &mut Value) -> Result<(), Mismatch> {
    let text = match &*value {
        Value::Null => "0".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let quantity = Quantity::from_str(&text).map_err(|error| Mismatch::new(error.to_string()))?;
    *value = quantity.to_string().into();
    Ok(())
}

fn int_or_string(value: &mut Value) -> Result<(), Mismatch> {
    match value {
        Value::String(_) => Ok(()),
        Value::Null => {
            *value = 0.into();
            Ok(())
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => {
            Ok(())
        }
        Value::Number(number) => {
            Err(Mismatch::new(format!("json: cannot unmarshal number {number} into Go value of type int32")))
        }
        other => Err(Mismatch::new(format!(
            "json: cannot unmarshal {} into Go value of type int32",
            json_type(other)
        ))),
    }
}

#[derive(Clone, Copy)]
enum Precision {
    Seconds,
    Micros,
}

fn time(value: &mut Value, precision: Precision) -> Result<(), Mismatch> {
    let text = match &*value {
        Value::Null => return Ok(()),
        Value::String(text) => text,
        other => {
            let found = json_type(other);
            return Err(Mismatch::new(format!(
                "json: cannot unmarshal {found} into Go value of type string"
            )));
        }
    };
    let Ok(parsed) = Timestamp::from_str(text) else {
        let layout = match precision {
            Precision::Seconds => "2006-01-02T15:04:05Z07:00",
            Precision::Micros => "2006-01-02T15:04:05.000000Z07:00",
        };
        return Err(Mismatch::new(format!(
            "parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\""
        )));
    };
    *value = match precision {
        Precision::Seconds => format_time(parsed),
        Precision::Micros => format_micro_time(parsed),
    }
    .into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn check(mut object: Value, expected: Result<Value, &str>) {
        let definition = schema::definition("io.k8s.api.core.v1.Pod").unwrap();
        let result = conform(definition, &mut object, &mut Vec::new());
        assert_eq!(
            result.map(|()| object["spec"].take()).map_err(|error| error.message),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn wrong_types_are_named_as_go_names_them() {
        let prefix = "json: cannot unmarshal";
        check(
            json!({"spec": {"containers": {}}}),
            Err(&format!(
                "{prefix} object into Go struct field PodSpec.spec.containers of type []v1.Container"
            )),
        );
        check(
            json!({"spec": {"containers": [{"ports": [{"containerPort": 80.0}]}]}}),
            Err(&format!(
                "{prefix} number 80.0 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
            )),
        );
        check(
            json!({"spec": {"containers": [{"image": 5}]}}),
            Err(&format!(
                "{prefix} number into Go struct field Container.spec.containers.image of type string"
            )),
        );
        check(
            json!({"spec": "x"}),
            Err(&format!("{prefix} string into Go struct field Pod.spec of type v1.PodSpec")),
        );
        check(
            json!({"spec": {"activeDeadlineSeconds": true}}),
            Err(&format!(
                "{prefix} bool into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64"
            )),
        );
    }

    #[test]
    fn values_become_canonical() {
        check(
            json!({"spec": {"foo": 1, "hostNetwork": false, "nodeName": "", "volumes": [], "tolerations": null, "containers": [
                {"name": "c", "env": [{"name": "a", "value": ""}], "resources": {"limits": {"cpu": 1.5, "memory": null}}}]}}),
            Ok(json!({"containers": [
                {"name": "c", "env": [{"name": "a"}], "resources": {"limits": {"cpu": "1500m", "memory": "0"}}}]})),
        );
    }

    #[test]
    fn what_go_cannot_leave_out_is_null_or_zero() {
        let check = |name: &str, mut object: Value, expected: Value| {
            conform(schema::definition(name).unwrap(), &mut object, &mut Vec::new()).unwrap();
            assert_eq!(object, expected, "{name}");
        };
        check("io.k8s.api.rbac.v1.Role", json!({"rules": []}), json!({"metadata": {}, "rules": null}));
        check("io.k8s.api.core.v1.ResourceFieldSelector", json!({"resource": "limits.cpu"}), {
            json!({"resource": "limits.cpu", "divisor": "0"})
        });
        check(
            "io.k8s.api.core.v1.TypedLocalObjectReference",
            json!({"kind": "K", "name": "n"}),
            json!({"apiGroup": null, "kind": "K", "name": "n"}),
        );
        check("io.k8s.api.core.v1.LocalObjectReference", json!({"name": ""}), json!({}));
        check("io.k8s.api.core.v1.ContainerPort", json!({"containerPort": 1, "protocol": ""}), {
            json!({"containerPort": 1, "protocol": "TCP"})
        });
        check("io.k8s.api.core.v1.Container", json!({"name": "c", "restartPolicy": ""}), {
            json!({"name": "c", "resources": {}, "restartPolicy": ""})
        });
    }
}
