//! Definitions as protobuf sees them: fields by number, and how Go holds each, which decides whether a zero is written.

use super::{Definition, Encoding, Field, Shape, Type};

/// One field of a protobuf message.
#[derive(Debug)]
pub(crate) struct WireField {
    /// Its number.
    pub(crate) number: u32,
    /// Name in JSON.
    pub(crate) name: &'static str,
    /// Type in protobuf.
    pub(crate) ty: Type,
    /// Where its value is in JSON.
    pub(crate) place: Place,
    /// Whether its zero is written when it is not set, as far as the message itself tells.
    pub(crate) writes_zero: bool,
}

/// Where the value of a protobuf field is in JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// At this field.
    Field(&'static Field),
    /// Its fields are among those of the object itself.
    Inlined(&'static Definition),
    /// At a field of the object that inlines this message.
    Outer,
}

/// The fields of a definition's message, sorted by number.
pub(super) fn fields(definition: &'static Definition) -> Box<[WireField]> {
    let own = definition.fields.iter().filter(|field| field.number > 0).map(|field| WireField {
        number: field.number.into(),
        name: field.name,
        ty: field.protobuf_type(),
        place: Place::Field(field),
        writes_zero: field.is_held_by_value(),
    });
    let bare = definition.protobuf_only.iter().map(|field| WireField {
        number: field.number.into(),
        name: field.name,
        ty: field.ty,
        place: match field.ty.definition() {
            Some(inlined) if definition.encoding == Encoding::Struct => Place::Inlined(inlined),
            _ => Place::Outer,
        },
        writes_zero: false,
    });
    let mut fields: Vec<WireField> = own.chain(bare).collect();
    fields.sort_by_key(|field| field.number);
    fields.into()
}

impl Definition {
    /// The field of this number.
    pub(crate) fn wire_field(&'static self, number: u32) -> Option<&'static WireField> {
        let fields = self.wire_fields();
        let position = fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some(&fields[position])
    }

    /// The element type of a message that stands for a list, because protobuf has no maps of lists.
    pub(crate) fn listed(&self) -> Option<Type> {
        match &*self.protobuf_only {
            [only] if self.encoding == Encoding::Message && only.name == "items" => match only.ty.shape() {
                Shape::List(element) => Some(element),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Field {
    /// Whether Go holds the field by value, so that its zero is written when it is not set.
    pub(crate) fn is_held_by_value(&self) -> bool {
        match self.protobuf_type().shape() {
            Shape::List(_) | Shape::Map(_) | Shape::Any | Shape::Bytes => false,
            Shape::String | Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Double => {
                self.drops_zero || self.has_default() && !self.is_pointer_with_default()
            }
            Shape::Named(definition) => match definition.encoding {
                Encoding::Struct | Encoding::Message => self.has_default(),
                Encoding::Quantity | Encoding::IntOrString => {
                    self.unset().is_some_and(|unset| !unset.is_null())
                }
                Encoding::Time | Encoding::MicroTime | Encoding::Any => {
                    self.drops_zero || self.unset().is_some()
                }
            },
        }
    }
}
