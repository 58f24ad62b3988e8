//! Objects from files, folders and stdin, each with the place it came from, so that every complaint can name it.

use std::{
    fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::{
    document::text,
    failure::{self, AlreadyReported, UsageError},
    resource,
    session::Session,
};

mod parse;

/// Which files to read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// File, folder or `-` for stdin; may be repeated. A folder means its .yaml, .yml and .json files, sorted by name.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub(crate) filenames: Vec<PathBuf>,
    /// Descend into subfolders.
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
}

/// Where an object was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The file's path, or `STDIN`.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) document: usize,
    /// First line of the document, counted from 1.
    pub(crate) line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, document {}, line {}", self.file, self.document, self.line)
    }
}

/// An object that is fit to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// Where it was read.
    pub(crate) source: Source,
    /// Its kind.
    pub(crate) kind: &'static resource::Kind,
    /// `metadata.namespace`, or the namespace in effect; empty for cluster-scoped kinds.
    pub(crate) namespace: String,
    /// `metadata.name`; empty when the server is to generate one.
    pub(crate) name: String,
    /// The object.
    pub(crate) object: Value,
}

/// Reads all objects of all files before any is sent, so that a mistake in the last leaves nothing half done. Only an object of
/// a kind that is not served is an error of its own beside the others, as folders made for larger clusters hold some.
///
/// # Errors
/// [`UsageError`] when no file is named; [`AlreadyReported`] when any is missing, too large or malformed: all mistakes are
/// printed.
pub(crate) async fn read(args: &FileArgs, session: &Session) -> Result<Vec<Result<Manifest>>> {
    let objects = objects(args)?;
    for (_, object) in objects.iter().filter_map(|object| object.as_ref().ok()) {
        let (version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
        if !version.is_empty() && resource::resolve_object(version, kind, &session.api).await?.is_none() {
            // All that the server has is known now.
            break;
        }
    }
    checked(objects, &session.namespace, session.namespace_given())
}

/// Whatever the files hold, good or not, lists taken apart.
fn objects(args: &FileArgs) -> Result<Vec<Result<(Source, Value)>>> {
    if args.filenames.is_empty() {
        return Err(
            UsageError("name a manifest with -f FILE, a folder, or `-f -` for stdin".to_owned()).into()
        );
    }
    let depth = if args.recursive { Depth::All } else { Depth::One };
    let mut found = Vec::new();
    for path in &args.filenames {
        for file in files(path, depth)? {
            match load(&file) {
                Ok(text) => objects_of_text(&shown(&file), &text, &mut found),
                Err(error) => found.push(Err(error)),
            }
        }
    }
    if found.is_empty() {
        return Err(anyhow!("no objects passed: the files hold none"));
    }
    Ok(found)
}

/// Objects that are fit to be sent.
fn checked(
    objects: Vec<Result<(Source, Value)>>,
    namespace: &str,
    given: NamespaceGiven,
) -> Result<Vec<Result<Manifest>>> {
    let manifests: Vec<Result<Manifest>> = objects
        .into_iter()
        .map(|object| object.and_then(|(source, object)| check(source, object, namespace, given)))
        .collect();
    let mut errors = manifests.iter().filter_map(|manifest| manifest.as_ref().err());
    if errors.all(|error| error.is::<UnknownKind>()) {
        return Ok(manifests);
    }
    manifests.iter().filter_map(|manifest| manifest.as_ref().err()).for_each(failure::print);
    Err(AlreadyReported.into())
}

/// The one value that a text in YAML or JSON holds; `file` names it in messages.
///
/// # Errors
/// When it is malformed, or holds none or several.
pub(crate) fn value(file: &str, text: &str) -> Result<Value> {
    let mut documents = parse::documents(file, text).into_iter();
    match (documents.next(), documents.next()) {
        (Some((_, value)), None) => value,
        (None, _) => Err(anyhow!("{file:?} is empty")),
        (Some(_), Some((second, _))) => Err(anyhow!("{second}: only one document is expected")),
    }
}

/// A kind that this cluster does not serve.
#[derive(Debug)]
struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownKind {}

/// Whether the command line names a namespace, which every manifest must then agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceGiven {
    /// By `-n`.
    Yes,
    /// The context's applies where a manifest names none.
    No,
}

/// Objects of one file's text, lists taken apart.
fn objects_of_text(file: &str, text: &str, found: &mut Vec<Result<(Source, Value)>>) {
    for (source, object) in parse::documents(file, text) {
        match object {
            Ok(Value::Null) => {}
            Ok(object) => {
                found.extend(flatten(object).into_iter().map(|object| Ok((source.clone(), object))))
            }
            Err(error) => found.push(Err(error)),
        }
    }
}

