//! Tools push to the coordinator and pull from it, as far as roles let them; pods run what they pushed.

use std::{fs, path::Path, process::Command};

use super::programs::{Layout, is_installed, skopeo};
use crate::{cluster::workloads, pods::pod, site::Site};

const ROLES: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pushes}
rules: [{nonResourceURLs: ['/v2/team/*'], verbs: [get, put, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pushes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pushes}
subjects: [{kind: ServiceAccount, name: builder, namespace: default}]
";

#[test]
fn images_are_pushed_and_pulled_by_tools_and_run() {
    if !is_installed("skopeo") {
        return;
    }
    let site = Site::start();
    let _machine = site.join("n1", &site.token(&[]));
    let token = builder(&site);
    let certificates = site.data().join("certs.d");
    fs::create_dir(&certificates).unwrap();
    fs::write(certificates.join("ca.crt"), authority(&site)).unwrap();
    let (login, certificates) = (format!("any:{token}"), certificates.display().to_string());
    let to = |name: &str| format!("docker://{}/{name}", site.address());
    let dest = ["--dest-creds", &login, "--dest-cert-dir", &certificates];
    let source = ["--creds", &login, "--cert-dir", &certificates];

    let ticker = Layout::of("ticker");
    let pushed = ticker.push(&to("team/ticker:1"), &dest);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    // A second tag takes over what is there.
    let pushed = ticker.push(&to("team/other:2"), &dest);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    for (name, options) in [
        ("team/ticker:2", vec!["--dest-cert-dir", &certificates]),
        ("team/ticker:2", vec!["--dest-cert-dir", &certificates, "--dest-creds", "any:wrong"]),
        ("others/ticker:1", dest.to_vec()),
    ] {
        let refused = ticker.push(&to(name), &options);
        assert!(!refused.status.success(), "{name} {options:?}");
    }

    site.ok(&["apply", "-f", "-"], &pod("ticks", "Always", "image: 'dunlin.local/team/ticker:1'"));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));

    // What `dunlin push` stored is an image, too, and can be copied away.
    let file = workloads().join("hello.wasm");
    site.ok(&["push", file.to_str().unwrap(), "team/hello:1"], "");
    let raw = skopeo(&[&["inspect", "--raw"], source.as_slice(), &[&to("team/hello:1")]].concat());
    let text = String::from_utf8(raw.stdout).unwrap();
    let module = dunlin_link::Digest::of(&fs::read(&file).unwrap()).to_string();
    assert!(raw.status.success() && text.contains(&module), "{text}{}", String::from_utf8_lossy(&raw.stderr));
    let copy = tempfile::tempdir().unwrap();
    let from = ["--src-creds", &login, "--src-cert-dir", &certificates];
    for name in ["team/hello:1", "team/ticker:1"] {
        let to_folder = format!("oci:{}:it", copy.path().join(name.replace(['/', ':'], "-")).display());
        let copied = skopeo(&[&["copy", "--quiet"], from.as_slice(), &[&to(name), &to_folder]].concat());
        assert!(copied.status.success(), "{name}: {}", String::from_utf8_lossy(&copied.stderr));
    }
    let copied = copy.path().join("team-ticker-1/blobs").join(ticker.digest.replace(':', "/"));
    assert!(copied.is_file(), "{}", copied.display());

    let tags = skopeo(&[&["list-tags"], source.as_slice(), &[&to("team/hello")]].concat());
    assert!(String::from_utf8_lossy(&tags.stdout).contains("\"1\""), "{tags:?}");
    let deleted = skopeo(&[&["delete"], source.as_slice(), &[&to("team/other:2")]].concat());
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let gone = skopeo(&[&["inspect", "--raw"], source.as_slice(), &[&to("team/other:2")]].concat());
    assert!(!gone.status.success());
}

#[test]
fn oras_makes_its_round_and_what_it_pushed_runs() {
    let library = workloads().parent().unwrap().join("clients/oras");
    if !library.join(".complete").is_file() {
        println!("SKIPPED: ORAS is not there; `cargo xtask packages` installs it");
        return;
    }
    let site = Site::start();
    let _machine = site.join("n1", &site.token(&[]));
    let authority_file = site.data().join("authority.pem");
    fs::write(&authority_file, authority(&site)).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/oras/round.py");
    let module = workloads().join("ticker.wasm");
    let mut command = Command::new("python3");
    command.arg(program).arg(site.address()).arg(module).env("PYTHONPATH", library);
    command.env("DUNLIN_TOKEN", builder(&site)).env("REQUESTS_CA_BUNDLE", authority_file);
    let round = command.env("HOME", site.data()).output().unwrap();
    assert!(round.status.success(), "{}", String::from_utf8_lossy(&round.stderr));
    site.ok(&["apply", "-f", "-"], &pod("ticks", "Always", "image: 'dunlin.local/team/oras:pieces'"));
    site.wait_for(&["get", "pod", "ticks", "--no-headers"], |row| row.contains("Running"));
}

/// Makes an account that may push and pull below `team/`; answers a token of it.
pub(crate) fn builder(site: &Site) -> String {
    site.ok(&["create", "serviceaccount", "builder"], "");
    site.ok(&["apply", "-f", "-"], ROLES);
    site.ok(&["create", "token", "builder"], "").trim().to_owned()
}

/// The authority of the cluster's certificates, as an administrator has it.
pub(crate) fn authority(site: &Site) -> Vec<u8> {
    use base64::Engine as _;
    let config = fs::read_to_string(site.config()).unwrap();
    let encoded =
        config.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data: ")).unwrap();
    base64::engine::general_purpose::STANDARD.decode(encoded.trim_matches(['"', '\''])).unwrap()
}
