//! Writing the subresource `scale`: a Scale of `autoscaling/v1` says how many replicas the object it belongs to should have.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Accepted, FieldValidation, apply::read, own, patch};
use crate::{
    Status,
    field::FieldError,
    kind::{Kind, SCALE},
    managed::{self, Force, Scope},
    meta,
    patch::PatchKind,
    value::{object_mut, put, set, text},
};

/// How a Scale is written.
#[derive(Clone, Debug)]
pub enum Scaling<'a> {
    /// By this one, which is decoded.
    Replace(Value),
    /// By a patch.
    Patch(PatchKind, &'a [u8]),
    /// By a server-side apply.
    Apply(&'a [u8], Force),
}

/// The object that writing its Scale makes of `current`, with its managers; [`super::update`] comes next, with
/// [`super::Ownership::AsGiven`].
///
/// # Errors
///
/// NotFound for kinds without replicas, and what Kubernetes answers to a Scale that is none.
pub fn scale(
    kind: &'static Kind,
    current: &Value,
    scaling: &Scaling<'_>,
    validation: FieldValidation,
    manager: &str,
    now: Timestamp,
) -> Result<Accepted, Status> {
    let live = kind.scale_of(current).ok_or_else(Status::no_such_resource)?;
    let scope = Scope { kind, subresource: "scale", manager, now };
    let name = text(&current["metadata"], "name");
    let (wanted, warnings) = match scaling {
        Scaling::Replace(scale) => (scale.clone(), Vec::new()),
        Scaling::Patch(patch_kind, body) => {
            let patched = patch(&SCALE, &live, *patch_kind, body, validation)?;
            (patched.object, patched.warnings)
        }
        Scaling::Apply(body, _) => {
            let config = read(body)?.value;
            managed::check_config(&SCALE, &config)?;
            (config, Vec::new())
        }
    };
    meta::check_identity(kind, &wanted, current)?;
    let replicas = wanted["spec"]["replicas"].as_i64();
    if let Some(replicas) = replicas.filter(|replicas| *replicas < 0) {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(Status::invalid(&SCALE, name, &[error]));
    }
    let mut object = match scaling {
        Scaling::Apply(_, force) => {
            managed::applied(&scope, Some(current), &config(kind, name, replicas), *force)?
        }
        Scaling::Replace(_) | Scaling::Patch(..) => {
            let mut object = current.clone();
            kind.set_replicas(&mut object, replicas.unwrap_or_default());
            own(&scope, Some(current), &mut object);
            object
        }
    };
    let version = text(&wanted["metadata"], "resourceVersion");
    if !version.is_empty() {
        set(object_mut(&mut object, "metadata"), "resourceVersion", version);
    }
    Ok(Accepted { object, warnings })
}

/// What somebody wants of an object who wants this many replicas of it.
fn config(kind: &Kind, name: &str, replicas: Option<i64>) -> Value {
    let mut config = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name}});
    if let Some(replicas) = replicas {
        put(&mut config, "spec", Map::from_iter([("replicas".to_owned(), replicas.into())]).into());
    }
    config
}