/// The entries of a `v1` List; any other object as it is.
fn flatten(mut object: Value) -> Vec<Value> {
    if object["kind"] == "List"
        && let Value::Array(items) = object["items"].take()
    {
        return items;
    }
    vec![object]
}

/// Checks what the client must know of an object to address it; the server checks the rest.
fn check(source: Source, mut object: Value, namespace: &str, given: NamespaceGiven) -> Result<Manifest> {
    if !object.is_object() {
        return Err(anyhow!(
            "error validating {source}: a manifest is a map with apiVersion, kind and metadata"
        ));
    }
    let field = |name: &str| object[name].as_str().filter(|value| !value.is_empty());
    let missing: Vec<String> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|name| field(name).is_none())
        .map(|name| format!("{name} not set"))
        .collect();
    if !missing.is_empty() {
        return Err(anyhow!("error validating {source}: error validating data: [{}]", missing.join(", ")));
    }
    let (version, kind) = (field("apiVersion").unwrap_or_default(), field("kind").unwrap_or_default());
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = dunlin_api::kind::by_kind(version, kind).ok_or_else(|| {
        UnknownKind(format!(
            "resource mapping not found for name: {name:?} from {source}: no matches for kind {kind:?} in version {version:?}"
        ))
    })?;
    if name.is_empty() && object["metadata"]["generateName"].as_str().is_none_or(str::is_empty) {
        return Err(anyhow!(
            "error validating {source}: metadata.name: Required value: name or generateName is required"
        ));
    }
    let namespace =
        if kind.namespaced { in_namespace(&source, &mut object, namespace, given)? } else { String::new() };
    Ok(Manifest { source, kind, namespace, name, object })
}

/// The namespace an object goes to, which is also written into it.
fn in_namespace(
    source: &Source,
    object: &mut Value,
    namespace: &str,
    given: NamespaceGiven,
) -> Result<String> {
    match object["metadata"]["namespace"].as_str() {
        Some(own) if own != namespace && given == NamespaceGiven::Yes => Err(anyhow!(
            "error validating {source}: the namespace from the provided object {own:?} does not match the namespace \
             {namespace:?}; drop -n, or change the manifest"
        )),
        Some(own) if !own.is_empty() => Ok(own.to_owned()),
        _ => {
            object["metadata"]["namespace"] = namespace.into();
            Ok(namespace.to_owned())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    One,
    All,
}

/// The files that a path means.
fn files(path: &Path, depth: Depth) -> Result<Vec<PathBuf>> {
    if path == Path::new("-") {
        return Ok(vec![path.to_owned()]);
    }
    if !path.exists() {
        return Err(anyhow!("the path {:?} does not exist", path.display().to_string()));
    }
    let mut found = Vec::new();
    if path.is_dir() {
        descend(path, depth, &mut found).with_context(|| format!("cannot list {}", path.display()))?;
        if found.is_empty() {
            return Err(anyhow!("the folder {} holds no .yaml, .yml or .json file", path.display()));
        }
    } else {
        found.push(path.to_owned());
    }
    Ok(found)
}

fn descend(folder: &Path, depth: Depth, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            // A link to a folder could lead back up.
            if depth == Depth::All && !path.is_symlink() {
                descend(&path, depth, found)?;
            }
        } else if path.extension().and_then(|end| end.to_str()).is_some_and(|end| EXTENSIONS.contains(&end)) {
            found.push(path);
        }
    }
    Ok(())
}

/// Reads a file, or stdin for `-`, up to the size limit, before anything looks into it.
///
/// # Errors
/// When it cannot be read, is too large, or is no text.
pub(crate) fn load(path: &Path) -> Result<String> {
    let name = shown(path);
    let reading = || format!("cannot read {name:?}");
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(reading)?;
    } else {
        let file = fs::File::open(path).with_context(reading)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(reading)?;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let mebibytes = FILE_BYTES_MAX >> 20;
        return Err(anyhow!(
            "{name:?} is larger than {mebibytes} MiB, the most that a manifest file may have; split it"
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        anyhow!("{name:?} is not UTF-8 text (line {line}); is it a manifest?")
    })
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "STDIN".to_owned() } else { path.display().to_string() }
}

const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];

/// A few of the largest objects that the API takes; the text and its tree are held in memory at once.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests;
