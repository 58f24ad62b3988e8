//! Pod Security: what the labels of a namespace make of pods in it. The levels are those of the Pod Security Standards, the words Kubernetes'.

mod baseline;
mod policy;
mod restricted;
mod subject;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

pub use self::policy::{Level, Policy, Standard, Version};
use self::subject::{Subject, Violation};
use crate::{
    Kind, Status,
    kind::NO_EFFECT,
    value::{has, list, text},
};

/// What is around an object that is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Around {
    /// Nothing that matters, or that anybody looked at.
    #[default]
    Nothing,
    /// The policy of the namespace that an object with pods is in.
    Policy(Policy),
    /// The pods in a namespace.
    Pods(Arc<[Value]>),
}

/// What has to be looked up for an object of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// The policy of its namespace.
    Policy,
    /// The pods that are in it.
    Pods,
}

/// What has to be looked up when an object of this kind is written, if anything.
pub fn concern(kind: &Kind) -> Option<Concern> {
    match (kind.group, kind.kind) {
        ("", "Namespace") => Some(Concern::Pods),
        _ => template_path(kind).map(|_| Concern::Policy),
    }
}

/// Admits an object that is created, or that `before` becomes. Answers warnings.
///
/// # Errors
/// Forbidden for a pod that the namespace does not take, Invalid for labels of a namespace that mean nothing.
pub(crate) fn admit(
    kind: &Kind,
    before: Option<&Value>,
    object: &Value,
    around: &Around,
) -> Result<Vec<String>, Status> {
    match around {
        Around::Policy(policy) => admit_pods(kind, before, object, policy),
        _ if (kind.group, kind.kind) == ("", "Namespace") => admit_namespace(kind, before, object, around),
        _ => Ok(Vec::new()),
    }
}

fn admit_pods(
    kind: &Kind,
    before: Option<&Value>,
    object: &Value,
    policy: &Policy,
) -> Result<Vec<String>, Status> {
    let Some(path) = template_path(kind) else { return Ok(Vec::new()) };
    let template = path.iter().fold(object, |value, field| &value[*field]);
    let is_pod = path.is_empty();
    let is_unchanged = || is_pod && before.is_some_and(|before| !is_significant(before, object));
    if !has(template, "spec") || is_unchanged() {
        return Ok(Vec::new());
    }
    if is_pod && let Some(why) = violations(policy.enforce, template) {
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, in_detail(&why));
        return Err(Status::forbidden(kind, text(&object["metadata"], "name"), &why));
    }
    let warning = violations(policy.warn, template)
        .map(|why| format!("would violate PodSecurity \"{}\": {}", policy.warn, in_detail(&why)));
    Ok(warning.into_iter().collect())
}

fn admit_namespace(
    kind: &Kind,
    before: Option<&Value>,
    object: &Value,
    around: &Around,
) -> Result<Vec<String>, Status> {
    let (new, errors) = Policy::of_labels(&object["metadata"]["labels"]);
    let old = before.map(|before| Policy::of_labels(&before["metadata"]["labels"]));
    // What is wrong already is no reason to refuse something else.
    if !errors.is_empty() && old.as_ref().is_none_or(|(_, known)| *known != errors) {
        return Err(Status::invalid(kind, text(&object["metadata"], "name"), &errors));
    }
    let old = old.map(|(policy, _)| policy);
    let mut warnings = Vec::new();
    let had = old.unwrap_or_default();
    if new.audit != had.audit && new.audit.level != Level::Privileged {
        warnings.push(format!("metadata.labels[{}]: accepted, but {NO_EFFECT}", policy::AUDIT));
    }
    if let (Around::Pods(pods), true) = (around, new.enforce.is_stricter_than(had.enforce)) {
        warnings.extend(warnings_of_pods(text(&object["metadata"], "name"), pods, new.enforce));
    }
    Ok(warnings)
}

/// What a namespace's pods would be refused for from now on.
fn warnings_of_pods(namespace: &str, pods: &[Value], standard: Standard) -> Vec<String> {
    let mut found = BTreeMap::<String, Vec<&str>>::new();
    for pod in pods.iter().take(PODS_MAX) {
        if let Some(why) = violations(standard, pod) {
            let reasons: Vec<_> = why.into_iter().map(|violation| violation.reason).collect();
            found.entry(reasons.join(", ")).or_default().push(text(&pod["metadata"], "name"));
        }
    }
    let mut warnings = Vec::new();
    if pods.len() > PODS_MAX {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {} existing pods",
            pods.len()
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
        ));
    }
    let mut of_pods: Vec<_> = found
        .into_iter()
        .map(|(reasons, names)| {
            let first = names.iter().min().copied().unwrap_or_default();
            match names.len() {
                1 => format!("{first}: {reasons}"),
                2 => format!("{first} (and 1 other pod): {reasons}"),
                count => format!("{first} (and {} other pods): {reasons}", count - 1),
            }
        })
        .collect();
    of_pods.sort();
    warnings.extend(of_pods);
    warnings
}

/// What a pod, or a template of pods, breaks of a standard; `None` for nothing.
fn violations(standard: Standard, template: &Value) -> Option<Vec<Violation>> {
    let subject = Subject::new(template, standard.version);
    let mut violations = Vec::new();
    if standard.level != Level::Privileged {
        violations.extend(baseline::check(&subject, standard));
    }
    if standard.level == Level::Restricted {
        violations.extend(restricted::check(&subject));
    }
    (!violations.is_empty()).then_some(violations)
}

fn in_detail(violations: &[Violation]) -> String {
    let each = violations.iter().map(|Violation { reason, detail }| format!("{reason} ({detail})"));
    each.collect::<Vec<_>>().join(", ")
}

/// Where an object of a kind has what becomes a pod; empty for a pod itself.
fn template_path(kind: &Kind) -> Option<&'static [&'static str]> {
    Some(match (kind.group, kind.kind) {
        ("", "Pod") => &[],
        ("", "PodTemplate") => &["template"],
        ("", "ReplicationController")
        | ("apps", "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    })
}

/// Whether a pod is another one than before, as far as a pod can become one.
fn is_significant(before: &Value, pod: &Value) -> bool {
    let shape = |pod: &Value| -> Vec<(String, String)> {
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let containers = lists.iter().flat_map(|name| list(&pod["spec"], name));
        containers.map(|one| (text(one, "name").to_owned(), text(one, "image").to_owned())).collect()
    };
    shape(before) != shape(pod)
}

/// A namespace has more pods than anybody reads warnings about.
const PODS_MAX: usize = 3000;

#[cfg(test)]
mod tests;
