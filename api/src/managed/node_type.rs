//! What a field is to those who own fields: one value, or something whose parts have owners of their own.

use serde_json::Value;

use super::element::{Element, Literal};
use crate::schema::{Definition, Encoding, Field, ListType, Shape, Type};

/// What a value of a type is made of, as far as its parts are owned one by one.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeType {
    /// Nothing: it is owned as a whole.
    Leaf,
    /// Fields.
    Struct(&'static Definition),
    /// Entries of this type.
    Map(Type),
    /// Scalars, each at most once.
    Set,
    /// Structs that are told apart by key fields.
    Keyed(Keyed),
}

/// A list whose elements are told apart by key fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed {
    /// Says which are the keys.
    list: &'static Field,
    /// Type of the elements.
    pub(super) element: &'static Definition,
}

/// Why an element of a list cannot be told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("associative list with keys may not have a null element")]
    NullElement,
    #[error("associative list with keys may not have non-map elements")]
    NoMap,
    #[error(
        "associative list with keys has an element that omits key field {0:?} (and doesn't have default value)"
    )]
    NoKey(&'static str),
    #[error("associative list without keys has an element that's an explicit null")]
    NullValue,
    #[error("associative list without keys has an element that's a map type")]
    MapValue,
    #[error("not supported: associative list with lists as elements")]
    ListValue,
}

impl NodeType {
    /// Of an object of this definition.
    pub(super) fn of_definition(definition: &'static Definition) -> Self {
        match definition.encoding {
            Encoding::Struct if !definition.atomic => Self::Struct(definition),
            _ => Self::Leaf,
        }
    }

    /// Of a field.
    pub(super) fn of_field(field: &'static Field) -> Self {
        match field.ty.shape() {
            Shape::List(element) => Self::of_list(field, element),
            Shape::Map(_) | Shape::Named(_) if field.atomic_map => Self::Leaf,
            _ => Self::of_type(field.ty),
        }
    }

    /// Of an entry of a map, or an element of a list, of this type.
    pub(super) fn of_type(ty: Type) -> Self {
        match ty.shape() {
            Shape::Map(entry) => Self::Map(entry),
            Shape::Named(definition) => Self::of_definition(definition),
            // Only a field says how the elements of its list are told apart.
            _ => Self::Leaf,
        }
    }

    fn of_list(field: &'static Field, element: Type) -> Self {
        match (field.list, element.definition()) {
            (Some(ListType::Set), _) => Self::Set,
            (Some(ListType::Map), Some(element)) => Self::Keyed(Keyed { list: field, element }),
            _ => Self::Leaf,
        }
    }

    /// The type of what `element` leads to; `None` when this type has nothing there.
    pub(super) fn at(self, element: &Element) -> Option<Self> {
        match (self, element) {
            (Self::Struct(definition), Element::Field(name)) => definition.field(name).map(Self::of_field),
            (Self::Map(entry), Element::Field(_)) => Some(Self::of_type(entry)),
            (Self::Set, Element::Value(_)) => Some(Self::Leaf),
            (Self::Keyed(keyed), Element::Key(_)) => Some(Self::of_definition(keyed.element)),
            _ => None,
        }
    }

    /// The step that leads to an element of a list of this type.
    pub(super) fn element_of(self, value: &Value) -> Result<Element, KeyError> {
        match self {
            Self::Keyed(keyed) => keyed.element_of(value),
            _ => match value {
                Value::Null => Err(KeyError::NullValue),
                Value::Object(_) => Err(KeyError::MapValue),
                Value::Array(_) => Err(KeyError::ListValue),
                scalar => Ok(Element::Value(Literal(scalar.clone()))),
            },
        }
    }
}

impl Keyed {
    fn element_of(self, value: &Value) -> Result<Element, KeyError> {
        let object = match value {
            Value::Null => return Err(KeyError::NullElement),
            value => value.as_object().ok_or(KeyError::NoMap)?,
        };
        let mut keys = Vec::new();
        for name in self.list.map_keys() {
            let default =
                || self.element.field(name).and_then(Field::default).filter(|value| !value.is_null());
            let value = object.get(name).cloned().or_else(default).ok_or(KeyError::NoKey(name))?;
            keys.push((name.to_owned(), Literal(value)));
        }
        keys.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Element::Key(keys))
    }
}
