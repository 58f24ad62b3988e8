//! How many values a document may have, whatever its notation.

/// How much of a document there is so far. Two bytes can be an object that takes hundreds to hold, so that the size of a document
/// alone bounds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    values: usize,
    objects: usize,
}

impl Counts {
    /// Counts a value of any kind.
    pub(crate) fn value(&mut self) -> Result<(), TooMany> {
        self.values += 1;
        if self.values > VALUES_LIMIT { Err(TooMany::Values) } else { Ok(()) }
    }

    /// Counts an object, which is counted as a value too.
    pub(crate) fn object(&mut self) -> Result<(), TooMany> {
        self.objects += 1;
        if self.objects > OBJECTS_LIMIT { Err(TooMany::Objects) } else { Ok(()) }
    }
}

/// More of something than any document needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// More than [`VALUES_LIMIT`].
    #[error("document has more than {VALUES_LIMIT} values")]
    Values,
    /// More than [`OBJECTS_LIMIT`].
    #[error("document has more than {OBJECTS_LIMIT} objects")]
    Objects,
}

/// As many as a body of this size can hold when each has three bytes.
pub const VALUES_LIMIT: usize = 1 << 20;

/// With its fields and defaults an object takes from half to several kilobytes; this many are a few hundred megabytes, and far more
/// than any real document has.
pub const OBJECTS_LIMIT: usize = 1 << 16;
