//! CertificateSigningRequest.
//!
//! Who asks writes the object once, who approves writes conditions by `approval`, who signs writes the certificate by `status`; none of
//! them writes what is another's.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    base64,
    field::{FieldError, Path},
    kind::{Column, FieldLabel, FieldLabels, Kind, Subresource, age_cell, report},
    names,
    pipeline::Creation,
    time::{format_time, human_duration},
    value::{has, list, list_mut, object_mut, put, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    group: "certificates.k8s.io",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    namespaced: false,
    schema: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    subresources: &[Subresource::part("approval"), Subresource::STATUS],
    columns: &[
        Column::NAME,
        Column::AGE,
        Column::shown("SignerName", "Who is to sign."),
        Column::shown("Requestor", "Who asks."),
        Column::shown("RequestedDuration", "For how long."),
        Column::shown("Condition", "What became of it."),
    ],
    fields: FieldLabels::Named(&[FieldLabel::path("spec.signerName")]),
    prepare_create,
    // What is asked for stays, and approvals come by a way of their own.
    prepare_update: |new, old| {
        put(new, "spec", old["spec"].clone());
        put(new, "status", old["status"].clone());
    },
    prepare_status: |new, old| DECISIONS.iter().for_each(|kind| keep_instances(new, old, kind)),
    stamp_status: |new, old, now| stamp_conditions(new, old, now),
    validate,
    validate_status: |new, old, errors| {
        check_conditions(new, errors);
        check_kept(new, old, errors);
        check_undecided(new, old, errors);
        check_signed(new, old, errors);
    },
    validate_approval: |new, old, errors| {
        check_conditions(new, errors);
        check_kept(new, old, errors);
    },
    warnings,
    row,
    ..Kind::BASE
};

/// Who asks is who sends the request, whatever it says.
fn prepare_create(object: &mut Value, creation: &Creation<'_>) {
    let requester = creation.requester;
    let spec = object_mut(object, "spec");
    for (key, value) in [
        ("username", json!(requester.name)),
        ("uid", json!(requester.uid)),
        ("groups", json!(requester.groups)),
        ("extra", requester.extra.clone()),
    ] {
        put(spec, key, value);
    }
    set(object, "status", json!({}));
}

/// Puts back the conditions of a type as they were, unless one was added or removed, which is refused.
fn keep_instances(new: &mut Value, old: &Value, kind: &str) {
    let before = of_type(old, kind);
    if before.len() != of_type(new, kind).len() {
        return;
    }
    let mut before = before.into_iter().cloned();
    let conditions = list_mut(&mut new["status"], "conditions").iter_mut();
    for condition in conditions.filter(|condition| condition["type"] == kind) {
        if let Some(before) = before.next() {
            *condition = before;
        }
    }
}

fn of_type<'v>(object: &'v Value, kind: &str) -> Vec<&'v Value> {
    list(&object["status"], "conditions").iter().filter(|condition| condition["type"] == kind).collect()
}

fn stamp_conditions(new: &mut Value, old: &Value, now: Timestamp) {
    for condition in list_mut(&mut new["status"], "conditions") {
        let before = list(&old["status"], "conditions").iter().find(|old| old["type"] == condition["type"]);
        if !has(condition, "lastUpdateTime") {
            set(condition, "lastUpdateTime", format_time(now));
        }
        if !has(condition, "lastTransitionTime") {
            let kept = before.filter(|before| before["status"] == condition["status"]);
            let since = kept.map(|before| before["lastTransitionTime"].clone());
            let since = since.filter(|since| !since.is_null());
            set(condition, "lastTransitionTime", since.unwrap_or_else(|| format_time(now).into()));
        }
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let (spec, field) = (&object["spec"], Path::new("spec"));
    if let Err(why) = check_request(text(spec, "request")) {
        let shown = spec["request"].clone();
        errors.push(FieldError::invalid(field.child("request"), shown, why));
    }
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required(field.child("usages"), ""));
    }
    for (position, usage) in usages.iter().enumerate() {
        let field = field.child("usages").index(position);
        if !USAGES.contains(&usage.as_str().unwrap_or_default()) {
            errors.push(FieldError::not_supported(&field, usage.clone(), USAGES));
        }
        if usages[..position].contains(usage) {
            errors.push(FieldError::duplicate(&field, usage.clone()));
        }
    }
    check_signer(text(spec, "signerName"), &field.child("signerName"), errors);
    let seconds = spec["expirationSeconds"].as_i64();
    if let Some(seconds) = seconds.filter(|seconds| *seconds < DURATION_SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(field.child("expirationSeconds"), seconds, detail));
    }
    check_conditions(object, errors);
}

