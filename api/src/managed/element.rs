//! One step of a path into an object: a field, or an element of a list by its keys, its value or its position.

use std::{cmp::Ordering, fmt};

use serde_json::{Map, Number, Value};

/// One step of a path. The order is Kubernetes': fields, keys, values, positions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of a struct or an entry of a map: `f:name`.
    Field(String),
    /// The element of a list that has these values in its key fields, sorted by name: `k:{"name":"a"}`.
    Key(Vec<(String, Literal)>),
    /// An element of a set, by itself: `v:"a"`.
    Value(Literal),
    /// An element of a list by its position: `i:3`.
    Index(u64),
}

/// A JSON value with a total order: numbers before strings, booleans, lists, maps and null. A whole number equals itself with a
/// fraction of zero.
#[derive(Clone, Debug)]
pub struct Literal(pub Value);

/// A key of `FieldsV1` that no step is written as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path element")]
pub struct MalformedElement(String);

impl Element {
    /// Reads a key of `FieldsV1`; `None` for a kind of step that only a newer server knows.
    ///
    /// # Errors
    ///
    /// When it is of a known kind but malformed.
    pub fn parse(text: &str) -> Result<Option<Self>, MalformedElement> {
        let malformed = || MalformedElement(text.to_owned());
        let (kind, rest) = text.split_once(':').filter(|(kind, _)| kind.len() == 1).ok_or_else(malformed)?;
        Ok(Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(|_| malformed())?;
                Self::Key(keys.into_iter().map(|(name, value)| (name, Literal(value))).collect())
            }
            "v" => Self::Value(Literal(serde_json::from_str(rest).map_err(|_| malformed())?)),
            "i" => Self::Index(rest.parse().map_err(|_| malformed())?),
            _ => return Ok(None),
        }))
    }

    /// The key of `FieldsV1` that this step is written as.
    pub fn to_key(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let keys =
                    keys.iter().map(|(name, value)| format!("{}:{value}", Literal(name.as_str().into())));
                format!("k:{{{}}}", keys.collect::<Vec<_>>().join(","))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(position) => format!("i:{position}"),
        }
    }
}

/// As in messages: `.name`, `[name="a"]`, `[="a"]`, `[3]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{name}={}", value.0)).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(position) => write!(f, "[{position}]"),
        }
    }
}

/// As in keys of `FieldsV1`, where Go's JSON leaves no character that HTML knows.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.0.to_string();
        if !json.contains(['<', '>', '&']) {
            return f.write_str(&json);
        }
        // Outside of strings JSON has none of the three.
        f.write_str(&json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let differing = left.iter().zip(right).map(|(left, right)| compare(left, right));
            differing.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            let differing = left.iter().zip(right).map(|((left_key, left), (right_key, right))| {
                left_key.cmp(right_key).then_with(|| compare(left, right))
            });
            differing.into_iter().find(|order| order.is_ne()).unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => {
            let float = |number: &Number| number.as_f64().unwrap_or_default();
            float(left).total_cmp(&float(right))
        }
    }
}

const fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(key: &str, shown: &str) {
        let element = Element::parse(key).unwrap().unwrap();
        assert_eq!(element.to_key(), key);
        assert_eq!(element.to_string(), shown);
    }

    #[test]
    fn steps_are_written_as_kubernetes_writes_them() {
        check("f:spec", ".spec");
        check("f:", ".");
        check("f:kubectl.kubernetes.io/last:applied", ".kubectl.kubernetes.io/last:applied");
        check(r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#);
        check(r#"v:"a.b/1""#, r#"[="a.b/1"]"#);
        check("v:1.5", "[=1.5]");
        check("v:true", "[=true]");
        check("i:3", "[3]");
        check(r#"v:"\u003ca\u003e\u0026""#, r#"[="<a>&"]"#);
        let keys = Element::parse(r#"k:{ "b": 1, "a": "x" }"#).unwrap().unwrap();
        assert_eq!(keys.to_key(), r#"k:{"a":"x","b":1}"#);
    }

    #[test]
    fn what_is_no_step_is_refused_and_what_is_newer_skipped() {
        for malformed in
            ["", "f", "spec", "ff:a", "k:[1]", "k:{", "v:", "v:a", "i:x", "i:-1", "i:99999999999999999999"]
        {
            assert!(Element::parse(malformed).is_err(), "{malformed}");
        }
        assert_eq!(Element::parse("z:anything"), Ok(None));
    }

    #[test]
    fn literals_have_one_order() {
        let sorted = [
            json!(-1),
            json!(0.5),
            json!(1),
            json!(2),
            json!(10),
            json!(u64::MAX),
            json!(""),
            json!("10"),
            json!("2"),
            json!(false),
            json!(true),
            json!([]),
            json!([1]),
            json!([1, 2]),
            json!([2]),
            json!({}),
            json!({"a": 1}),
            json!({"a": 2}),
            json!(null),
        ];
        for (left_position, left) in sorted.iter().enumerate() {
            for (right_position, right) in sorted.iter().enumerate() {
                let order = Literal(left.clone()).cmp(&Literal(right.clone()));
                assert_eq!(order, left_position.cmp(&right_position), "{left} {right}");
            }
        }
        assert_eq!(Literal(json!(1)), Literal(json!(1.0)));
    }
}
