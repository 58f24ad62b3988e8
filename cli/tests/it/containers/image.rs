//! An image of Debian's busybox, put together by umoci as anybody would, without a daemon.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use super::shore::skipped;
use crate::registries::programs::{Registry, is_installed, skopeo};

/// Makes the image and pushes it; its full name, or `None`, said aloud, where a program is missing.
pub(super) fn push_busybox(registry: &Registry, name: &str) -> Option<String> {
    if !is_installed("umoci") {
        return None;
    }
    if !Path::new(BUSYBOX).exists() {
        skipped(&format!("`{BUSYBOX}` is not there (Debian package busybox-static)"));
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (layout, bundle) = (path("layout"), path("bundle"));
    let image = format!("{layout}:it");
    umoci(&["init", "--layout", &layout]);
    umoci(&["new", "--image", &image]);
    umoci(&["unpack", "--rootless", "--image", &image, &bundle]);
    fill(&folder.path().join("bundle/rootfs"));
    umoci(&["repack", "--image", &image, &bundle]);
    umoci(&["config", "--image", &image, "--config.cmd", "sh", "--config.env", "PATH=/bin"]);
    let full = format!("{}/{name}", registry.address);
    let options = ["copy", "--quiet", "--dest-tls-verify=false", "--dest-creds", "gull:tideline"];
    let pushed =
        skopeo(&[options.as_slice(), &[&format!("oci:{image}"), &format!("docker://{full}")]].concat());
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    Some(full)
}

/// Takes an image of the registry out into an archive, `FILE:NAME`.
pub(super) fn archive(image: &str, to: &str) {
    let options = ["copy", "--quiet", "--src-tls-verify=false", "--src-creds", "gull:tideline"];
    let (from, to) = (format!("docker://{image}"), format!("oci-archive:{to}"));
    let copied = skopeo(&[options.as_slice(), &[&from, &to]].concat());
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

/// A root file system in which a shell finds what it needs.
fn fill(root: &Path) {
    for folder in ["bin", "etc", "tmp", "var", "www"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    let listed = Command::new(BUSYBOX).arg("--list").output().unwrap();
    for applet in String::from_utf8(listed.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\ngull:x:1000:1000:gull:/:/bin/sh\n")
        .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\ngull:x:1000:\nbirds:x:500:gull\n").unwrap();
    fs::write(root.join("www/index.html"), "dunlin\n").unwrap();
}

fn umoci(args: &[&str]) {
    let output = Command::new("umoci").args(args).output().unwrap();
    assert!(output.status.success(), "umoci {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Of the package busybox-static.
const BUSYBOX: &str = "/bin/busybox";