/// A request is one block of PEM with something encoded by ASN.1 in it; who signs reads more.
fn check_request(encoded: &str) -> Result<(), &'static str> {
    let wrong_block = "PEM block type must be CERTIFICATE REQUEST";
    let pem = base64::decode(encoded).map_err(|_| wrong_block)?;
    let pem = std::str::from_utf8(&pem).map_err(|_| wrong_block)?;
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE REQUEST-----").ok_or(wrong_block)?;
    let (body, _) = rest.split_once("-----END CERTIFICATE REQUEST-----").ok_or(wrong_block)?;
    check_der(body)
}

fn check_signer(name: &str, field: &Path, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
        return;
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(field, name, detail));
        return;
    };
    report(names::fully_qualified_domain_name(domain), field, domain, errors);
    report(names::dns_subdomain(path), field, path, errors);
}

fn check_conditions(object: &Value, errors: &mut Vec<FieldError>) {
    let conditions = list(&object["status"], "conditions");
    let has_type = |kind: &str| conditions.iter().any(|condition| condition["type"] == kind);
    for (position, condition) in conditions.iter().enumerate() {
        let field = Path::new("status.conditions").index(position);
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.push(FieldError::required(field.child("type"), ""));
        }
        if conditions[..position].iter().any(|other| other["type"] == kind) {
            errors.push(FieldError::duplicate(field.child("type"), kind));
        }
        match (kind, text(condition, "status")) {
            (_, "") => errors.push(FieldError::required(field.child("status"), "")),
            ("Approved" | "Denied" | "Failed", status) if status != "True" => {
                errors.push(FieldError::not_supported(field.child("status"), status, &["True"]));
            }
            _ => {}
        }
    }
    if has_type("Approved") && has_type("Denied") {
        let detail = "Approved and Denied conditions are mutually exclusive";
        errors.push(FieldError::invalid("status.conditions", "Denied", detail));
    }
}

/// What was decided stays decided.
fn check_kept(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for kind in FINAL {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            let detail = format!("updates may not remove a condition of type \"{kind}\"");
            errors.push(FieldError::forbidden("status.conditions", &detail));
        }
    }
}

/// Who signs does not approve or deny.
fn check_undecided(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for kind in DECISIONS {
        let (now, before) = (of_type(new, kind), of_type(old, kind));
        let detail = match now.len().cmp(&before.len()) {
            Ordering::Greater => format!("updates may not add a condition of type \"{kind}\""),
            Ordering::Equal if now != before => {
                format!("updates may not modify a condition of type \"{kind}\"")
            }
            Ordering::Equal | Ordering::Less => continue,
        };
        errors.push(FieldError::forbidden("status.conditions", &detail));
    }
}

/// A certificate is written once.
fn check_signed(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new, old) = (text(&new["status"], "certificate"), text(&old["status"], "certificate"));
    if new == old {
        return;
    }
    if !old.is_empty() {
        let detail = "updates may not modify existing certificate content";
        errors.push(FieldError::forbidden("status.certificate", detail));
    }
    if let Err(why) = check_certificate(new) {
        errors.push(FieldError::invalid("status.certificate", "<certificate data>", &why));
    }
}

