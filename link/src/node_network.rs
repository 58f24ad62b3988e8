//! Whether pods that are to have a network of their own get one on a node. Since version 7.
//!
//! It is told when a session opens, once the node knows, and when it changes.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// What a node says of the network that it makes for pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeNetwork {
    /// They get one.
    Works {
        /// What of it does not work, for a person; empty when all does.
        limits: String,
    },
    /// They get none.
    Lacks {
        /// Why, for a person.
        message: String,
    },
}

impl NodeNetwork {
    /// The same with texts of a length that people read.
    #[must_use]
    pub fn shortened(self) -> Self {
        match self {
            Self::Works { limits } => Self::Works { limits: shortened(limits) },
            Self::Lacks { message } => Self::Lacks { message: shortened(message) },
        }
    }
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

impl Message for NodeNetwork {
    const KIND: Kind = Kind(0x0129);
}

/// Of each text; beyond it is cut off.
const TEXT_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        let limits = |limits: String| NodeNetwork::Works { limits };
        assert_eq!(limits("short".to_owned()).shortened(), limits("short".to_owned()));
        // Each has three bytes.
        assert_eq!(limits("\u{20ac}".repeat(700)).shortened(), limits("\u{20ac}".repeat(682)));
    }
}
