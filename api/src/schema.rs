//! The schema table: what Kubernetes' own types look like, for every walker over JSON values.
//!
//! The table is text made by `cargo xtask schema` and embedded as it is. Only an index of definition names is built at first
//! use; a definition's fields are parsed when something first looks at them and borrow from the text.
//!
//! Format, one line each: `@NAME LETTER [ma] [m=MESSAGE] [g=GROUP/VERSION/KIND].. [u=UNIONS]` opens a definition (`o` struct,
//! `q` quantity, `t` time, `u` micro time, `x` int or string, `a` any JSON, `p` protobuf message without JSON of its own); then
//! `FIELD NUMBER TYPE ATTRIBUTES` for its fields and `~FIELD NUMBER TYPE` for fields that exist in protobuf only. A type is `[`
//! and an element type, `{` and a value type, `#N` for the N-th definition, or a letter (`s` string, `b` boolean, `i` int32,
//! `l` int64, `f` double, `y` base64 bytes, `a` any). Attributes: `!` required, `z` left out when zero, `*` zero and unset differ in
//! spite of a default, `la` `lm` `ls` list type (atomic, map, set), `ma` `mg` map type (atomic, granular), `k=` list map keys, `ps=`
//! patch strategy, `pk=` patch merge key, `p=` protobuf type where it differs, `n=` protobuf name where it differs, `0=` what is
//! encoded when the field is not set, apart from its default, as JSON; then, as they may hold spaces, `e=` allowed values and `d=`
//! default as JSON.

use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

mod kinds;
pub(crate) mod wire;

pub use kinds::{GroupVersionKind, by_group_version_kind};

use wire::WireField;

/// One type: a struct with fields, or one with an encoding of its own.
#[derive(Debug)]
pub struct Definition {
    /// Full name, for instance `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// How its values look in JSON.
    pub encoding: Encoding,
    /// Whether merges treat it as one value.
    pub atomic: bool,
    header: &'static str,
    fields: Box<[Field]>,
    protobuf_only: Box<[Field]>,
    wire: OnceLock<Box<[WireField]>>,
}

/// How values of a definition look in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// An object with known fields.
    Struct,
    /// A quantity such as `500m`.
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A 32-bit integer or a string.
    IntOrString,
    /// Any JSON value.
    Any,
    /// Never in JSON: a protobuf message that JSON inlines.
    Message,
}

/// One field of a definition.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON (in protobuf for protobuf-only fields).
    pub name: &'static str,
    /// Protobuf field number; 0 when the field is not in protobuf by itself.
    pub number: u16,
    /// Type in JSON.
    pub ty: Type,
    /// The schema names the field as required.
    pub required: bool,
    /// Kubernetes leaves the field out when it is zero or empty.
    pub drops_zero: bool,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    /// `x-kubernetes-map-type: granular`, which is said of few and true of all others.
    pub granular_map: bool,
    /// `x-kubernetes-list-type`.
    pub list: Option<ListType>,
    default: Option<&'static str>,
    unset: Option<&'static str>,
    allowed: Option<&'static str>,
    attributes: &'static str,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// One value, replaced as a whole.
    Atomic,
    /// Elements with keys.
    Map,
    /// Distinct scalars.
    Set,
}

/// A type as the table spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type(&'static str);

/// What a [`Type`] is.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A string.
    String,
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A number.
    Double,
    /// A string of base64.
    Bytes,
    /// Anything.
    Any,
    /// A list of this.
    List(Type),
    /// A map from strings to this.
    Map(Type),
    /// A definition.
    Named(&'static Definition),
}

/// The definition of this full name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    let position = TABLE.entries.binary_search_by(|entry| entry.name.cmp(name)).ok()?;
    Some(TABLE.get(position))
}

impl Definition {
    /// The field of this JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let position = self.fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
        Some(&self.fields[position])
    }

    /// All fields in JSON, sorted by name.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Fields that exist in protobuf only: inlined structs and encodings of their own.
    pub fn protobuf_fields(&self) -> &[Field] {
        &self.protobuf_only
    }

    /// All fields of the protobuf message, sorted by number.
    pub(crate) fn wire_fields(&'static self) -> &'static [WireField] {
        self.wire.get_or_init(|| wire::fields(self))
    }

    /// Full protobuf message name.
    pub fn message(&self) -> String {
        match attribute(self.header, "m=") {
            Some(name) => name.to_owned(),
            None => self.name.replacen("io.k8s.", "k8s.io.", 1),
        }
    }

    /// The last part of the name, for instance `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// The type as Go spells it, for instance `v1.PodSpec`.
    pub fn go_name(&self) -> String {
        let mut parts = self.name.rsplit('.');
        let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{package}.{name}")
    }
}

