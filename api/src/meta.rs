//! `metadata`: what the system sets, and the rules for what clients set.

use serde_json::{Value, json};

use crate::{
    Status,
    field::{FieldError, Path},
    kind::{Generation, Kind, report},
    managed, names,
    pipeline::Creation,
    time::format_time,
    value::{entries, has, is_true, list, object_mut, put, remove, set, text},
};

/// Sets what the system owns in a new object, and its name when it is to be generated.
pub(crate) fn prepare_create(kind: &Kind, object: &mut Value, creation: &Creation<'_>) -> Result<(), Status> {
    let metadata = object_mut(object, "metadata");
    let namespace = text(metadata, "namespace");
    if !namespace.is_empty() && namespace != creation.namespace {
        return Err(namespace_mismatch());
    }
    if kind.namespaced {
        set(metadata, "namespace", creation.namespace);
    }
    if !text(metadata, "resourceVersion").is_empty() {
        return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
    }
    for owned in OWNED {
        remove(metadata, owned);
    }
    set(metadata, "uid", creation.uid);
    set(metadata, "creationTimestamp", format_time(creation.now));
    if kind.generation != Generation::Absent {
        set(metadata, "generation", 1);
    }
    let prefix = text(metadata, "generateName").to_owned();
    if text(metadata, "name").is_empty() && !prefix.is_empty() {
        let end = prefix.floor_char_boundary(GENERATED_PREFIX_LIMIT);
        set(metadata, "name", format!("{}{}", &prefix[..end], creation.suffix));
    }
    Ok(())
}

/// Refuses to address another object than this one.
pub(crate) fn check_identity(kind: &Kind, object: &Value, old: &Value) -> Result<(), Status> {
    let (metadata, old) = (&object["metadata"], &old["metadata"]);
    let (name, namespace, uid) = (text(metadata, "name"), text(metadata, "namespace"), text(metadata, "uid"));
    let (old_name, old_namespace, old_uid) = (text(old, "name"), text(old, "namespace"), text(old, "uid"));
    if !name.is_empty() && name != old_name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({old_name})");
        return Err(Status::bad_request(message));
    }
    if !namespace.is_empty() && namespace != old_namespace {
        return Err(namespace_mismatch());
    }
    if !uid.is_empty() && uid != old_uid {
        let key = [kind.plural, old_namespace, old_name].into_iter().filter(|part| !part.is_empty());
        let detail = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
             failed: UID in precondition: {uid}, UID in object meta: {old_uid}",
            key.collect::<Vec<_>>().join("/")
        );
        return Err(Status::conflict(kind, old_name, &detail));
    }
    Ok(())
}

/// Restores what an update may leave out and refuses to address another object.
pub(crate) fn prepare_update(kind: &Kind, object: &mut Value, old: &Value) -> Result<(), Status> {
    check_identity(kind, object, old)?;
    let metadata = object_mut(object, "metadata");
    let old = &old["metadata"];
    for kept in ["name", "namespace", "uid"] {
        put(metadata, kept, old[kept].clone());
    }
    for kept in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if !has(metadata, kept) {
            put(metadata, kept, old[kept].clone());
        }
    }
    put(metadata, "generation", old["generation"].clone());
    remove(metadata, "selfLink");
    Ok(())
}

/// Rules for the metadata of any object.
pub(crate) fn validate(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let metadata = &object["metadata"];
    let field = Path::new("metadata");
    let (name, prefix) = (text(metadata, "name"), text(metadata, "generateName"));
    if !prefix.is_empty() {
        report(kind.name_rule.check_prefix(prefix), &field.child("generateName"), prefix, errors);
    }
    if name.is_empty() {
        errors.push(FieldError::required(field.child("name"), "name or generateName is required"));
    } else {
        report(kind.name_rule.check(name), &field.child("name"), name, errors);
    }
    let namespace = text(metadata, "namespace");
    if !kind.namespaced {
        if !namespace.is_empty() {
            errors.push(FieldError::forbidden(field.child("namespace"), "not allowed on this type"));
        }
    } else if namespace.is_empty() {
        errors.push(FieldError::required(field.child("namespace"), ""));
    } else {
        report(names::dns_label(namespace), &field.child("namespace"), namespace, errors);
    }
    validate_labels(metadata, "labels", &field, errors);
    validate_annotations(metadata, &field.child("annotations"), errors);
    validate_owners(metadata, &field.child("ownerReferences"), errors);
    managed::validate(metadata, &field.child("managedFields"), errors);
    let finalizers = field.child("finalizers");
    for finalizer in list(metadata, "finalizers").iter().filter_map(Value::as_str) {
        report(names::qualified_name(finalizer), &finalizers, finalizer, errors);
    }
    for (position, finalizer) in list(metadata, "finalizers").iter().filter_map(Value::as_str).enumerate() {
        if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(finalizers.index(position), finalizer, detail));
        }
    }
}

