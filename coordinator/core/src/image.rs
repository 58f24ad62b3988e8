//! What an image reference asks of the coordinator's own registry.

use std::fmt;

use dunlin_link::{
    Digest,
    reference::{LOCAL_REGISTRY, ParseReferenceError, Reference, is_registry},
};

/// A name in the coordinator's own registry: repository and tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName {
    repository: String,
    tag: String,
}

/// What is wrong with a name to push to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNameError {
    /// It is no reference.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// It is in another registry.
    #[error("modules can be pushed to `dunlin.local` only")]
    NotLocal,
    /// It has a digest.
    #[error("a name to push to cannot have a digest")]
    HasDigest,
}

/// What a reference asks of the coordinator's own registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A digest: a module's, or that of a manifest in its repository.
    Digest {
        /// The digest.
        digest: Digest,
        /// Repository and digest, as `dunlin.local/REPOSITORY@sha256:...`: how a manifest is recorded.
        pinned: String,
    },
    /// What this name means now.
    Name(ModuleName),
}

/// Why an image reference does not lead to a module, in words for the user who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is not a reference at all.
    #[error("invalid image reference `{reference}`")]
    Malformed {
        /// As given.
        reference: String,
        /// What is wrong.
        source: ParseReferenceError,
    },
    /// It names a registry other than the coordinator's own. Nodes pull from those by themselves.
    #[error(
        "image `{reference}` is in registry `{registry}`, from which only the nodes pull, and this one is of a release that does not; \
         push the module with `dunlin push` and name it `dunlin.local/NAME`"
    )]
    OtherRegistry {
        /// As given.
        reference: String,
        /// Where it would be.
        registry: String,
    },
    /// Nothing was pushed under this name.
    #[error("nothing was pushed as `{name}`")]
    Unknown {
        /// The full name.
        name: ModuleName,
    },
}

impl Wanted {
    /// What `reference` asks for: `dunlin.local/NAME`, `:TAG` (`latest` when absent) or `@sha256:...`, which wins over a tag.
    ///
    /// # Errors
    /// When it is no reference, or one to another registry.
    pub fn parse(reference: &str) -> Result<Self, NameError> {
        let parsed: Reference = reference
            .parse()
            .map_err(|source| NameError::Malformed { reference: reference.to_owned(), source })?;
        if !parsed.is_local() {
            let reference = reference.to_owned();
            return Err(NameError::OtherRegistry { reference, registry: parsed.registry });
        }
        Ok(match parsed.digest {
            Some(digest) => Self::Digest { digest, pinned: pinned_name(&parsed.repository, digest) },
            None => Self::Name(ModuleName::from(parsed)),
        })
    }
}

/// The name of a manifest that is named by its digest, with which the record of its module has the key that a name would have.
pub fn pinned_name(repository: &str, digest: Digest) -> String {
    format!("{LOCAL_REGISTRY}/{repository}@{digest}")
}

impl ModuleName {
    /// The name of a repository and a tag, which the caller has checked.
    pub fn of(repository: &str, tag: &str) -> Self {
        Self { repository: repository.to_owned(), tag: tag.to_owned() }
    }

    /// Its repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Its tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// A name to push to, as a person writes it: `NAME[:TAG]`, with or without `dunlin.local/`.
    ///
    /// # Errors
    /// When it breaks the grammar, is in another registry, or has a digest.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let is_full = text.split_once('/').is_some_and(|(first, _)| is_registry(first));
        let full = if is_full { text.to_owned() } else { format!("{LOCAL_REGISTRY}/{text}") };
        let reference: Reference = full.parse()?;
        if !reference.is_local() {
            return Err(ParseNameError::NotLocal);
        }
        if reference.digest.is_some() {
            return Err(ParseNameError::HasDigest);
        }
        Ok(Self::from(reference))
    }
}

impl From<Reference> for ModuleName {
    /// The reference's repository and tag; the caller knows that its registry is ours.
    fn from(reference: Reference) -> Self {
        Self { tag: reference.tag_or_latest().to_owned(), repository: reference.repository }
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LOCAL_REGISTRY}/{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_to_push_to_are_local() {
        let name = |text: &str| ModuleName::parse(text).map(|name| name.to_string());
        assert_eq!(name("hello").as_deref(), Ok("dunlin.local/hello:latest"));
        assert_eq!(name("team/hello:2").as_deref(), Ok("dunlin.local/team/hello:2"));
        assert_eq!(name("dunlin.local/hello:2").as_deref(), Ok("dunlin.local/hello:2"));
        assert_eq!(name("ghcr.io/hello"), Err(ParseNameError::NotLocal));
        assert_eq!(name(&format!("hello@{DIGEST}")), Err(ParseNameError::HasDigest));
        assert_eq!(name("hello:"), Err(ParseReferenceError::Tag.into()));
    }
}
