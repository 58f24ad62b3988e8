//! Whether a node runs Linux containers, and if not, what it lacks. Told in an extension of `Hello`, since version 6.

use serde::{Deserialize, Serialize};

use crate::{codec, message::Extension};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerSupport {
    /// It runs them.
    Runs {
        /// The OCI runtime: `crun`, `runc` or `youki`.
        runtime: String,
        /// Its version.
        version: String,
        /// Whether `recursiveReadOnly` of mounts can be honoured.
        recursive_read_only: bool,
    },
    /// It does not.
    Lacks {
        /// Why, in one word of a condition.
        reason: String,
        /// Why, and what to change, for a person.
        message: String,
    },
}

impl ContainerSupport {
    /// As it travels.
    pub fn to_extension(&self) -> Extension {
        Extension { tag: CONTAINERS_TAG, bytes: codec::encode(self) }
    }

    /// Finds it among extensions. What cannot be read, or is longer than people read, is as good as not told.
    pub fn find(extensions: &[Extension]) -> Option<Self> {
        let extension = extensions.iter().find(|extension| extension.tag == CONTAINERS_TAG)?;
        (extension.bytes.len() <= TOLD_BYTES_MAX).then(|| codec::decode(&extension.bytes).ok())?
    }
}

/// Tag of the extension of `Hello`.
pub const CONTAINERS_TAG: u16 = 3;

/// Encoded bytes that are believed.
const TOLD_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_found_and_what_is_too_long_is_not() {
        let lacks =
            |bytes| ContainerSupport::Lacks { reason: "NoRuntime".into(), message: "m".repeat(bytes) };
        let found = |support: &ContainerSupport| ContainerSupport::find(&[support.to_extension()]);
        assert_eq!(found(&lacks(100)), Some(lacks(100)));
        assert_eq!(found(&lacks(5000)), None);
        let runs = ContainerSupport::Runs {
            runtime: "crun".into(),
            version: "1.8.1".into(),
            recursive_read_only: true,
        };
        assert_eq!(found(&runs), Some(runs));
        assert_eq!(ContainerSupport::find(&[Extension { tag: CONTAINERS_TAG, bytes: vec![9] }]), None);
        assert_eq!(ContainerSupport::find(&[]), None);
    }
}
