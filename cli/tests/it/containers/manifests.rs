//! `manifests/containers` as it lies, with an image that comes in an archive.

use std::path::Path;

use super::{image::archive, shore::Shore};
use crate::cluster::wait_until;

#[test]
fn the_manifests_run_by_an_image_of_an_archive() {
    let Some(shore) = Shore::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("busybox.tar").display().to_string();
    archive(&shore.image, &format!("{file}:busybox:1"));
    for node in &shore.nodes {
        shore.site.ok(&["image", "import", "--state", node.state.to_str().unwrap(), &file], "");
    }
    let dunlin = |words: &[&str]| shore.site.ok(&[&["-n", "by-hand"], words].concat(), "");
    dunlin(&["create", "namespace", "by-hand"]);
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/containers");
    let manifests = manifests.to_str().unwrap();
    dunlin(&["apply", "-f", manifests]);
    dunlin(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    dunlin(&["wait", "--for=condition=Ready", "pod/mixed", "--timeout=60s"]);
    wait_until("the component's answer is in the log and in the volume", || {
        let told = [
            &["logs", "mixed", "-c", "asks"][..],
            &["exec", "mixed", "-c", "asks", "--", "cat", "/answers/log"],
        ]
        .map(|words| shore.site.dunlin(&[&["-n", "by-hand"], words].concat(), "").stdout);
        if told.iter().all(|told| told.contains("hello from pod")) { Ok(()) } else { Err(told.concat()) }
    });
    dunlin(&["delete", "-f", manifests]);
}