fn check_certificate(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let none = || "must contain one or more CERTIFICATE PEM blocks".to_owned();
    let pem = base64::decode(encoded).ok().and_then(|pem| String::from_utf8(pem).ok()).ok_or_else(none)?;
    let mut rest = pem.as_str();
    let mut found = 0;
    while let Some((_, start)) = rest.split_once("-----BEGIN ") {
        let (label, body) = start.split_once("-----").ok_or_else(none)?;
        let (body, after) = body.split_once(&format!("-----END {label}-----")).ok_or_else(none)?;
        if label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found \"{label}\""));
        }
        if body.contains(':') {
            return Err("no PEM block headers are permitted".to_owned());
        }
        check_der(body).map_err(str::to_owned)?;
        (rest, found) = (after, found + 1);
    }
    if found == 0 { Err(none()) } else { Ok(()) }
}

/// Whether the body of a block has something encoded by ASN.1 in it; who reads certificates reads more.
fn check_der(body: &str) -> Result<(), &'static str> {
    let malformed = "asn1: syntax error: sequence truncated";
    let body: String = body.chars().filter(|character| !character.is_whitespace()).collect();
    let der = base64::decode(&body).map_err(|_| malformed)?;
    if der.first() == Some(&ASN1_SEQUENCE) { Ok(()) } else { Err(malformed) }
}

