//! Label and field selectors: parsing with Kubernetes' messages, and matching.

use std::fmt;

mod fields;
mod labels;

pub use fields::FieldSelector;
pub use labels::LabelSelector;

/// Why a selector does not parse; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

impl SelectorError {
    fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl From<SelectorError> for crate::Status {
    fn from(error: SelectorError) -> Self {
        Self::bad_request(error.0)
    }
}

#[cfg(test)]
mod laws;
