//! Whether and as what objects of a kind are stored.

use serde_json::Value;

use super::Kind;

/// Whether and as what objects of a kind are stored.
#[derive(Clone, Copy, Debug)]
pub enum Storage {
    /// As they are.
    Own,
    /// As objects of another kind, of which this one is another version.
    As(Conversion),
    /// Not at all: what is created is answered and forgotten, and what is read is made up when asked.
    None,
}

/// How a version of a kind becomes the one that is stored, and back. Converting forth and back loses nothing.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// The kind that is stored.
    pub stored: &'static Kind,
    /// From this kind; `kind` and `apiVersion` are set by the caller.
    pub(crate) to_stored: fn(&mut Value) -> Result<(), ConversionError>,
    /// To this kind; `kind` and `apiVersion` are set by the caller.
    pub(crate) from_stored: fn(&mut Value),
}

/// What in an object, that its schema does not know of, keeps it from becoming another version; the message is the one a Kubernetes
/// server gives.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConversionError(pub(crate) String);

impl Kind {
    /// The kind that this one's objects are stored as: itself, unless it is another version of one.
    pub fn stored_as(&'static self) -> &'static Self {
        match &self.storage {
            Storage::As(conversion) => conversion.stored,
            Storage::Own | Storage::None => self,
        }
    }

    /// Makes an object of this kind one of the kind that is stored.
    ///
    /// # Errors
    ///
    /// When the object holds what no object of the stored kind can be made of.
    pub fn to_stored(&self, object: &mut Value) -> Result<(), ConversionError> {
        if let Storage::As(conversion) = &self.storage {
            (conversion.to_stored)(object)?;
            name(conversion.stored, object);
        }
        Ok(())
    }

    /// Makes a stored object one of this kind.
    pub fn from_stored(&self, object: &mut Value) {
        if let Storage::As(conversion) = &self.storage {
            (conversion.from_stored)(object);
            name(self, object);
        }
    }
}

fn name(kind: &Kind, object: &mut Value) {
    crate::value::set(object, "apiVersion", kind.api_version());
    crate::value::set(object, "kind", kind.kind);
}
