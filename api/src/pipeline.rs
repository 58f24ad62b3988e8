//! From request to checked object: strict decoding, pruning, defaulting, what the system sets, validation.
//!
//! A front decodes a body with [`decode`], or [`accept`]s a value; the service then asks [`create`] or [`update`] for the object
//! to store. Patches go through [`patch`], whose answer is accepted like a body. All are functions of their arguments.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Status,
    admission::{
        Surroundings,
        pod_security::{self, Around},
    },
    conform::conform,
    decode::{self as parse, Document, Format},
    field::FieldError,
    kind::{ACTS_NOT, Generation, Kind, NO_EFFECT, Warns, service::Pool},
    managed::{self, Scope},
    meta,
    patch::{self as patches, PatchError, PatchKind},
    status::OptionsKind,
    value::{object_mut, put, remove, set, text},
};

mod apply;
mod refusal;
mod scale;

pub use self::{
    apply::{Applying, apply},
    scale::{Scaling, scale},
};

use refusal::{not_an_object, unconvertible, unhandled, unreadable, wrong_kind};

/// `fieldValidation` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are dropped silently.
    Ignore,
    /// They are dropped with a warning each.
    #[default]
    Warn,
    /// They refuse the request.
    Strict,
}

/// An object with the warnings to send along with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The object.
    pub object: Value,
    /// For `Warning` headers, without code and quotes.
    pub warnings: Vec<String>,
}

/// What the system gives a new object.
#[derive(Clone, Copy, Debug)]
pub struct Creation<'a> {
    /// The namespace of the request; empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Time of the request.
    pub now: Timestamp,
    /// A new unique id.
    pub uid: &'a str,
    /// Five random characters for a generated name, of those [`SUFFIX_ALPHABET`] has.
    pub suffix: &'a str,
    /// Who asks for it.
    pub requester: &'a Requester,
    /// Whose its fields are.
    pub ownership: Ownership<'a>,
    /// What of the cluster decides about the object.
    pub surroundings: &'a Surroundings,
}

/// Who sends a request, as far as objects say it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requester {
    /// For instance `admin`.
    pub name: String,
    /// Tells users of one name apart; empty when they are not told apart.
    pub uid: String,
    /// For instance `system:masters`.
    pub groups: Vec<String>,
    /// A map of lists of texts, or null.
    pub extra: Value,
}

/// What an update is.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What of the object it writes.
    pub target: Target,
    /// Time of the request.
    pub now: Timestamp,
    /// Whose the fields are that it changes.
    pub ownership: Ownership<'a>,
    /// What Pod Security holds the object against.
    pub around: &'a Around,
}

/// What of an object an update writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everything but its status.
    Object,
    /// Its status, labels, annotations and finalizers.
    Status,
    /// The same, of its status only the conditions: whether what it asks for is approved.
    Approval,
    /// Of a pod what is added to it, and nothing else.
    Ephemeral,
}

impl Target {
    /// The subresource that such requests name.
    pub const fn subresource(self) -> &'static str {
        match self {
            Self::Object => "",
            Self::Status => "status",
            Self::Approval => "approval",
            Self::Ephemeral => "ephemeralcontainers",
        }
    }
}

/// How an object that is written comes by `metadata.managedFields`.
#[derive(Clone, Copy, Debug)]
pub enum Ownership<'a> {
    /// What is changed belongs to this manager from now on.
    Tracked(&'a str),
    /// As the object says: [`apply`] made it, or nobody will ask.
    AsGiven,
}

/// What generated names end in: no vowels and nothing that looks like another character, so that no words come out.
pub const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl FieldValidation {
    /// Reads the query parameter.
    ///
    /// # Errors
    ///
    /// Invalid, when it is none of the three.
    pub fn parse(text: &str, options: OptionsKind) -> Result<Self, Status> {
        match text {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                let error = FieldError::not_supported("fieldValidation", other, &supported);
                Err(Status::invalid_options(options, &[error]))
            }
        }
    }
}

