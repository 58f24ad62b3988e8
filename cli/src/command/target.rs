//! Objects that a command works on one by one: named by words, or by manifests.

use anyhow::Result;
use serde_json::Value;

use crate::{
    api,
    document::{items, text},
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

/// An object that was read, by which it is changed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Where it is.
    pub(super) target: Target,
    /// As it was.
    pub(super) object: Value,
}

/// Which objects, beside those that are named.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ObjectArgs {
    #[command(flatten)]
    files: FileArgs,
    /// All objects of the type with these labels.
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,
}

impl ObjectArgs {
    /// Files alone, for a command whose `-l` means something else.
    pub(super) const fn of_files(files: FileArgs) -> Self {
        Self { files, selector: None }
    }
}

/// What a type without a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// All objects of the type in the namespace.
    All,
    /// A mistake.
    Refused,
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

/// Reads the objects that words, files or a selector mean; one that cannot be read is an error of its own.
///
/// # Errors
/// [`UsageError`] when they mean none, or a type without a name that needs one; else as [`manifest::read`].
pub(super) async fn found(
    words: &[String],
    args: &ObjectArgs,
    unnamed: Unnamed,
    session: &Session,
) -> Result<Vec<Result<Found>>> {
    let mut all = Vec::new();
    if words.is_empty() && args.files.filenames.is_empty() {
        return Err(UsageError("required resource not specified".to_owned()).into());
    }
    let whole_types =
        args.files.filenames.is_empty() && !words.iter().any(|word| word.contains('/')) && words.len() == 1;
    if !whole_types {
        if args.selector.is_some() {
            return Err(UsageError("names and selectors cannot be combined".to_owned()).into());
        }
        for target in named(words, &args.files, session).await? {
            all.push(match target {
                Ok(target) => read(target, session).await,
                Err(error) => Err(error),
            });
        }
        return Ok(all);
    }
    if unnamed == Unnamed::Refused && args.selector.is_none() {
        return Err(UsageError("resource(s) were provided, but no name was specified".to_owned()).into());
    }
    let query: Vec<(&str, &str)> =
        args.selector.as_deref().map(|selector| ("labelSelector", selector)).into_iter().collect();
    for selection in resource::resolve(words, &session.api).await? {
        let path = api::collection(selection.kind, Some(&session.namespace));
        let list = session.api.list(&path, &query).await?;
        all.extend(items(&list, &["items"]).iter().map(|object| {
            let mut object = object.clone();
            // Entries of a list do not say what they are.
            object["apiVersion"] = selection.kind.api_version().into();
            object["kind"] = selection.kind.kind.into();
            let target = Target {
                kind: selection.kind,
                namespace: text(&object, &["metadata", "namespace"]).to_owned(),
                name: text(&object, &["metadata", "name"]).to_owned(),
            };
            Ok(Found { target, object })
        }));
    }
    Ok(all)
}

/// Reads one object.
async fn read(target: Target, session: &Session) -> Result<Found> {
    let object = session.api.get(&target.path(), &[]).await?;
    Ok(Found { target, object })
}
