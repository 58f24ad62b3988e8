//! The project's own cases: small, and always there.

use dunlin_api::{
    admission::pod_security::Around,
    decode::Format,
    kind,
    patch::PatchKind,
    pipeline::{self, Change, FieldValidation, Ownership, Target},
};
use jiff::Timestamp;

use crate::{
    case::Case,
    pool::RecordedPool,
    replay::{perform, replay},
};

const DEFAULTING: &str = include_str!("../golden/defaulting.json");
const VALIDATION: &str = include_str!("../golden/validation.json");

#[test]
fn defaulting() {
    replay(&Case::parse_all(DEFAULTING));
}

#[test]
fn validation() {
    replay(&Case::parse_all(VALIDATION));
}

#[test]
fn patches() {
    replay(&Case::parse_all(include_str!("../golden/patch.json")));
}

#[test]
fn applies() {
    replay(&Case::parse_all(include_str!("../golden/apply.json")));
}

/// Every beginning of every body is decoded: an answer or a refusal, never a panic.
#[test]
fn truncated_bodies_are_refused_politely() {
    for case in [DEFAULTING, VALIDATION].into_iter().flat_map(Case::parse_all) {
        let body = case.body.as_ref().map_or("", |body| body.get()).as_bytes();
        for end in (0..body.len()).step_by(7) {
            for format in [Format::Json, Format::Yaml] {
                let pod = kind::by_kind("v1", "Pod").unwrap();
                if let Err(status) = pipeline::decode(pod, &body[..end], format, FieldValidation::Strict) {
                    assert_eq!(status.code(), 400, "{status}");
                }
            }
        }
    }
}

/// What a patch makes of an object is read as the kind that it says to be.
#[test]
fn patches_make_no_other_kind() {
    let kind = kind::by_kind("v1", "ConfigMap").unwrap();
    let current = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}});
    let patched = |patch, body: &str| {
        pipeline::patch(kind, &current, patch, body.as_bytes(), FieldValidation::Strict)
            .map(|accepted| accepted.object["kind"].as_str().unwrap().to_owned())
            .map_err(|status| format!("{} {status}", status.code()))
    };
    let check = |patch, body: &str, expected: &str| {
        let error = patched(patch, body).unwrap_err();
        assert!(error.starts_with("422 ") && error.contains(expected), "{error}");
    };
    let unknown = "converting (v1.Secret) to (core.ConfigMap): unknown conversion";
    check(PatchKind::Merge, r#"{"kind":"Secret"}"#, unknown);
    check(PatchKind::Json, r#"[{"op":"replace","path":"/kind","value":"Secret"}]"#, unknown);
    check(
        PatchKind::Merge,
        r#"{"apiVersion":"v9"}"#,
        r#"no kind "ConfigMap" is registered for version "v9""#,
    );
    assert_eq!(patched(PatchKind::Merge, r#"{"kind":null,"apiVersion":"v1"}"#).unwrap(), "ConfigMap");
    assert_eq!(patched(PatchKind::Strategic, r#"{"kind":"Secret"}"#).unwrap(), "ConfigMap");
}

/// Writing an object as it is changes nothing: no generation, no defaults that came and went.
#[test]
fn updates_without_a_change_change_nothing() {
    for case in Case::parse_all(DEFAULTING) {
        check_update_without_a_change(&case);
    }
}

/// Creates what the case says and writes it again.
pub(crate) fn check_update_without_a_change(case: &Case) {
    let Ok(created) = perform(case, None) else { return };
    let kind = case.address().expect("a kind that is served").kind;
    let served = pipeline::served(kind, &created.object).expect("what is stored can be served").into_owned();
    for target in [Target::Object, Target::Status] {
        let change = Change {
            target,
            now: Timestamp::MAX,
            ownership: Ownership::Tracked("another"),
            around: &Around::Nothing,
        };
        let updated =
            pipeline::update(kind, &created.object, served.clone(), &change, &mut RecordedPool::new());
        assert_eq!(updated.expect("the object is good").object, created.object, "{}", case.name);
    }
}