/// Decodes a request body that should hold an object of `kind`.
///
/// # Errors
///
/// BadRequest with Kubernetes' message when it does not; RequestEntityTooLarge when it is too big.
pub fn decode(
    kind: &'static Kind,
    body: &[u8],
    format: Format,
    validation: FieldValidation,
) -> Result<Accepted, Status> {
    let document = parse::document(body, format, Some(kind.definition()))
        .map_err(|error| unreadable(kind, body, format, &error))?;
    if !document.value.is_object() {
        return Err(not_an_object(kind, body, &document.value));
    }
    let Document { value, duplicates, unknown } = document;
    let (api_version, name) = identity(kind, &value);
    let Accepted { object, .. } = accept(kind, value, FieldValidation::Ignore)?;
    let notes: Vec<String> = duplicates.into_iter().chain(unknown).collect();
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => notes,
        FieldValidation::Strict if notes.is_empty() => notes,
        FieldValidation::Strict => {
            return Err(unhandled(
                kind,
                &api_version,
                &name,
                &format!("strict decoding error: {}", notes.join(", ")),
            ));
        }
    };
    Ok(Accepted { object, warnings })
}

/// Checks a value that should be an object of `kind`, prunes what the kind does not have, and makes its numbers, times and empty
/// values canonical. `apiVersion` and `kind` may be missing.
///
/// # Errors
///
/// BadRequest with Kubernetes' message when it is of another kind or a field has the wrong type.
pub fn accept(
    kind: &'static Kind,
    mut object: Value,
    validation: FieldValidation,
) -> Result<Accepted, Status> {
    let (api_version, name) = identity(kind, &object);
    if (api_version.as_str(), name.as_str()) != (&kind.api_version(), kind.kind) {
        return Err(wrong_kind(kind, &api_version, &name));
    }
    let mut unknown = Vec::new();
    managed::mark_reset(&mut object);
    conform(kind.definition(), &mut object, &mut unknown)
        .map_err(|mismatch| unhandled(kind, &api_version, &name, &mismatch.to_string()))?;
    set(&mut object, "apiVersion", kind.api_version());
    set(&mut object, "kind", kind.kind);
    let warnings = match validation {
        FieldValidation::Strict if !unknown.is_empty() => {
            let detail = format!("strict decoding error: {}", unknown.join(", "));
            return Err(unhandled(kind, &api_version, &name, &detail));
        }
        FieldValidation::Warn => unknown,
        _ => Vec::new(),
    };
    Ok(Accepted { object, warnings })
}

/// The object to store for a create, and warnings about it. It is of the kind that `kind` is stored as.
///
/// # Errors
///
/// BadRequest when it belongs elsewhere, Forbidden when admission refuses it, Invalid when it breaks rules.
pub fn create(
    kind: &'static Kind,
    object: Value,
    creation: &Creation<'_>,
    pool: &mut dyn Pool,
) -> Result<Accepted, Status> {
    let mut object = accept(kind, object, FieldValidation::Ignore)?.object;
    let stored = kind.stored_as();
    meta::prepare_create(stored, &mut object, creation)?;
    (kind.default)(&mut object);
    // Before what admission and the system set on it, which nobody asked for.
    if let Ownership::Tracked(manager) = creation.ownership {
        own(&Scope { kind, subresource: "", manager, now: creation.now }, None, &mut object);
    }
    let mut object = into_stored(kind, object)?;
    (stored.allocate)(&mut object, None, pool)?;
    (stored.prepare_create)(&mut object, creation);
    (stored.admit)(stored, &mut object, creation)?;
    let mut errors = Vec::new();
    meta::validate(stored, &object, &mut errors);
    (stored.validate)(&object, &mut errors);
    (kind.validate_create)(&object, &mut errors);
    let object = finish(stored, object, &errors)?;
    let mut warnings = pod_security::admit(stored, None, &object, &creation.surroundings.around)?;
    warnings.extend(self::warnings(kind, &object));
    warnings.extend(kind.inert.map(|why| format!("{}: {why}", kind.kind)));
    Ok(Accepted { object, warnings })
}

