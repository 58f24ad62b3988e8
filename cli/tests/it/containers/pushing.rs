//! `dunlin push` of archives and folders: what tools wrote runs as an image of the coordinator's, on machines that it is for.

use std::{fs, path::Path};

use dunlin_link::Digest;
use serde_json::{Value, json};

use super::{
    image::{Busybox, copy_out},
    shore::{RUNTIMES, is_there, runs_containers},
};
use crate::site::Site;

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 2\n  containers:\n  \
         - {{name: c, image: '{image}', command: [sleep, '1000']}}\n"
    )
}

/// Pushes; answers the full name that it is told.
fn push(site: &Site, file: &Path, more: &[&str]) -> String {
    site.ok(&[&["push", file.to_str().unwrap()], more].concat(), "").trim().to_owned()
}

#[test]
fn archives_are_pushed_and_run() {
    let Some(image) = Busybox::make() else { return };
    let Some(runtime) = RUNTIMES.into_iter().find(|runtime| is_there(runtime)) else { return };
    let site = Site::start();
    let mut machine = site.machine("n1", "n1");
    machine.start_agent(&["--join", &site.token(&[]), "--runtime", runtime]);
    site.wait_for_ready(&machine);
    if !runs_containers(&site, "n1") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    copy_out(&image, &format!("oci-archive:{}:r.io/team/box:1", file("oci.tar").display()));
    copy_out(&image, &format!("docker-archive:{}:r.io/team/box:1", file("docker.tar").display()));

    let oci = push(&site, &file("oci.tar"), &["team/oci:1"]);
    let again = push(&site, &file("oci.tar"), &["team/oci:1"]);
    assert!(oci.starts_with("dunlin.local/team/oci:1@sha256:") && oci == again, "{oci} {again}");
    let docker = push(&site, &file("docker.tar"), &["docker", "--image", "r.io/team/box:1"]);
    let (docker, digest) = docker.split_once('@').unwrap();
    let layout = push(&site, &image.layout(), &["dunlin.local/layout"]);
    let by_digest = format!("dunlin.local/docker@{digest}");
    for (name, image) in [
        ("oci", "dunlin.local/team/oci:1"),
        ("docker", docker),
        ("pinned", by_digest.as_str()),
        ("layout", layout.split('@').next().unwrap()),
    ] {
        site.ok(&["apply", "-f", "-"], &pod(name, image));
    }
    for name in ["oci", "docker", "pinned", "layout"] {
        site.wait_for(&["get", "pod", name, "--no-headers"], |row| row.contains("Running"));
        assert_eq!(site.ok(&["exec", name, "--", "cat", "/www/index.html"], ""), "dunlin\n", "{name}");
    }

    // For another machine alone: it is placed nowhere, until there is one for this machine, too.
    let arm = other_machine(&image.layout(), &file("arm"));
    push(&site, &file("arm"), &["web"]);
    site.ok(&["apply", "-f", "-"], &pod("web", "dunlin.local/web"));
    let told = || site.ok(&["get", "pod", "web", "-o", "jsonpath={.status.conditions}"], "");
    site.wait_for(&["get", "events"], |events| events.contains("were not of the images' platform"));
    assert!(
        told().contains("0/1 nodes are available: 1 node(s) were not of the images' platform"),
        "{}",
        told()
    );
    both(&file("arm"), &arm);
    push(&site, &file("arm"), &["web"]);
    site.wait_for(&["get", "pod", "web", "--no-headers"], |row| row.contains("Running"));

    refusals(&site, folder.path());
    site.ok(&["delete", "pod", "oci", "docker", "pinned", "layout", "web"], "");
    site.wait_for(&["get", "pods", "--no-headers"], |rows| {
        rows.trim().is_empty() || rows.contains("No resources")
    });
}

fn refusals(site: &Site, folder: &Path) {
    let check = |args: &[&str], expected: &str| {
        let answer = site.dunlin(&[&["push"], args].concat(), "");
        assert!(answer.code != 0 && answer.stderr.contains(expected), "{args:?}: {}", answer.stderr);
    };
    let file = folder.join("oci.tar");
    let archive = file.to_str().unwrap();
    check(&[archive, "a", "--image", "r.io/other"], "it has no image r.io/other:latest, but r.io/team/box:1");
    check(&[archive, "A"], "A:");
    let cut = folder.join("cut.tar");
    let whole = fs::read(&file).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    check(&[cut.to_str().unwrap(), "a"], "cut.tar");
    check(&[folder.to_str().unwrap(), "a"], "neither `index.json` nor `manifest.json`");
    // An index without one of its manifests.
    let index = folder.join("arm");
    let blobs = index.join("blobs/sha256");
    let listed: Value = serde_json::from_slice(&fs::read(index.join("index.json")).unwrap()).unwrap();
    let top = listed["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let entries: Value = serde_json::from_slice(&fs::read(blobs.join(top)).unwrap()).unwrap();
    let gone = entries["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    fs::remove_file(blobs.join(gone)).unwrap();
    check(&[index.to_str().unwrap(), "a"], "which is not in it");
}

/// Copies a layout and makes its image one for another machine; answers its descriptor and that of the image as it was.
fn other_machine(from: &Path, to: &Path) -> [Value; 2] {
    fs::create_dir_all(to.join("blobs/sha256")).unwrap();
    for blob in fs::read_dir(from.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        fs::copy(blob.path(), to.join("blobs/sha256").join(blob.file_name())).unwrap();
    }
    let listed: Value = serde_json::from_slice(&fs::read(from.join("index.json")).unwrap()).unwrap();
    let own = listed["manifests"][0].clone();
    let read = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        serde_json::from_slice(&fs::read(to.join("blobs").join(digest)).unwrap()).unwrap()
    };
    let mut manifest = read(&own);
    let mut config = read(&manifest["config"]);
    config["architecture"] = "s390x".into();
    manifest["config"] = add(to, "application/vnd.oci.image.config.v1+json", &config);
    let other = add(to, "application/vnd.oci.image.manifest.v1+json", &manifest);
    list(to, &other);
    [other, own]
}

/// Makes the layout's image an index of both.
fn both(layout: &Path, [other, own]: &[Value; 2]) {
    let machine = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let entry = |descriptor: &Value, architecture: &str| {
        let mut entry = descriptor.clone();
        entry.as_object_mut().unwrap().remove("annotations");
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let manifests = [entry(other, "s390x"), entry(own, machine)];
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = add(
        layout,
        media_type,
        &json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests }),
    );
    list(layout, &index);
}

fn list(layout: &Path, image: &Value) {
    let index = json!({ "schemaVersion": 2, "manifests": [image] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

fn add(layout: &Path, media_type: &str, content: &Value) -> Value {
    let text = content.to_string();
    let digest = Digest::of(text.as_bytes());
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &text).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": text.len() })
}
