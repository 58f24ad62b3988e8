//! `metav1.DeleteOptions`, from a body or the query.

use dunlin_api::{Status, field::FieldError, status::OptionsKind};
use dunlin_coordinator_core::deletion::{Propagation, Stop, Wish};
use serde_json::Value;

use super::{
    options::{DryRun, parse_dry_run, refuse},
    query::Query,
};

/// How to delete, and whether to.
#[derive(Clone, Debug)]
pub(super) struct DeleteOptions {
    /// How.
    pub(super) wish: Wish,
    /// `dryRun`.
    pub(super) dry_run: DryRun,
}

impl DeleteOptions {
    /// Reads the body of a delete, or the query when there is no body.
    ///
    /// # Errors
    /// 400 for values of wrong types, 422 for combinations that make no sense.
    pub(super) fn parse(body: Option<&Value>, query: &Query) -> Result<Self, Status> {
        match body {
            Some(body) => Self::from_body(body),
            None => Self::from_query(query),
        }
    }

    /// Reads a `DeleteOptions` object.
    ///
    /// # Errors
    /// As [`DeleteOptions::parse`].
    pub(super) fn from_body(body: &Value) -> Result<Self, Status> {
        check_kind(body)?;
        let preconditions = &body["preconditions"];
        let text = |value: &Value, field: &str| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong_type(field, "string")),
        };
        let grace_seconds = match &body["gracePeriodSeconds"] {
            Value::Null => None,
            value => Some(value.as_i64().ok_or_else(|| wrong_type("gracePeriodSeconds", "int64"))?),
        };
        let orphan = match &body["orphanDependents"] {
            Value::Null => None,
            value => Some(value.as_bool().ok_or_else(|| wrong_type("orphanDependents", "bool"))?),
        };
        let policy = text(&body["propagationPolicy"], "propagationPolicy")?;
        let dry_run: Vec<&str> =
            body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Self::check(
            Wish {
                grace_seconds,
                uid: text(&preconditions["uid"], "preconditions.uid")?,
                resource_version: text(&preconditions["resourceVersion"], "preconditions.resourceVersion")?,
                propagation: Propagation::Default,
                stop: Stop::Ordered,
            },
            orphan,
            policy.as_deref(),
            &dry_run,
        )
    }

    fn from_query(query: &Query) -> Result<Self, Status> {
        let wish = Wish {
            grace_seconds: query.integer("gracePeriodSeconds")?,
            uid: None,
            resource_version: None,
            propagation: Propagation::Default,
            stop: Stop::Ordered,
        };
        let dry_run: Vec<&str> = query.values("dryRun").collect();
        Self::check(wish, query.optional_flag("orphanDependents"), query.value("propagationPolicy"), &dry_run)
    }

    fn check(
        mut wish: Wish,
        orphan: Option<bool>,
        policy: Option<&str>,
        dry_run: &[&str],
    ) -> Result<Self, Status> {
        let mut errors = Vec::new();
        if let (Some(_), Some(policy)) = (orphan, policy) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", policy, detail));
        }
        wish.propagation = match (policy, orphan) {
            (Some("Orphan"), _) | (None, Some(true)) => Propagation::Orphan,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some("Background"), _) | (None, Some(false)) => Propagation::Background,
            (None, None) => Propagation::Default,
            (Some(other), _) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", other, &supported));
                Propagation::Default
            }
        };
        let dry_run = parse_dry_run(dry_run.iter().copied(), &mut errors);
        refuse(OptionsKind::Delete, &errors)?;
        // A period that lies in the past means as soon as may be.
        wish.grace_seconds = wish.grace_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
        Ok(Self { wish, dry_run })
    }
}

fn check_kind(body: &Value) -> Result<(), Status> {
    let (version, kind) =
        (body["apiVersion"].as_str().unwrap_or("v1"), body["kind"].as_str().unwrap_or("DeleteOptions"));
    if kind == "DeleteOptions" {
        return Ok(());
    }
    let scheme = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";
    let message =
        format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme \"{scheme}\"");
    Err(Status::bad_request(message))
}

fn wrong_type(field: &str, expected: &str) -> Status {
    Status::bad_request(format!(
        "json: cannot unmarshal DeleteOptions.{field} into Go value of type {expected}"
    ))
}
