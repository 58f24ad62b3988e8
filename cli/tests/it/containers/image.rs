//! An image of Debian's busybox, put together by umoci as anybody would, without a daemon.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::shore::skipped;
use crate::registries::programs::{Registry, is_installed, skopeo};

/// The image in a folder.
pub(super) struct Busybox {
    folder: tempfile::TempDir,
}

impl Busybox {
    /// Makes it; `None`, said aloud, where a program is missing.
    pub(super) fn make() -> Option<Self> {
        if !is_installed("umoci") || !is_installed("skopeo") {
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            skipped(&format!("`{BUSYBOX}` is not there (Debian package busybox-static)"));
            return None;
        }
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let path = |name: &str| made.folder.path().join(name).display().to_string();
        let (layout, bundle, image) = (path("layout"), path("bundle"), made.image());
        umoci(&["init", "--layout", &layout]);
        umoci(&["new", "--image", &image]);
        umoci(&["unpack", "--rootless", "--image", &image, &bundle]);
        fill(&made.folder.path().join("bundle/rootfs"));
        umoci(&["repack", "--image", &image, &bundle]);
        umoci(&["config", "--image", &image, "--config.cmd", "sh", "--config.env", "PATH=/bin"]);
        Some(made)
    }

    /// Has it pushed; `to` is a host and a name.
    pub(super) fn push(&self, to: &str, options: &[&str]) {
        let (from, to) = (format!("oci:{}", self.image()), format!("docker://{to}"));
        let pushed = skopeo(&[&["copy", "--quiet"], options, &[&from, &to]].concat());
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// The folder in OCI's layout.
    pub(super) fn layout(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    fn image(&self) -> String {
        format!("{}:it", self.folder.path().join("layout").display())
    }
}

/// Makes the image and pushes it to a registry; its full name, or `None`, said aloud, where a program is missing.
pub(super) fn push_busybox(registry: &Registry, name: &str) -> Option<String> {
    let full = format!("{}/{name}", registry.address);
    Busybox::make()?.push(&full, &["--dest-tls-verify=false", "--dest-creds", "gull:tideline"]);
    Some(full)
}

/// Copies the image to where `to` says, in skopeo's words.
pub(super) fn copy_out(image: &Busybox, to: &str) {
    let copied = skopeo(&["copy", "--quiet", &format!("oci:{}", image.image()), to]);
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
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