impl Field {
    /// The schema's default.
    pub fn default(&self) -> Option<Value> {
        self.default.map(|text| {
            serde_json::from_str(text).expect("the table holds JSON; a test parses every default")
        })
    }

    /// What Kubernetes encodes when the field is not set: its default, or null (or zero) where its type has no way to leave it out.
    pub fn when_unset(&self) -> Option<Value> {
        self.default().or_else(|| self.unset())
    }

    /// What Kubernetes encodes when the field is not set, apart from its default; `None` where it leaves the field out.
    pub(crate) fn unset(&self) -> Option<Value> {
        self.unset.map(|text| {
            serde_json::from_str(text).expect("the table holds JSON; a test parses every such value")
        })
    }

    /// Whether the schema has a default, which needs no parsing to know.
    pub(crate) fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Whether zero and unset differ in spite of a default.
    pub(crate) fn is_pointer_with_default(&self) -> bool {
        self.attributes.split(' ').any(|part| part == "*")
    }

    /// Keys of a list of type map, in order.
    pub fn map_keys(&self) -> impl Iterator<Item = &'static str> {
        attribute(self.attributes, "k=").into_iter().flat_map(|keys| keys.split(','))
    }

    /// `x-kubernetes-patch-strategy`, for instance `merge` or `merge,retainKeys`.
    pub fn patch_strategy(&self) -> Option<&'static str> {
        attribute(self.attributes, "ps=")
    }

    /// `x-kubernetes-patch-merge-key`.
    pub fn patch_merge_key(&self) -> Option<&'static str> {
        attribute(self.attributes, "pk=")
    }

    /// Values that the schema allows, for a list or map its elements; empty when any is.
    pub fn allowed(&self) -> impl Iterator<Item = &'static str> {
        self.allowed.into_iter().flat_map(|values| values.split(','))
    }

    /// Type in protobuf.
    pub fn protobuf_type(&self) -> Type {
        attribute(self.attributes, "p=").map_or(self.ty, Type)
    }

    /// Name in the protobuf message.
    pub fn protobuf_name(&self) -> &'static str {
        attribute(self.attributes, "n=").unwrap_or(self.name)
    }
}

impl Type {
    /// What this type is.
    pub fn shape(self) -> Shape {
        let (first, rest) = self.0.split_at(1.min(self.0.len()));
        match first {
            "s" => Shape::String,
            "b" => Shape::Bool,
            "i" => Shape::Int32,
            "l" => Shape::Int64,
            "f" => Shape::Double,
            "y" => Shape::Bytes,
            "[" => Shape::List(Self(rest)),
            "{" => Shape::Map(Self(rest)),
            "#" => rest.parse().map_or(Shape::Any, |position| Shape::Named(TABLE.get(position))),
            _ => Shape::Any,
        }
    }

    /// The definition this type names, if it names one.
    pub fn definition(self) -> Option<&'static Definition> {
        match self.shape() {
            Shape::Named(definition) => Some(definition),
            _ => None,
        }
    }

    /// The type as Go spells it in decoding errors, for instance `[]v1.Container` or `map[string]string`.
    pub fn go_name(self) -> String {
        match self.shape() {
            Shape::String => "string".to_owned(),
            Shape::Bool => "bool".to_owned(),
            Shape::Int32 => "int32".to_owned(),
            Shape::Int64 => "int64".to_owned(),
            Shape::Double => "float64".to_owned(),
            Shape::Bytes => "[]uint8".to_owned(),
            Shape::Any => "interface {}".to_owned(),
            Shape::List(element) => format!("[]{}", element.go_name()),
            Shape::Map(value) => match value.definition() {
                Some(definition) if definition.encoding == Encoding::Quantity => "v1.ResourceList".to_owned(),
                _ => format!("map[string]{}", value.go_name()),
            },
            Shape::Named(definition) => definition.go_name(),
        }
    }
}