/// Rules for the metadata of an object that is changed.
///
/// Kubernetes holds a change against its rules twice, once for all kinds and once in each kind's own, and lists as a cause what each
/// finds; the message says it once.
pub(crate) fn validate_change(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    validate(kind, new, errors);
    let mut found = Vec::new();
    validate_update(new, old, &mut found);
    errors.extend(found.iter().cloned());
    errors.extend(found);
}

/// Rules for changes of metadata.
fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    let field = Path::new("metadata");
    if has(old, "deletionTimestamp") {
        let known = list(old, "finalizers");
        let added: Vec<_> =
            list(new, "finalizers").iter().filter(|finalizer| !known.contains(finalizer)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|finalizer| finalizer.to_string()).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError::forbidden(field.child("finalizers"), &detail));
        }
    }
    for fixed in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new[fixed] != old[fixed] {
            errors.push(FieldError::invalid(field.child(fixed), new[fixed].clone(), "field is immutable"));
        }
    }
    validate_labels(new, "labels", &field, errors);
    validate_annotations(new, &field.child("annotations"), errors);
    validate_owners(new, &field.child("ownerReferences"), errors);
    managed::validate(new, &field.child("managedFields"), errors);
}

/// Rules for a map of labels at `key` of `holder`.
pub(crate) fn validate_labels(holder: &Value, key: &str, field: &Path, errors: &mut Vec<FieldError>) {
    let field = field.child(key);
    for (key, value) in entries(holder, key) {
        report(names::qualified_name(key), &field, key, errors);
        let value = value.as_str().unwrap_or_default();
        report(names::label_value(value), &field, value, errors);
    }
}

/// Rules for annotations: keys, and the size of all together.
pub(crate) fn validate_annotations(metadata: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in entries(metadata, "annotations") {
        report(names::qualified_name(&key.to_lowercase()), field, key, errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT_BYTES {
        errors.push(FieldError::too_long(field, ANNOTATIONS_LIMIT_BYTES));
    }
}

fn validate_owners(metadata: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let owners = list(metadata, "ownerReferences");
    let mut controller: Option<&Value> = None;
    for owner in owners {
        let api_version = text(owner, "apiVersion");
        let version = match api_version.split('/').collect::<Vec<_>>().as_slice() {
            [version] | [_, version] => *version,
            _ => "",
        };
        if version.is_empty() {
            errors.push(FieldError::invalid(
                field.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for part in ["kind", "name", "uid"] {
            if text(owner, part).is_empty() {
                errors.push(FieldError::invalid(field.child(part), "", "must not be empty"));
            }
        }
        if (api_version, text(owner, "kind")) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid_json(field, &owner_json(owner), detail));
        }
        if is_true(owner, "controller") {
            if let Some(first) = controller {
                let all: Vec<String> = owners.iter().map(owner_json).collect();
                let name = |owner| format!("{}/{}", text(owner, "kind"), text(owner, "name"));
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    name(first),
                    name(owner)
                );
                errors.push(FieldError::invalid_json(field, &format!("[{}]", all.join(",")), &detail));
            } else {
                controller = Some(owner);
            }
        }
    }
}

/// A reference as Kubernetes writes it: fields in the order of its struct.
fn owner_json(owner: &Value) -> String {
    let order = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let present = order.into_iter().filter(|key| has(owner, key));
    let fields: Vec<String> = present.map(|key| format!("{}:{}", json!(key), owner[key])).collect();
    format!("{{{}}}", fields.join(","))
}

fn namespace_mismatch() -> Status {
    Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    )
}

/// Never taken from a client that creates an object.
const OWNED: [&str; 7] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
];
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
pub(crate) const ANNOTATIONS_LIMIT_BYTES: usize = 256 * 1024;
/// A generated name stays within a label's length: 63 less the suffix.
const GENERATED_PREFIX_LIMIT: usize = 58;
