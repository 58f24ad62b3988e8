//! Secret.

use serde_json::Value;

use super::config_map::{SIZE_LIMIT_BYTES, check_immutable};
use crate::{
    base64, decode,
    field::{FieldError, Path},
    kind::{Column, FieldLabel, FieldLabels, Kind, NO_EFFECT, age_cell, report},
    names,
    value::{default_text, entries, has, object_mut, remove, set, text},
};

pub(in crate::kind) static KIND: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "io.k8s.api.core.v1.Secret",
    columns: &[
        Column::NAME,
        Column::shown("Type", "What the data is for."),
        Column::shown("Data", "Number of keys."),
        Column::AGE,
    ],
    fields: FieldLabels::Named(&[FieldLabel::path("type")]),
    default,
    validate,
    validate_update,
    warnings,
    row: |object, now| {
        vec![
            text(&object["metadata"], "name").into(),
            text(object, "type").into(),
            entries(object, "data").count().into(),
            age_cell(object, now),
        ]
    },
    ..Kind::BASE
};

fn default(object: &mut Value) {
    default_text(object, "type", "Opaque");
    if let Some(Value::Object(texts)) = remove(object, "stringData") {
        let data = object_mut(object, "data");
        for (key, value) in texts {
            set(data, &key, base64::encode(value.as_str().unwrap_or_default().as_bytes()));
        }
    }
}

fn validate(object: &Value, errors: &mut Vec<FieldError>) {
    let data = Path::new("data");
    let mut size = 0;
    for (key, value) in entries(object, "data") {
        report(names::config_key(key), &data.key(key), key, errors);
        size += value.as_str().map_or(0, |text| text.len() / 4 * 3);
    }
    if size > SIZE_LIMIT_BYTES {
        errors.push(FieldError::too_long("data", SIZE_LIMIT_BYTES));
    }
    let mut require = |key: &str| {
        if !has(&object["data"], key) {
            errors.push(FieldError::required(data.key(key), ""));
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if text(&object["metadata"]["annotations"], account).is_empty() {
                errors.push(FieldError::required(Path::new("metadata.annotations").key(account), ""));
            }
        }
        "kubernetes.io/dockercfg" => check_json(object, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => check_json(object, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth"
            if !has(&object["data"], "username") && !has(&object["data"], "password") =>
        {
            require("username");
            require("password");
        }
        "kubernetes.io/ssh-auth" => require("ssh-privatekey"),
        "kubernetes.io/tls" => {
            require("tls.crt");
            require("tls.key");
        }
        _ => {}
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new["type"] != old["type"] {
        errors.push(FieldError::invalid("type", new["type"].clone(), "field is immutable"));
    }
    check_immutable(new, old, &["data"], errors);
}

/// The key must be there and hold JSON.
fn check_json(object: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let field = Path::new("data").key(key);
    let Some(encoded) = object["data"][key].as_str() else {
        errors.push(FieldError::required(field, ""));
        return;
    };
    let bytes = base64::decode(encoded).unwrap_or_default();
    if let Err(error) = decode::document(&bytes, decode::Format::Json, None) {
        errors.push(FieldError::invalid(field, "<secret contents redacted>", &error.to_string()));
    }
}

/// Kubernetes warns about certificates it cannot read; here only whether there is any PEM at all. And a warning of our own.
fn warnings(object: &Value) -> Vec<String> {
    let certificate = object["data"]["tls.crt"].as_str().map(|text| base64::decode(text).unwrap_or_default());
    match (text(object, "type"), certificate) {
        ("kubernetes.io/service-account-token", _) if !has(&object["data"], "token") => {
            let why = "no token is put into it";
            vec![format!("type: kubernetes.io/service-account-token: {why}, so it {NO_EFFECT}")]
        }
        ("kubernetes.io/tls", Some(bytes)) if !contains(&bytes, b"-----BEGIN ") => {
            vec!["tls: failed to find any PEM data in certificate input".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.windows(pattern.len()).any(|window| window == pattern)
}
