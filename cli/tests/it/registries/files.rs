//! Images for WASM with more than a module in them, of any registry and of the coordinator's own, on a node that compiles nothing: a command
//! chooses the module, and the files are at `/`.

use std::{fs, path::Path, process::Command};

use dunlin_link::Digest;
use serde_json::{Value, json};

use super::{
    node::{site_of, waits, with_secret},
    programs::{Registry, skopeo},
};
use crate::{cluster::workloads, pods::pod, site::Site};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

#[test]
fn guests_see_the_files_of_their_image_and_run_the_module_that_is_named() {
    let Some(registry) = Registry::start() else { return };
    let (mut site, mut machine, file) = site_of(&registry, &["--compile", "never"]);

    let (image, artifact) = (image(), artifact());
    for (layout, name) in [(&image, "team/files"), (&artifact, "team/artifact")] {
        push(&site, &registry, layout.path(), name);
    }
    for (kind, host) in [("own", "dunlin.local"), ("foreign", registry.address.as_str())] {
        let run = |name: &str, image: &str, rest: &str| {
            let name = format!("{kind}-{name}");
            let container = format!("image: '{host}/{image}:1', {rest}");
            site.ok(&["apply", "-f", "-"], &with_secret(&pod(&name, "Never", &container)));
            name
        };
        let log = |name: &str, phase: &str| {
            site.wait_for(&["get", "pod", name, "-o", "jsonpath={.status.phase}"], |found| found == phase);
            site.ok(&["logs", name], "")
        };
        let reads = run("reads", "team/files", "args: [read, /data/greeting, /data/kept]");
        let lists = run("lists", "team/files", "args: [list, /]");
        let other = run("other", "team/files", "command: [/bin/hello.wasm]");
        let writes = run("writes", "team/files", "args: [write, /data/greeting, x]");
        let data = run("data", "team/artifact", "args: [read, /data/greeting]");
        // What the image says of how it runs is used where the pod says nothing.
        let own = run("own-words", "team/files", "env: []");
        let missing = run("missing", "team/files", "command: [/none.wasm]");
        assert_eq!(log(&reads, "Succeeded"), "new\nkept\n", "{kind}");
        assert_eq!(log(&lists, "Succeeded"), "bin data files.wasm\n", "{kind}");
        assert!(log(&other, "Succeeded").contains("hello"), "{kind}");
        log(&writes, "Failed");
        assert_eq!(log(&own, "Succeeded"), "kept\n", "{kind}");
        assert_eq!(log(&data, "Succeeded"), "new\n", "{kind}");
        let why = waits(&site, &missing, "CreateContainerConfigError");
        assert!(
            why.contains(
                "`/none.wasm` is not in the image; its WASM modules are `/bin/hello.wasm`, `/files.wasm`"
            ),
            "{why}"
        );
    }

    // Both are told of, and are there after a start of the agent, without anybody to ask.
    site.wait_for(&["get", "node", "n1", "-o", "jsonpath={.status.images}"], |images| {
        images.contains("team/files")
    });
    machine.stop_agent();
    site.kill_coordinator();
    machine.start_agent(&["--config-file", &file]);
    site.start_coordinator();
    site.wait_for_ready(&machine);
    let again = format!(
        "image: '{}/team/files:1', imagePullPolicy: Never, args: [read, /data/greeting]",
        registry.address
    );
    site.ok(&["apply", "-f", "-"], &pod("again", "Never", &again));
    site.wait_for(&["get", "pod", "again", "-o", "jsonpath={.status.phase}"], |phase| phase == "Succeeded");
    for entry in fs::read_dir(machine.state.join("modules")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".own"), "{name} was compiled here");
    }
}

/// Into the registry and into the coordinator's own.
fn push(site: &Site, registry: &Registry, layout: &Path, name: &str) {
    let to = format!("docker://{}/{name}:1", registry.address);
    let from = format!("oci:{}:it", layout.display());
    let options = ["--quiet", "--dest-tls-verify=false", "--dest-creds", "gull:tideline"];
    let pushed = skopeo(&[&["copy"], &options[..], &[&from, &to]].concat());
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    site.ok(&["push", layout.to_str().unwrap(), &format!("{name}:1")], "");
}

/// An ordinary image of two modules and some files, in two layers.
fn image() -> tempfile::TempDir {
    let folder = layout();
    let module = |name: &str| fs::read(workloads().join(format!("{name}.wasm"))).unwrap();
    let (files, hello) = (module("files"), module("hello"));
    let lower = tar(&[
        ("files.wasm", &files),
        ("bin/hello.wasm", &hello),
        ("data/greeting", b"old\n"),
        ("data/kept", b"kept\n"),
    ]);
    let upper = tar(&[("data/greeting", b"new\n")]);
    let diff_ids: Vec<_> = [&lower, &upper].map(|layer| Digest::of(layer).to_string()).to_vec();
    let config = json!({ "os": "wasi", "architecture": "wasm", "config": { "Entrypoint": ["/files.wasm"], "Cmd": ["read", "/data/kept"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config =
        blob(folder.path(), "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layers = [lower, upper].map(|layer| blob(folder.path(), TAR, &layer));
    finish(folder.path(), &config, &layers);
    folder
}

/// An artifact whose files are in a layer beside its module.
fn artifact() -> tempfile::TempDir {
    let folder = layout();
    let config = br#"{"os": "wasip1", "architecture": "wasm", "layerDigests": []}"#;
    let config = blob(folder.path(), "application/vnd.wasm.config.v0+json", config);
    let module = fs::read(workloads().join("files.wasm")).unwrap();
    let layers = [
        blob(folder.path(), "application/wasm", &module),
        blob(folder.path(), TAR, &tar(&[("data/greeting", b"new\n")])),
    ];
    finish(folder.path(), &config, &layers);
    folder
}

fn layout() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    folder
}

fn blob(layout: &Path, media_type: &str, content: &[u8]) -> Value {
    let digest = Digest::of(content);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), content).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
}

fn finish(layout: &Path, config: &Value, layers: &[Value]) {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let mut manifest = blob(layout, media_type, manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
    fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string())
        .unwrap();
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let mut tops: Vec<_> = files.iter().map(|(name, _)| name.split('/').next().unwrap()).collect();
    tops.dedup();
    let packed =
        Command::new("tar").arg("-C").arg(folder.path()).args(["-cf", "-"]).args(tops).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    packed.stdout
}