/// The embedded text with an index; definitions are parsed when first looked at.
struct Table {
    entries: Box<[Entry]>,
}

struct Entry {
    name: &'static str,
    /// From the definition's own line to the next definition.
    text: &'static str,
    parsed: OnceLock<Definition>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::index);

impl Table {
    fn index() -> Self {
        let entry = |text: &'static str| Entry {
            name: text.split_once(' ').map_or(text, |(name, _)| name),
            text,
            parsed: OnceLock::new(),
        };
        // Every definition starts with `@`, which occurs in no field name, attribute or default.
        Self { entries: include_str!("schema/table.txt").split('@').skip(1).map(entry).collect() }
    }

    fn get(&self, position: usize) -> &Definition {
        let entry = &self.entries[position];
        entry.parsed.get_or_init(|| parse_definition(entry.name, entry.text))
    }
}

fn parse_definition(name: &'static str, text: &'static str) -> Definition {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split_once(' ').map_or("", |(_, rest)| rest);
    let (own, protobuf_only): (Vec<_>, Vec<_>) = lines.partition(|line| !line.starts_with('~'));
    Definition {
        name,
        encoding: match header.split(' ').next() {
            Some("o") => Encoding::Struct,
            Some("q") => Encoding::Quantity,
            Some("t") => Encoding::Time,
            Some("u") => Encoding::MicroTime,
            Some("x") => Encoding::IntOrString,
            Some("p") => Encoding::Message,
            _ => Encoding::Any,
        },
        atomic: header.split(' ').any(|part| part == "ma"),
        header,
        fields: own.into_iter().map(parse_field).collect(),
        protobuf_only: protobuf_only.into_iter().map(|line| parse_field(&line[1..])).collect(),
        wire: OnceLock::new(),
    }
}

fn parse_field(line: &'static str) -> Field {
    let (line, default) = match line.split_once(" d=") {
        Some((line, default)) => (line, Some(default)),
        None => (line, None),
    };
    let (line, allowed) = match line.split_once(" e=") {
        Some((line, allowed)) => (line, Some(allowed)),
        None => (line, None),
    };
    let mut parts = line.splitn(4, ' ');
    let name = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let ty = Type(parts.next().unwrap_or_default());
    let attributes = parts.next().unwrap_or_default();
    let has = |tag| attributes.split(' ').any(|part| part == tag);
    let list = [("la", ListType::Atomic), ("lm", ListType::Map), ("ls", ListType::Set)];
    Field {
        name,
        number,
        ty,
        required: has("!"),
        drops_zero: has("z"),
        atomic_map: has("ma"),
        granular_map: has("mg"),
        list: list.into_iter().find_map(|(tag, list)| has(tag).then_some(list)),
        default,
        unset: attribute(attributes, "0="),
        allowed,
        attributes,
    }
}

fn attribute(attributes: &'static str, tag: &str) -> Option<&'static str> {
    attributes.split(' ').find_map(|part| part.strip_prefix(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_parses() {
        let mut fields = 0;
        for name in TABLE.entries.iter().map(|entry| entry.name) {
            let definition = definition(name).expect("names are sorted");
            for field in definition.fields().iter().chain(definition.protobuf_fields()) {
                assert!(!field.ty.0.is_empty(), "{name}.{}", field.name);
                field.ty.go_name();
                field.when_unset();
                fields += 1;
            }
        }
        assert!(fields > 2_400, "{fields}");
    }

    #[test]
    fn fields_carry_their_attributes() {
        let container = definition("io.k8s.api.core.v1.Container").unwrap();
        let ports = container.field("ports").unwrap();
        assert_eq!(ports.map_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
        assert_eq!((ports.patch_strategy(), ports.patch_merge_key()), (Some("merge"), Some("containerPort")));
        assert_eq!((ports.number, ports.list), (6, Some(ListType::Map)));
        assert_eq!(ports.ty.go_name(), "[]v1.ContainerPort");
        let policy = container.field("imagePullPolicy").unwrap();
        assert_eq!(policy.allowed().collect::<Vec<_>>(), ["Always", "IfNotPresent", "Never"]);
        assert_eq!(container.field("resources").unwrap().default(), Some(serde_json::json!({})));
        assert_eq!(container.message(), "k8s.io.api.core.v1.Container");
    }
}