/// The object to store for an update of `current`, which is stored, to `object`, and warnings about it. Equal to `current` when
/// nothing changes.
///
/// # Errors
///
/// BadRequest when it names another object, Conflict when it names another uid, Invalid when it breaks rules.
pub fn update(
    kind: &'static Kind,
    current: &Value,
    object: Value,
    change: &Change<'_>,
    pool: &mut dyn Pool,
) -> Result<Accepted, Status> {
    let mut object = accept(kind, object, FieldValidation::Ignore)?.object;
    if matches!(change.ownership, Ownership::AsGiven) {
        apply::check_uid(kind, &object, current)?;
    }
    let stored = kind.stored_as();
    meta::prepare_update(stored, &mut object, current)?;
    let before = served(kind, current)?;
    match change.target {
        Target::Object => {}
        Target::Status => keep_all_but_status(&mut object, &before),
        Target::Approval => {
            keep_all_but_status(&mut object, &before);
            keep_all_but_conditions(&mut object, &before);
        }
        Target::Ephemeral => keep_all_but_ephemeral(&mut object, &before),
    }
    (kind.default)(&mut object);
    own_change(kind, change, &before, &mut object);
    let mut object = into_stored(kind, object)?;
    let mut errors = Vec::new();
    match change.target {
        Target::Object => {
            (stored.allocate)(&mut object, Some(current), pool)?;
            (stored.prepare_update)(&mut object, current);
            if is_new_generation(stored, &object, current) {
                bump_generation(&mut object);
            }
            meta::validate_change(stored, &object, current, &mut errors);
            (stored.validate)(&object, &mut errors);
            (kind.validate_update)(&object, current, &mut errors);
        }
        Target::Status => {
            (stored.prepare_status)(&mut object, current);
            (stored.stamp_status)(&mut object, current, change.now);
            meta::validate_change(stored, &object, current, &mut errors);
            (stored.validate_status)(&object, current, &mut errors);
        }
        Target::Approval => {
            (stored.stamp_status)(&mut object, current, change.now);
            meta::validate_change(stored, &object, current, &mut errors);
            (stored.validate_approval)(&object, current, &mut errors);
        }
        Target::Ephemeral => {
            if is_new_generation(stored, &object, current) {
                bump_generation(&mut object);
            }
            meta::validate_change(stored, &object, current, &mut errors);
            (stored.validate)(&object, &mut errors);
            (stored.validate_ephemeral)(&object, current, &mut errors);
        }
    }
    let mut object = finish(stored, object, &errors)?;
    let mut warnings = match change.target {
        Target::Object | Target::Ephemeral => {
            pod_security::admit(stored, Some(current), &object, change.around)?
        }
        Target::Status | Target::Approval => Vec::new(),
    };
    managed::keep_times(&mut object, current);
    let same_generation = object["metadata"]["generation"] == current["metadata"]["generation"];
    warnings.extend(match (change.target, stored.warns) {
        (Target::Status | Target::Approval, _) => kind.deprecation.map(str::to_owned).into_iter().collect(),
        (Target::Object, Warns::OnNewGenerations) if same_generation => Vec::new(),
        (Target::Object, _) => new_warnings(kind, current, &object),
        // Kubernetes has none.
        (Target::Ephemeral, _) => {
            new_warnings(kind, current, &object).into_iter().filter(|warning| is_lasting(warning)).collect()
        }
    });
    Ok(Accepted { object, warnings })
}

/// A stored object as the version of its kind that `kind` is.
///
/// # Errors
///
/// InternalError when it was never an object of the kind.
pub fn served<'v>(kind: &'static Kind, stored: &'v Value) -> Result<Cow<'v, Value>, Status> {
    if std::ptr::eq(kind, kind.stored_as()) {
        return Ok(Cow::Borrowed(stored));
    }
    let mut object = stored.clone();
    kind.from_stored(&mut object);
    conform(kind.definition(), &mut object, &mut Vec::new()).map_err(Status::internal)?;
    Ok(Cow::Owned(object))
}

/// Makes an object of `kind` one of the kind that is stored.
fn into_stored(kind: &'static Kind, mut object: Value) -> Result<Value, Status> {
    let stored = kind.stored_as();
    if std::ptr::eq(kind, stored) {
        return Ok(object);
    }
    let unreadable = |detail: String| unhandled(kind, &kind.api_version(), kind.kind, &detail);
    kind.to_stored(&mut object).map_err(|error| unreadable(error.to_string()))?;
    conform(stored.definition(), &mut object, &mut Vec::new())
        .map_err(|error| unreadable(error.to_string()))?;
    (stored.default)(&mut object);
    Ok(object)
}

