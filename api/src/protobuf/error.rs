//! Why bytes are no object in protobuf, in the words of Kubernetes' decoders where those have some.

/// Why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// There is nothing.
    #[error("empty data")]
    Empty,
    /// It does not begin as objects in protobuf do.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// It begins so, and ends.
    #[error("empty body")]
    EmptyBody,
    /// The envelope around the object is broken.
    #[error("{0}")]
    Envelope(Malformed),
    /// The object in the envelope is compressed, or no protobuf.
    #[error("content {0:?} in a protobuf envelope is not supported")]
    Content(String),
    /// Nothing says what the object is.
    #[error("Object 'Kind' is missing in the protobuf envelope")]
    NoKind,
    /// No type of this name is known.
    #[error(
        "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )]
    UnknownKind {
        /// As the envelope says.
        api_version: String,
        /// As the envelope says.
        kind: String,
    },
    /// The object is broken.
    #[error("{malformed}")]
    Object {
        /// As the envelope says.
        api_version: String,
        /// As the envelope says.
        kind: String,
        /// What is wrong.
        malformed: Malformed,
    },
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends in the middle of something.
    #[error("unexpected EOF")]
    CutOff,
    /// A varint has more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field number is none.
    #[error("proto: illegal tag {number} (wire type {wire_type})")]
    Tag {
        /// The number.
        number: u64,
        /// The lowest three bits.
        wire_type: u8,
    },
    /// There is no such wire type.
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    /// A group ends that has not begun.
    #[error("proto: unexpected end of group")]
    EndOfGroup,
    /// A field is not of its type.
    #[error("proto: wrong wireType = {found} for field {field}")]
    Field {
        /// Its name.
        field: &'static str,
        /// The wire type that it has.
        found: u8,
    },
    /// Text is no UTF-8.
    #[error("field {0} is not valid UTF-8")]
    Text(&'static str),
    /// A value cannot be one of its type.
    #[error("field {field}: {problem}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Messages in messages in messages.
    #[error("exceeded max depth")]
    TooDeep,
    /// More values than any object has.
    #[error("{0}")]
    TooMany(#[from] crate::decode::TooMany),
}

/// Why a value cannot be written as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Kubernetes has no protobuf for it.
    #[error("{kind} of {api_version} has no protobuf")]
    NoMessage {
        /// As the object says.
        api_version: String,
        /// As the object says.
        kind: String,
    },
    /// A field is not of its type.
    #[error("field {field} does not hold {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// It does not fit into a frame.
    #[error("object does not fit into one frame")]
    TooLong,
}

impl EncodeError {
    pub(super) const fn field(field: &'static str, expected: &'static str) -> Self {
        Self::Field { field, expected }
    }
}
