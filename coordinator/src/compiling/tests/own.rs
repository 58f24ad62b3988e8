//! Modules within images of the coordinator's own registry: their code is made without any other registry.

use std::{collections::BTreeMap, process::Command};

use dunlin_coordinator_core::lower::lower;
use dunlin_link::{PodUid, Revision, assignment::AssignedPod};
use serde_json::{Value, json};

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Pushes a blob; answers its descriptor.
async fn blob(artifacts: &Artifacts, media_type: &str, content: &[u8]) -> Value {
    let (blobs, digest) = (artifacts.blobs(), Digest::of(content));
    let id = blobs.begin("team/app", "it").await.unwrap();
    let mut upload = blobs.upload(("team/app", "it"), &id).unwrap();
    upload.append(content, None).await.unwrap();
    blobs.finish(&id, upload, digest).await.unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
}

/// An archive of both modules.
fn tar() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, module) in ["a.wasm", "b.wasm"].into_iter().zip(MODULES) {
        fs::write(folder.path().join(name), module).unwrap();
    }
    let packed =
        Command::new("tar").arg("-C").arg(folder.path()).args(["-cf", "-", "a.wasm", "b.wasm"]).output();
    packed.unwrap().stdout
}

/// The set of a node with a pod of an image, which runs what its command says.
fn desired(image: Digest, command: &[&str]) -> Desired {
    let container = json!({ "name": "c", "image": "dunlin.local/team/app:1", "command": command });
    let pod = json!({ "metadata": { "name": "p", "uid": "p" }, "spec": { "containers": [container] } });
    let assignment = Arc::new(lower(pod.to_string().as_bytes(), &|_| Ok(image)).unwrap());
    let pod = AssignedPod { revision: Revision(1), assignment };
    Desired { pods: Arc::new(BTreeMap::from([(PodUid::new("p"), pod)])), ..Desired::default() }
}

#[tokio::test]
async fn what_a_command_names_is_compiled_else_what_the_image_starts() {
    let fixture = Fixture::new();
    let compiling = fixture.compiling(Some(fixture.compiler("new", "a", COPY)));
    let artifacts = fixture.artifacts();
    let config = json!({ "os": "wasi", "architecture": "wasm", "config": { "Entrypoint": ["/a.wasm"] } });
    let config =
        blob(&artifacts, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()).await;
    let layer = blob(&artifacts, "application/vnd.oci.image.layer.v1.tar", &tar()).await;
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let content = (MANIFEST, manifest.to_string().into_bytes());
    let image = artifacts.put_manifest("team/app", (Some("1"), None), content).await.unwrap();

    let [started, named] = MODULES.map(Digest::of);
    let (plain, chosen) = (desired(image, &[]), desired(image, &["/b.wasm"]));
    compiling.get_foreign(&plain, started, "a").await.unwrap();
    let refused = compiling.get_foreign(&plain, named, "a").await.unwrap_err();
    assert_eq!(refused.reason, CompileRefusal::NotHere);
    compiling.want_foreign(&chosen, "a");
    compiling.get_foreign(&chosen, named, "a").await.unwrap();
    assert_eq!(fixture.log(), ["new a", "new a"]);
    let missing = desired(image, &["/c.wasm"]);
    let refused = compiling.get_foreign(&missing, named, "a").await.unwrap_err();
    assert!(refused.message.contains("its program `/c.wasm` is not in it"), "{refused}");
    // A module that a pod names by itself is no image, and one of another registry is not pulled.
    let refused = compiling.get_foreign(&desired(started, &[]), named, "a").await.unwrap_err();
    assert!(refused.message.contains("no pod of this node runs"), "{refused}");
    compiling.shut_down().await;
}

#[tokio::test]
async fn files_beside_a_module_have_nodes_follow_the_manifest() {
    let fixture = Fixture::new();
    let compiling = fixture.compiling(Some(fixture.compiler("new", "a", COPY)));
    let artifacts = fixture.artifacts();
    let config = blob(&artifacts, "application/vnd.wasm.config.v0+json", b"{}").await;
    let module = blob(&artifacts, "application/wasm", MODULES[0]).await;
    let files = blob(&artifacts, "application/vnd.oci.image.layer.v1.tar", &tar()).await;
    for (tag, layers) in [("alone", vec![module.clone()]), ("files", vec![module, files])] {
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let content = (MANIFEST, manifest.to_string().into_bytes());
        let image = artifacts.put_manifest("team/app", (Some(tag), None), content).await.unwrap();
        let named = artifacts.resolve(&format!("dunlin.local/team/app:{tag}")).await.is_ok();
        assert_eq!(named, tag == "alone");
        if tag == "files" {
            let started = Digest::of(MODULES[0]);
            compiling.get_foreign(&desired(image, &[]), started, "a").await.unwrap();
        }
    }
    compiling.shut_down().await;
}