/// The object of `kind` that a patch makes of `current`, which is stored, accepted like a request body; [`update`] comes next.
///
/// # Errors
///
/// BadRequest or Invalid, as Kubernetes answers broken patches and patches whose outcome is no object of the kind.
pub fn patch(
    kind: &'static Kind,
    current: &Value,
    patch: PatchKind,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Accepted, Status> {
    let before = served(kind, current)?;
    let patched = patches::apply(kind, &before, patch, body).map_err(|error| match error {
        PatchError::NotApplicable => Status::patch_not_applicable(),
        PatchError::TooLarge => Status::too_large(parse::BODY_LIMIT_BYTES),
        PatchError::Unreadable(message) => Status::bad_request(format!("error decoding patch: {message}")),
        PatchError::Invalid(message) => Status::bad_request(message),
        PatchError::Failed(message) => Status::failure(500, "", message),
    })?;
    let mut object = patched.object;
    check_patched_kind(kind, patch, &object)
        .map_err(|detail| Status::invalid_patch(&patched.shown, &detail))?;
    managed::mark_reset(&mut object);
    let mut unknown = Vec::new();
    let outcome = conform(kind.definition(), &mut object, &mut unknown).map_err(|mismatch| match patch {
        PatchKind::Strategic => mismatch.into_conversion(),
        PatchKind::Merge | PatchKind::Json => mismatch.to_string(),
    });
    let outcome = outcome.and_then(|()| match validation {
        FieldValidation::Strict if !unknown.is_empty() => {
            Err(format!("strict decoding error: {}", unknown.join(", ")))
        }
        FieldValidation::Warn => Ok(unknown),
        FieldValidation::Strict | FieldValidation::Ignore => Ok(Vec::new()),
    });
    let warnings = outcome.map_err(|detail| Status::invalid_patch(&patched.shown, &detail))?;
    set(&mut object, "apiVersion", kind.api_version());
    set(&mut object, "kind", kind.kind);
    check_patched_identity(kind, &object, current)?;
    Ok(Accepted { object, warnings })
}

/// A patch makes no object of another kind. Kubernetes reads what a strategic merge patch makes as the kind it was, whatever it says.
fn check_patched_kind(kind: &Kind, patch: PatchKind, object: &Value) -> Result<(), String> {
    let (api_version, name) = identity(kind, object);
    let is_same = (api_version.as_str(), name.as_str()) == (&kind.api_version(), kind.kind);
    if is_same || patch == PatchKind::Strategic {
        return Ok(());
    }
    Err(unconvertible(kind, &api_version, &name))
}

/// A patch makes no other object of one. Other than in a replacement, a uid is no precondition here.
fn check_patched_identity(kind: &Kind, object: &Value, current: &Value) -> Result<(), Status> {
    let (new, old) = (&object["metadata"], &current["metadata"]);
    let (name, uid) = (text(old, "name"), text(new, "uid"));
    if text(new, "name").is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if !uid.is_empty() && uid != text(old, "uid") {
        let error = FieldError::invalid("metadata.uid", uid, "field is immutable");
        // Kubernetes checks it twice and says it once.
        return Err(Status::invalid(kind, name, &[error.clone(), error]));
    }
    Ok(())
}

/// Whether an update changes what the kind counts changes of.
fn is_new_generation(kind: &Kind, object: &Value, current: &Value) -> bool {
    let spec = object["spec"] != current["spec"];
    match kind.generation {
        Generation::Absent => false,
        Generation::CountsSpecChanges => spec,
        Generation::CountsTemplateChanges => object["template"] != current["template"],
        Generation::CountsSpecAndAnnotationChanges => {
            spec || object["metadata"]["annotations"] != current["metadata"]["annotations"]
        }
        Generation::CountsChanges => {
            let body = |object: &Value| {
                let mut body = object.clone();
                remove(&mut body, "metadata");
                body
            };
            body(object) != body(current) || object["metadata"]["labels"] != current["metadata"]["labels"]
        }
    }
}

/// Tracks who owns what an update changes, unless it was applied.
fn own_change(kind: &'static Kind, change: &Change<'_>, current: &Value, object: &mut Value) {
    if let Ownership::Tracked(manager) = change.ownership {
        let scope = Scope { kind, subresource: change.target.subresource(), manager, now: change.now };
        own(&scope, Some(current), object);
    }
}

fn own(scope: &Scope<'_>, current: Option<&Value>, object: &mut Value) {
    let managed_fields = match managed::updated(scope, current, object) {
        Some(managed_fields) => managed_fields,
        None => {
            let stored = current.map_or(&Value::Null, |current| &current["metadata"]["managedFields"]);
            // Who reads and writes back has them already.
            if object["metadata"]["managedFields"] == *stored {
                return;
            }
            stored.clone()
        }
    };
    put(object_mut(object, "metadata"), "managedFields", managed_fields);
}

/// Tracks who owns what a write changes that [`update`] does not know, such as a binding: makes the managers of `object` those after a
/// change of `current` to it.
pub fn track(
    kind: &'static Kind,
    subresource: &str,
    current: &Value,
    object: &mut Value,
    manager: &str,
    now: Timestamp,
) {
    own(&Scope { kind, subresource, manager, now }, Some(current), object);
}

/// Warnings about a kind and one of its objects.
fn warnings(kind: &'static Kind, object: &Value) -> Vec<String> {
    let about_kind = kind.deprecation.map(str::to_owned);
    about_kind.into_iter().chain((kind.stored_as().warnings)(object)).collect()
}

/// Warnings about a change. What has no effect yet is told when it comes, and not again as long as it stays; all else as Kubernetes
/// repeats it.
fn new_warnings(kind: &'static Kind, current: &Value, object: &Value) -> Vec<String> {
    let known = warnings(kind, current);
    let mut found = warnings(kind, object);
    found.retain(|warning| !(is_lasting(warning) && known.contains(warning)));
    found
}

/// Whether a warning is about something that has no effect yet.
fn is_lasting(warning: &str) -> bool {
    warning.ends_with(NO_EFFECT) || warning.ends_with(ACTS_NOT)
}

/// Counts a change of what is wanted, on objects that count them.
fn bump_generation(object: &mut Value) {
    let metadata = object_mut(object, "metadata");
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation > 0) {
        set(metadata, "generation", generation.saturating_add(1));
    }
}

