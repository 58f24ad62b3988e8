//! Manifests as tools write them, and what must not pass.

use dunlin_link::Digest;
use serde_json::{Value, json};

use super::{LAYERS_MAX, Manifest, Platform, choose};
use crate::media;

fn descriptor(media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(media_type.as_bytes()).to_string(), "size": 7 })
}

fn image() -> Value {
    json!({ "schemaVersion": 2, "config": descriptor(media::WASM_CONFIG), "layers": [descriptor(media::WASM)] })
}

fn check(manifest: &Value, outside: &str, expected: Result<usize, &str>) {
    let parsed = Manifest::parse(&serde_json::to_vec(manifest).unwrap(), outside);
    match (parsed, expected) {
        (Ok(parsed), Ok(parts)) => assert_eq!(parsed.descriptors().len(), parts, "{manifest}"),
        (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error} lacks {words}"),
        (parsed, _) => panic!("{manifest} as `{outside}` became {parsed:?}"),
    }
}

#[test]
fn a_manifest_is_one_thing_and_said_to_be_that() {
    check(&image(), media::MANIFEST, Ok(2));
    check(&image(), "application/json; charset=utf-8", Ok(2));
    check(&image(), "", Ok(2));
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media::MANIFEST)] });
    check(&index, media::INDEX, Ok(1));
    check(&index, "text/plain", Ok(1));

    check(&index, media::MANIFEST, Err("an index"));
    check(&image(), media::INDEX, Err("without its config"));
    let mut both = image();
    both["manifests"] = json!([descriptor(media::MANIFEST)]);
    check(&both, media::MANIFEST, Err("an index"));
    let mut other = image();
    other["mediaType"] = json!(media::INDEX);
    check(&other, media::MANIFEST, Err("was sent as"));
    check(&image(), "application/vnd.example+json", Err("none that Dunlin knows"));
    check(&json!({ "schemaVersion": 1, "fsLayers": [] }), "", Err("first schema"));
    check(&json!({ "schemaVersion": 2 }), "", Err("without its config"));
    check(&json!([]), "", Err("not a manifest"));
    let mut sha512 = image();
    sha512["config"]["digest"] = json!("sha512:00");
    check(&sha512, "", Err("a digest is"));
    let mut large = image();
    large["layers"] = json!(vec![descriptor(media::WASM); LAYERS_MAX + 1]);
    check(&large, "", Err("at most 512"));
}

#[test]
fn an_index_is_asked_for_platforms_in_order() {
    let entry = |os: &str, architecture: &str, variant: &str| {
        let mut entry = descriptor(media::MANIFEST);
        entry["digest"] = json!(Digest::of(format!("{os}{architecture}{variant}").as_bytes()).to_string());
        entry["platform"] = json!({ "os": os, "architecture": architecture, "variant": variant });
        entry
    };
    let entries = [
        entry("unknown", "unknown", ""),
        entry("linux", "arm", "v6"),
        entry("linux", "arm", "v7"),
        entry("linux", "amd64", ""),
        entry("wasi", "wasm", ""),
    ];
    let manifest = json!({ "schemaVersion": 2, "manifests": entries });
    let Ok(Manifest::Index(manifests)) = Manifest::parse(&serde_json::to_vec(&manifest).unwrap(), "") else {
        panic!("not an index");
    };
    let chosen = |wanted: &[Platform]| {
        choose(&manifests, wanted).and_then(|entry| entry.platform.as_ref()).map(ToString::to_string)
    };
    let arm = Platform { os: "linux".into(), architecture: "arm".into(), variant: "v7".into() };
    let riscv = Platform { os: "linux".into(), architecture: "riscv64".into(), variant: String::new() };
    assert_eq!(chosen(std::slice::from_ref(&arm)).as_deref(), Some("linux/arm/v7"));
    assert_eq!(
        chosen(&[Platform::wasm("wasip1"), Platform::wasm("wasi"), arm]).as_deref(),
        Some("wasi/wasm")
    );
    assert_eq!(chosen(&[riscv]), None);
}
