//! Notes about fields: few enough to be read, and short, whatever a document is made of.

use std::fmt;

/// Where a value is. It borrows from where it is in, so that a long name costs nothing until it is shown.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    /// The whole document.
    Root,
    /// A field of what is there.
    Field(&'p Self, &'p str),
    /// An element of the list that is there.
    Element(&'p Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(shown(name)),
            Self::Field(parent, name) => write!(f, "{parent}.{}", shown(name)),
            Self::Element(parent, position) => write!(f, "{parent}[{position}]"),
        }
    }
}

/// Adds a note, while there are few enough to be read.
pub(crate) fn note(notes: &mut Vec<String>, kind: &str, path: impl fmt::Display) {
    if notes.len() < NOTES_LIMIT {
        notes.push(format!("{kind} field \"{path}\""));
    }
}

/// As much of a name or path as is shown.
pub(crate) fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES)]
}

/// More problems than anyone reads at once.
const NOTES_LIMIT: usize = 100;

/// Longer than any path in Kubernetes' own types.
const SHOWN_BYTES: usize = 512;