fn warnings(object: &Value) -> Vec<String> {
    let signer = text(&object["spec"], "signerName");
    let is_unknown = signer.starts_with("kubernetes.io/") && signer != CLIENT_SIGNER;
    let warning = || format!("spec.signerName: nothing signs requests for \"{signer}\" yet");
    is_unknown.then(warning).into_iter().collect()
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let duration = match spec["expirationSeconds"].as_i64() {
        Some(seconds) => human_duration(SignedDuration::from_secs(seconds)),
        None => "<none>".to_owned(),
    };
    let has_type = |kind: &str| list(status, "conditions").iter().any(|condition| condition["type"] == kind);
    let mut outcome = match (has_type("Denied"), has_type("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if has_type("Failed") {
        outcome.push_str(",Failed");
    }
    if !text(status, "certificate").is_empty() {
        outcome.push_str(",Issued");
    }
    let signer = match text(spec, "signerName") {
        "" => "<none>",
        signer => signer,
    };
    vec![
        text(&object["metadata"], "name").into(),
        age_cell(object, now),
        signer.into(),
        text(spec, "username").into(),
        duration.into(),
        outcome.into(),
    ]
}

/// The signer of certificates with which users show who they are; the coordinator is it.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
const DURATION_SECONDS_MIN: i64 = 600;
const ASN1_SEQUENCE: u8 = 0x30;

/// What a certificate can be for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(body: &str) -> String {
        let text =
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        base64::encode(text.as_bytes())
    }

    fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
        let mut object = json!({"spec": {
            "request": pem("MAA="), "signerName": "example.com/signer", "usages": ["client auth"]}});
        change(&mut object["spec"]);
        let mut errors = Vec::new();
        validate(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn requests_are_well_formed() {
        check(|_| {}, &[]);
        check(
            |spec| set(spec, "request", "eA=="),
            &["spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST"],
        );
        check(|spec| set(spec, "usages", json!([])), &["spec.usages: Required value"]);
        check(
            |spec| set(spec, "usages", json!(["any", "any"])),
            &["spec.usages[1]: Duplicate value: \"any\""],
        );
        check(
            |spec| set(spec, "signerName", "signer"),
            &[
                "spec.signerName: Invalid value: \"signer\": must be a fully qualified domain and path of the form \
                 'example.com/signer-name'",
            ],
        );
        check(
            |spec| set(spec, "expirationSeconds", 60),
            &[
                "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
            ],
        );
    }

    fn of_conditions(conditions: &[(&str, &str)]) -> Value {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|(kind, reason)| json!({"type": kind, "status": "True", "reason": reason}))
            .collect();
        json!({"status": {"conditions": conditions}})
    }

    type Rules = fn(&Value, &Value, &mut Vec<FieldError>);

    fn check_change(rules: Rules, old: &Value, new: &Value, expected: &[&str]) {
        let mut errors = Vec::new();
        rules(new, old, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{old} {new}");
    }

    #[test]
    fn decisions_stay_and_are_not_the_signers() {
        let (status, approval) = (KIND.validate_status, KIND.validate_approval);
        let (open, approved) = (of_conditions(&[]), of_conditions(&[("Approved", "a")]));
        let denied = of_conditions(&[("Denied", "d")]);
        check_change(approval, &open, &approved, &[]);
        check_change(approval, &open, &denied, &[]);
        let added = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
        check_change(status, &open, &approved, &[added]);
        let removed = "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"";
        check_change(approval, &approved, &open, &[removed]);
        check_change(status, &approved, &open, &[removed]);
        let changed = of_conditions(&[("Approved", "b")]);
        check_change(approval, &approved, &changed, &[]);
        let modified =
            "status.conditions: Forbidden: updates may not modify a condition of type \"Approved\"";
        check_change(status, &approved, &changed, &[modified]);
        let failed = of_conditions(&[("Approved", "a"), ("Failed", "f")]);
        check_change(status, &approved, &failed, &[]);
        let both = of_conditions(&[("Approved", "a"), ("Denied", "d")]);
        let exclusive = "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive";
        check_change(approval, &approved, &both, &[exclusive]);
    }

    #[test]
    fn what_a_signer_says_of_decisions_does_not_count() {
        let old = of_conditions(&[("Approved", "a")]);
        let mut new = of_conditions(&[("Failed", "f"), ("Approved", "b")]);
        (KIND.prepare_status)(&mut new, &old);
        stamp_conditions(&mut new, &old, Timestamp::UNIX_EPOCH);
        let conditions = new["status"]["conditions"].as_array().unwrap();
        assert_eq!((&conditions[1]["reason"], &conditions[0]["reason"]), (&json!("a"), &json!("f")));
        assert_eq!(conditions[0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_certificate_is_written_once() {
        let signed = |pem: &str| json!({"status": {"certificate": base64::encode(pem.as_bytes())}});
        let block = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let status = KIND.validate_status;
        check_change(status, &json!({}), &signed(block), &[]);
        check_change(status, &json!({}), &signed(&block.repeat(2)), &[]);
        let invalid = |why: &str| format!("status.certificate: Invalid value: \"<certificate data>\": {why}");
        let other = block.replace("CERTIFICATE", "PRIVATE KEY");
        for (pem, why) in [
            ("x", "must contain one or more CERTIFICATE PEM blocks"),
            (&other, "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\""),
            (&block.replace("MAA=", "a: b\n\nMAA="), "no PEM block headers are permitted"),
            (&block.replace("MAA=", "AAAA"), "asn1: syntax error: sequence truncated"),
        ] {
            check_change(status, &json!({}), &signed(pem), &[&invalid(why)]);
        }
        let again = "status.certificate: Forbidden: updates may not modify existing certificate content";
        check_change(status, &signed(block), &signed(&block.repeat(2)), &[again]);
    }

    #[test]
    fn rows_say_what_became_of_it() {
        let check = |status: Value, expected: &str| {
            let object = json!({"spec": {"expirationSeconds": 3600}, "status": status});
            let cells = row(&object, Timestamp::UNIX_EPOCH);
            assert_eq!(cells[4..], ["60m", expected].map(Value::from));
        };
        check(json!({}), "Pending");
        check(json!({"conditions": [{"type": "Approved"}], "certificate": "eA=="}), "Approved,Issued");
        check(json!({"conditions": [{"type": "Denied"}, {"type": "Failed"}]}), "Denied,Failed");
    }
}
