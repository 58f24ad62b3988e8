//! Everything that reads what clients send, each as a function of any bytes that has nothing to tell but a panic. The fuzz targets
//! `api_*` are these, too.

use std::sync::LazyLock;

use dunlin_api::{
    FieldSelector, Kind, LabelSelector, Quantity, Status,
    admission::Surroundings,
    decode::{self, Format},
    kind::{self, service::NoPool},
    managed::Force,
    patch::PatchKind,
    pipeline::{self, Applying, Creation, FieldValidation, Ownership, Requester, Target},
    protobuf, time,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What reads bytes.
pub(crate) type Decoder = fn(&[u8]);

/// All of them, by name.
pub(crate) const ALL: &[(&str, Decoder)] = &[
    ("json", json),
    ("yaml", yaml),
    ("protobuf", protobuf),
    ("merge_patch", merge_patch),
    ("json_patch", json_patch),
    ("strategic_patch", strategic_patch),
    ("apply", apply),
    ("labels", labels),
    ("fields", fields),
    ("quantity", quantity),
    ("times", times),
];

/// A body in JSON.
pub(crate) fn json(bytes: &[u8]) {
    body(bytes, Format::Json);
}

/// A body in YAML.
pub(crate) fn yaml(bytes: &[u8]) {
    body(bytes, Format::Yaml);
}

/// A body in protobuf. What is read can be written, and is the same when it is read again.
pub(crate) fn protobuf(bytes: &[u8]) {
    body(bytes, Format::Protobuf);
    let Ok(first) = decode::document(bytes, Format::Protobuf, None) else { return };
    // Zeros that were left out are there from now on.
    let read_again = |value: &Value| {
        let written = protobuf::encode(value).expect("what was read is of its type");
        decode::document(&written, Format::Protobuf, None).expect("our own bytes").value
    };
    if is_small(&first.value) {
        let second = read_again(&first.value);
        assert_eq!(read_again(&second), second);
    }
}

/// What is written anew has zeros that were not there, so that it may be over the bound on values.
fn is_small(value: &Value) -> bool {
    value.to_string().len() < decode::BODY_LIMIT_BYTES / 8
}

/// A merge patch of a pod.
pub(crate) fn merge_patch(bytes: &[u8]) {
    patch(PatchKind::Merge, bytes);
}

/// A JSON patch of a pod.
pub(crate) fn json_patch(bytes: &[u8]) {
    patch(PatchKind::Json, bytes);
}

/// A strategic merge patch of a pod.
pub(crate) fn strategic_patch(bytes: &[u8]) {
    patch(PatchKind::Strategic, bytes);
}

/// A configuration of a pod, new and applied again.
pub(crate) fn apply(bytes: &[u8]) {
    for current in [None, Some(&*POD)] {
        let applying = Applying {
            target: Target::Object,
            name: "p",
            manager: "m",
            force: Force::No,
            validation: FieldValidation::Warn,
            now: Timestamp::UNIX_EPOCH,
        };
        drop(pipeline::apply(pods(), current, bytes, &applying));
    }
}

/// A label selector, matched with labels.
pub(crate) fn labels(bytes: &[u8]) {
    if let Ok(selector) = LabelSelector::parse(&String::from_utf8_lossy(bytes)) {
        selector.matches(POD["metadata"]["labels"].as_object());
        let again = LabelSelector::parse(&selector.to_string());
        assert_eq!(again.as_ref(), Ok(&selector));
    }
}

/// A field selector of pods, matched with one.
pub(crate) fn fields(bytes: &[u8]) {
    if let Ok(selector) = FieldSelector::parse(pods(), &String::from_utf8_lossy(bytes)) {
        selector.matches(pods(), &POD);
    }
}

/// A quantity; what it is written as is written so again.
pub(crate) fn quantity(bytes: &[u8]) {
    if let Ok(quantity) = String::from_utf8_lossy(bytes).parse::<Quantity>() {
        let canonical = quantity.to_string();
        let again: Quantity = canonical.parse().expect("our own notation");
        assert_eq!(again.to_string(), canonical);
    }
}

/// A time and a duration.
pub(crate) fn times(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = time::parse_time(&Value::from(&*text));
    time::parse_duration(&text);
}

fn body(bytes: &[u8], format: Format) {
    let definition = (format != Format::Protobuf).then(|| pods().definition());
    let Ok(document) = decode::document(bytes, format, definition) else { return };
    let text = |field: &str| document.value[field].as_str().unwrap_or_default();
    let kind = kind::by_kind(text("apiVersion"), text("kind")).unwrap_or_else(pods);
    drop(pipeline::decode(kind, bytes, format, FieldValidation::Strict));
    if let Ok(accepted) = pipeline::decode(kind, bytes, format, FieldValidation::Warn) {
        drop(create(kind, accepted.object));
    }
}

fn patch(patch: PatchKind, bytes: &[u8]) {
    drop(pipeline::patch(pods(), &POD, patch, bytes, FieldValidation::Warn));
}

fn create(kind: &'static Kind, object: Value) -> Result<pipeline::Accepted, Status> {
    let creation = Creation {
        namespace: if kind.namespaced { "default" } else { "" },
        now: Timestamp::UNIX_EPOCH,
        uid: "u",
        suffix: "xxxxx",
        requester: &Requester::default(),
        ownership: Ownership::Tracked("m"),
        surroundings: &Surroundings::default(),
    };
    pipeline::create(kind, object, &creation, &mut NoPool)
}

fn pods() -> &'static Kind {
    kind::by_kind("v1", "Pod").expect("the registry has pods")
}

/// A pod as it is stored.
static POD: LazyLock<Value> = LazyLock::new(|| {
    let pod = json!({
        "metadata": {
            "name": "p", "labels": {"app": "a", "tier": "b"}, "annotations": {"k": "v"},
            "finalizers": ["example.com/one", "example.com/two"],
        },
        "spec": {
            "containers": [
                {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]},
                {"name": "d", "image": "i"},
            ],
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
    });
    create(pods(), pod).expect("a pod").object
});