/// Refuses an object with errors, and makes a good one canonical again after what was set on it.
fn finish(kind: &'static Kind, mut object: Value, errors: &[FieldError]) -> Result<Value, Status> {
    if !errors.is_empty() {
        return Err(Status::invalid(kind, text(&object["metadata"], "name"), errors));
    }
    conform(kind.definition(), &mut object, &mut Vec::new()).map_err(Status::internal)?;
    Ok(object)
}

/// A status update changes nothing but the status and, of metadata, what is not about ownership.
fn keep_all_but_status(object: &mut Value, current: &Value) {
    if let (Some(new), Some(old)) = (object.as_object_mut(), current.as_object()) {
        new.retain(|key, _| ["metadata", "status"].contains(&key.as_str()));
        for (key, value) in old.iter().filter(|(key, _)| !["metadata", "status"].contains(&key.as_str())) {
            new.insert(key.clone(), value.clone());
        }
    }
    put(object_mut(object, "metadata"), "ownerReferences", current["metadata"]["ownerReferences"].clone());
}

/// Nothing changes but what was added to a pod; who owns it is seen to elsewhere.
fn keep_all_but_ephemeral(object: &mut Value, current: &Value) {
    let added = object["spec"]["ephemeralContainers"].clone();
    keep_all_but_status(object, current);
    put(object, "status", current["status"].clone());
    put(object_mut(object, "spec"), "ephemeralContainers", added);
    for key in ["labels", "annotations", "finalizers"] {
        put(object_mut(object, "metadata"), key, current["metadata"][key].clone());
    }
}

fn keep_all_but_conditions(object: &mut Value, current: &Value) {
    let conditions = object["status"]["conditions"].clone();
    put(object, "status", current["status"].clone());
    if !conditions.is_null() {
        put(object_mut(object, "status"), "conditions", conditions);
    } else if let Some(status) = object["status"].as_object_mut() {
        status.remove("conditions");
    }
}

/// What the object says it is, with what the endpoint implies for what it does not say.
fn identity(kind: &Kind, object: &Value) -> (String, String) {
    let or = |key: &str, implied: &str| match text(object, key) {
        "" => implied.to_owned(),
        own => own.to_owned(),
    };
    (or("apiVersion", &kind.api_version()), or("kind", kind.kind))
}
