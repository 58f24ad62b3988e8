//! Objects that a command works on one by one: named by words, or by manifests.

use anyhow::Result;

use crate::{
    api,
    failure::UsageError,
    manifest::{self, FileArgs, Manifest},
    resource::{self, Kind},
    session::Session,
};

/// An object by name.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its kind.
    pub(super) kind: &'static Kind,
    /// Empty for cluster-scoped kinds or the namespace in effect.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

impl Target {
    /// Where the object is.
    pub(super) fn path(&self) -> String {
        api::object(self.kind, &self.namespace, &self.name)
    }

    /// Where a subresource of the object is, or the object itself.
    pub(super) fn path_of(&self, subresource: Option<&str>) -> String {
        match subresource {
            Some(subresource) => format!("{}/{subresource}", self.path()),
            None => self.path(),
        }
    }

    /// The object as `pod/x`.
    pub(super) fn reference(&self) -> String {
        resource::reference(self.kind, &self.name)
    }
}

impl From<Manifest> for Target {
    fn from(manifest: Manifest) -> Self {
        Self { kind: manifest.kind, namespace: manifest.namespace, name: manifest.name }
    }
}

/// The objects that words or manifests name; a manifest of a kind that is not served is an error of its own.
///
/// # Errors
/// [`UsageError`] when they name none, or a type without a name; else as [`manifest::read`].
pub(super) async fn named(
    words: &[String],
    files: &FileArgs,
    session: &Session,
) -> Result<Vec<Result<Target>>> {
    if !files.filenames.is_empty() {
        if !words.is_empty() {
            return Err(UsageError("name either objects or files, not both".to_owned()).into());
        }
        let manifests = manifest::read(files, session).await?;
        return Ok(manifests.into_iter().map(|manifest| manifest.map(Target::from)).collect());
    }
    let mut targets = Vec::new();
    for selection in resource::resolve(words, &session.api).await? {
        if selection.names.is_empty() {
            let plural = selection.kind.plural;
            return Err(UsageError(format!("which of the {plural}? Name one, or a file with -f")).into());
        }
        targets.extend(
            selection
                .names
                .into_iter()
                .map(|name| Ok(Target { kind: selection.kind, namespace: session.namespace.clone(), name })),
        );
    }
    Ok(targets)
}
