//! What somebody may do.

use dunlin_api::{Kind, Status, field::FieldError};
use dunlin_coordinator_core::authorizer::{Attributes, Target};
use serde_json::{Map, Value, json};

use crate::service::{ApiService, User, authorize::Decision, path::ResourceRequest};

impl ApiService {
    /// Answers a SubjectAccessReview, a LocalSubjectAccessReview, or a SelfSubjectAccessReview of `user`.
    pub(super) async fn review_access(
        &self,
        user: &User,
        request: &ResourceRequest,
        mut review: Value,
    ) -> Result<Value, Status> {
        if request.kind.kind == LOCAL {
            if review["metadata"]["namespace"].as_str().unwrap_or_default().is_empty() {
                review["metadata"]["namespace"] = request.namespace.as_str().into();
            }
            let asked = review["spec"]["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
            if !review["spec"]["resourceAttributes"].is_null() && asked != request.namespace {
                let namespace = &request.namespace;
                return Err(Status::bad_request(format!(
                    "spec.resourceAttributes.namespace must match namespace: {namespace}"
                )));
            }
        }
        let errors = validate(request.kind, &review);
        if !errors.is_empty() {
            return Err(Status::invalid(request.kind, "", &errors));
        }
        let spec = &review["spec"];
        let subject =
            if request.kind.kind == "SelfSubjectAccessReview" { user.clone() } else { subject(spec) };
        review["status"] = match self.decide(&subject, &attributes(spec)).await? {
            Decision::Allowed(_, reason) if reason.is_empty() => json!({ "allowed": true }),
            Decision::Allowed(_, reason) => json!({ "allowed": true, "reason": reason }),
            Decision::Refused(reason) if reason.is_empty() => json!({ "allowed": false }),
            Decision::Refused(reason) => json!({ "allowed": false, "reason": reason }),
        };
        Ok(review)
    }

    /// Answers a SelfSubjectRulesReview.
    pub(super) async fn review_rules(&self, user: &User, review: Value) -> Result<Value, Status> {
        let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (rules, missing) = self.rules_for(user, namespace).await?;
        let of = |fields: &[&str], named: &str| -> Vec<Value> {
            let rules = rules.iter().map(|rule| json!(rule)).filter(|rule| rule.get(named).is_some());
            rules
                .map(|rule| {
                    let fields = fields
                        .iter()
                        .filter_map(|field| Some(((*field).to_owned(), rule.get(*field)?.clone())));
                    Value::from(fields.collect::<Map<_, _>>())
                })
                .collect()
        };
        let mut errors = Vec::new();
        if user.node_name().is_some() {
            errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        errors.extend((!missing.is_empty()).then(|| missing.to_string()));
        let mut status = json!({
            "resourceRules": of(&["verbs", "apiGroups", "resources", "resourceNames"], "resources"),
            "nonResourceRules": of(&["verbs", "nonResourceURLs"], "nonResourceURLs"),
            "incomplete": user.node_name().is_some(),
        });
        match errors.as_slice() {
            [] => {}
            [one] => status["evaluationError"] = one.as_str().into(),
            several => status["evaluationError"] = format!("[{}]", several.join(", ")).into(),
        }
        // As Kubernetes answers it: without the question.
        let (version, kind) = (&review["apiVersion"], &review["kind"]);
        Ok(json!({ "apiVersion": version, "kind": kind, "metadata": {}, "spec": {}, "status": status }))
    }
}

/// Whom a review is about.
fn subject(spec: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut user = User::new(spec["user"].as_str().unwrap_or_default(), texts(&spec["groups"]));
    user.uid = spec["uid"].as_str().unwrap_or_default().to_owned();
    let extra = spec["extra"].as_object().into_iter().flatten();
    user.extra = extra.map(|(key, values)| (key.clone(), texts(values))).collect();
    user
}

/// What a review asks about.
fn attributes(spec: &Value) -> Attributes<'_> {
    let text = |holder: &'static str, field: &str| spec[holder][field].as_str().unwrap_or_default();
    if spec["resourceAttributes"].is_null() {
        let target = Target::Path(text("nonResourceAttributes", "path"));
        return Attributes { verb: text("nonResourceAttributes", "verb"), target };
    }
    let of = |field| text("resourceAttributes", field);
    let target = Target::Resource {
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
    };
    Attributes { verb: of("verb"), target }
}

fn validate(kind: &Kind, review: &Value) -> Vec<FieldError> {
    let (spec, mut errors) = (&review["spec"], Vec::new());
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if !resource.is_null() && !path.is_null() {
        let detail = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid_json("spec.nonResourceAttributes", &path_json(path), detail));
    }
    if resource.is_null() && path.is_null() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid("spec.resourceAttributes", Value::Null, detail));
    }
    let is_self = kind.kind == "SelfSubjectAccessReview";
    let names_somebody = |field: &str| match &spec[field] {
        Value::String(text) => !text.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => false,
    };
    if !is_self && !names_somebody("user") && !names_somebody("groups") {
        errors.push(FieldError::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    let is_local = kind.kind == LOCAL;
    let mut metadata = review["metadata"].clone();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|field, _| field != "managedFields" && !(is_local && field == "namespace"));
    }
    if metadata.as_object().is_some_and(|metadata| !metadata.is_empty()) {
        let detail = if is_local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(FieldError::invalid("metadata", review["metadata"].clone(), detail));
    }
    if is_local && !path.is_null() {
        let detail = "disallowed on this kind of request";
        errors.push(FieldError::invalid_json("spec.nonResourceAttributes", &path_json(path), detail));
    }
    errors
}

/// A path as Kubernetes prints its struct.
fn path_json(path: &Value) -> String {
    let text = |field: &str| json!(path[field].as_str().unwrap_or_default());
    format!("{{\"Path\":{},\"Verb\":{}}}", text("path"), text("verb"))
}

const LOCAL: &str = "LocalSubjectAccessReview";
