//! What makes a pod of a node's own manifest: the node does not know Kubernetes' encodings, so the executable hands it this.

use dunlin_api::{
    admission::Surroundings,
    decode::{self, Format},
    kind::{self, service::NoPool},
    pipeline::{self, Creation, FieldValidation, Ownership, Requester},
};
use dunlin_edge_node::{ManifestParser, ParsedManifest, ResolveImage};
use jiff::Timestamp;
use serde_json::Value;

/// Decodes, defaults, validates and lowers the manifest of a static pod, as the API does with one that is posted.
pub(crate) fn parser() -> ManifestParser {
    ManifestParser::new(parse)
}

fn parse(manifest: &[u8], resolve: &ResolveImage<'_>) -> Result<ParsedManifest, String> {
    let pods = kind::by_kind("v1", "Pod").ok_or("this program knows no pods")?;
    // YAML holds JSON.
    check_kind(manifest)?;
    let decoded = pipeline::decode(pods, manifest, Format::Yaml, FieldValidation::Strict);
    let pod = decoded.map_err(|status| status.message().to_owned())?.object;
    if let Some(named) = other_object(&pod) {
        return Err(format!("a static pod cannot name other objects: {named}"));
    }
    let written = serde_json::to_vec(&pod).map_err(|error| error.to_string())?;
    let namespace =
        pod.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_owned();
    // The node gives the pod its uid and start; neither time nor chance may make another pod of the same manifest.
    let creation = Creation {
        namespace: &namespace,
        now: Timestamp::UNIX_EPOCH,
        uid: "static",
        suffix: "",
        requester: &Requester::default(),
        ownership: Ownership::AsGiven,
        surroundings: &Surroundings::default(),
    };
    let created =
        pipeline::create(pods, pod, &creation, &mut NoPool).map_err(|status| status.message().to_owned())?;
    let json = serde_json::to_vec(&created.object).map_err(|error| error.to_string())?;
    let pod = dunlin_coordinator::lower::lower(&json, resolve).map_err(|error| error.to_string())?;
    Ok(ParsedManifest { pod, object: written })
}

/// Whether a file holds a pod at all. The API's words on that are for programs, and quote what they were sent: a file that is no pod may
/// hold anything, secrets too, and the reason goes into the log.
fn check_kind(manifest: &[u8]) -> Result<(), String> {
    let no_manifest = |line: usize| match line {
        0 => "the file is neither YAML nor JSON".to_owned(),
        line => format!("the file is neither YAML nor JSON: line {line} cannot be read"),
    };
    let document = decode::document(manifest, Format::Yaml, None).map_err(|error| match error {
        decode::DecodeError::Syntax { line, .. } => no_manifest(line),
        error => error.to_string(),
    })?;
    let Value::Object(object) = document.value else {
        return Err("the file holds no object with `apiVersion: v1` and `kind: Pod`".to_owned());
    };
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => Ok(()),
        (_, "") => Err("the manifest names no `kind`; a static pod has `apiVersion: v1` and `kind: Pod`".to_owned()),
        (version, kind) if is_word(version) && is_word(kind) => {
            Err(format!("the manifest is of a {kind} in {version:?}; a static pod has `apiVersion: v1` and `kind: Pod`"))
        }
        _ => Err("the manifest's `kind` or `apiVersion` is none; a static pod has `apiVersion: v1` and `kind: Pod`".to_owned()),
    }
}

/// Whether a text can be a kind or a version, and so be quoted.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-');
    text.len() <= WORD_BYTES_MAX && text.bytes().all(plain)
}

/// As long as kinds and versions of Kubernetes are, with room.
const WORD_BYTES_MAX: usize = 80;

/// The first field that names an object of the API, as Kubernetes forbids in static pods. What containers name is seen once lowered.
fn other_object(pod: &Value) -> Option<String> {
    let spec = pod.get("spec")?;
    let names = ["serviceAccountName", "serviceAccount", "imagePullSecrets"];
    let field = names.into_iter().find(|name| spec.get(name).is_some_and(|value| !is_empty(value)));
    if let Some(field) = field {
        return Some(format!("spec.{field}"));
    }
    let volumes = spec.get("volumes").and_then(Value::as_array)?;
    let object = |volume: &Value| {
        OBJECT_VOLUMES.into_iter().find(|kind| volume.get(kind).is_some_and(|value| !value.is_null()))
    };
    volumes
        .iter()
        .enumerate()
        .find_map(|(index, volume)| Some(format!("spec.volumes[{index}].{}", object(volume)?)))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty)
}

/// Kinds of volumes that hold what the API has.
const OBJECT_VOLUMES: [&str; 4] = ["configMap", "secret", "projected", "persistentVolumeClaim"];

#[cfg(test)]
mod tests {
    use dunlin_link::Digest;

    use super::*;

    fn check(manifest: &str, expected: Result<&str, &str>) {
        let resolve = |image: &str| match image {
            "web" => Ok(Digest::of(b"web")),
            other => Err(format!("no {other}.wasm")),
        };
        match (parse(manifest.as_bytes(), &resolve), expected) {
            (Ok(ParsedManifest { pod, object }), Ok(name)) => {
                let object: Value = serde_json::from_slice(&object).unwrap();
                assert_eq!(object["metadata"]["name"], pod.name);
                let added = object["status"].as_object().is_some_and(|status| !status.is_empty());
                assert!(!added, "what the system adds is the coordinator's: {object}");
                assert_eq!(format!("{}/{}", pod.namespace, pod.name), name);
                assert_eq!(pod.spec.containers[0].image.digest, Some(Digest::of(b"web")));
                assert!(pod.config.is_empty());
            }
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn manifests_are_read_as_the_api_reads_them() {
        let pod = |spec: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: web}}]{spec}}}"
            )
        };
        check(&pod(""), Ok("default/p"));
        check(
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n"},"spec":{"containers":[{"name":"c","image":"web"}]}}"#,
            Ok("n/p"),
        );
        check(&pod(", serviceAccountName: robot"), Err("spec.serviceAccountName"));
        check(&pod(", volumes: [{name: v, secret: {secretName: s}}]"), Err("spec.volumes[0].secret"));
        check(&pod(", restartPolicy: Sometimes"), Err("restartPolicy"));
        check(&pod(", colour: red"), Err("colour"));
        check("apiVersion: v1\nkind: Secret\nmetadata: {name: p}", Err("Secret"));
        check(": no", Err(""));
    }

    #[test]
    fn what_is_no_manifest_is_not_quoted() {
        let refused = |file: &[u8]| parse(file, &|_: &str| Err(String::new())).unwrap_err();
        let files: [&[u8]; 7] = [
            b"hunter2",
            b"{hunter2",
            b"a: [hunter2\n",
            b"[hunter2]",
            b"hunter2: hunter2",
            b"apiVersion: v1\nkind: hunter2 hunter2",
            b"\x00\xff hunter2 \x80",
        ];
        for file in files {
            let reason = refused(file);
            let hex = file.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert!(!reason.contains("hunter2") && !reason.contains(&hex) && reason.len() < 120, "{reason}");
        }
        let reason = refused(b"apiVersion: apps/v1\nkind: Deployment");
        assert_eq!(
            reason,
            "the manifest is of a Deployment in \"apps/v1\"; a static pod has `apiVersion: v1` and `kind: Pod`"
        );
    }
}
