//! What an installation needs: the script, into a card's root folder; the files that stand for themselves; and `doctor`.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    cluster::BINARY,
    site::{Process, Site},
};

/// The folder of the repository that a person copies beside the binary.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/install")
}

fn script(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.arg(folder().join("install.sh")).args(args).arg("--root").arg(root);
    command.output().unwrap()
}

#[track_caller]
fn installs(root: &Path, args: &[&str]) {
    let output = script(root, &[args, &["--binary", BINARY]].concat());
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
fn refuses(root: &Path, args: &[&str], expected: &str) {
    let before = files(root);
    let output = script(root, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(expected), "{output:?}");
    assert_eq!(files(root), before);
}

/// Everything in a folder that is not a folder itself.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path());
        }
    }
    found
}

#[test]
fn an_installed_card_becomes_a_node_and_nothing_is_left_of_it() {
    let site = Site::start();
    let token = site.token(&["--uses=1"]);
    let card = tempfile::tempdir().unwrap();
    let root = card.path();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/hostname"), "card\n").unwrap();
    let before = files(root);

    refuses(root, &["node", "--binary", BINARY], "--join TOKEN");
    refuses(root, &["node", "--join", "a'b"], "quotes");
    refuses(root, &["node", "--join", "x", "--binary", "/nowhere"], "no binary");
    refuses(root, &["node", "--join", "garbage", "--binary", BINARY], "no join token");
    refuses(root, &["node", "--join", &format!("{token} x"), "--binary", BINARY], "no join token");
    let (id, _) = token.split_at(17);
    refuses(root, &["node", "--join", id, "--binary", BINARY], "no join token");
    refuses(root, &["knot"], "Usage");

    installs(root, &["coordinator"]);
    let address = site.address();
    let labels = ["--name", "card-{hostname}", "--label", "site=harbour", "--label", "kind=card"];
    installs(root, &[&["node", "--join", &token, "--coordinator", &address], labels.as_slice()].concat());
    let secret = root.join("etc/dunlin/join-token");
    refuses(root, &["node", "--join", "garbage", "--binary", BINARY], "no join token");
    assert_eq!(fs::read_to_string(&secret).unwrap().trim(), token, "a good token stays");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    for unit in
        ["dunlin-coordinator.service", "dunlin-edge-node.service", "dunlin-edge-node-shutdown.service"]
    {
        let wanted = root.join("etc/systemd/system/multi-user.target.wants").join(unit);
        assert_eq!(fs::read_link(wanted).unwrap(), Path::new("/etc/systemd/system").join(unit));
        let text = fs::read_to_string(root.join("etc/systemd/system").join(unit)).unwrap();
        assert!(
            text.contains("=/usr/local/bin/dunlin ") || text.contains("=-/usr/local/bin/dunlin "),
            "{text}"
        );
    }
    // Again is the same.
    let installed = files(root);
    let config = fs::read(root.join("etc/dunlin/config.yaml")).unwrap();
    installs(root, &["node", "--join", &token]);
    assert_eq!(files(root), installed);
    assert_eq!(fs::read(root.join("etc/dunlin/config.yaml")).unwrap(), config);

    // What the unit would start on the card's own machine.
    let mut command = Command::new(root.join("usr/local/bin/dunlin"));
    command.args(["edge-node", "--loopback", "42", "--address-blocks", "1000"]);
    command.arg("--config-file").arg(root.join("etc/dunlin/config.yaml")).arg("--join-file").arg(&secret);
    command.arg("--state-dir").arg(root.join("var/lib/dunlin/node"));
    let log = tempfile::NamedTempFile::new().unwrap();
    let node = Process::spawn(command, log.path());
    let row = site.wait_for(&["get", "nodes", "-l", "site=harbour,kind=card", "--no-headers"], |rows| {
        rows.contains(" Ready")
    });
    assert!(row.starts_with("card-"), "{row}");
    drop(node);

    // Keeping the state keeps the identity: no token is needed the next time.
    assert!(script(root, &["uninstall", "--keep-state"]).status.success());
    assert!(root.join("var/lib/dunlin/node/identity").is_dir());
    let config = fs::read_to_string(root.join("etc/dunlin/config.yaml")).unwrap();
    assert!(config.contains("card-{hostname}"), "the configuration is kept along with it: {config}");
    installs(root, &["node"]);
    assert!(script(root, &["uninstall"]).status.success());
    assert_eq!(files(root), before);
    assert!(!root.join("var/lib/dunlin").exists() && !root.join("etc/dunlin").exists());
}

/// A unit of a first start, of a slow card or of a far coordinator must not be ended by systemd's 90 s, and started over for ever.
#[test]
fn units_that_tell_when_they_are_ready_have_all_the_time_for_it() {
    let units: Vec<_> = files(&folder())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "service"))
        .collect();
    assert_eq!(units.len(), 3, "{units:?}");
    for unit in units {
        let text = fs::read_to_string(&unit).unwrap();
        if text.contains("\nType=oneshot\n") {
            // It waits for nothing when it starts.
            continue;
        }
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(has("Type=notify") && has("TimeoutStartSec=infinity"), "{}: {text}", unit.display());
    }
}

#[test]
fn the_examples_are_what_the_binary_takes() {
    for (file, refusal) in [("config.yaml", "join-token"), ("dunlin.yaml", "join token")] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(BINARY);
        command.arg("edge-node").arg("--config-file").arg(folder().join(file));
        // Of all that the example says only these cannot hold on any machine.
        command.args(["--node-name", "x"]).arg("--state-dir").arg(dir.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(refusal), "{file}: {said}");
        assert_eq!(output.status.code(), Some(1), "{file}: {said}");
    }
}

#[test]
fn doctor_looks_at_this_machine() {
    let run = |args: &[&str]| {
        let output = Command::new(BINARY).arg("doctor").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&[]);
    assert!(text.contains("memory cgroup") && text.contains("state folder"), "{text}");
    assert_eq!(code, Some(i32::from(!text.contains("\n0 problems,"))), "{text}");

    let (code, text) = run(&["--state-dir", "/proc/here", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(document["findings"].as_array().unwrap().len() > 5, "{text}");
    // Nothing can be kept there.
    let (_, shm) = run(&["--state-dir", "/dev/shm/dunlin"]);
    assert!(!shm.contains("/dev/shm") || shm.contains("gone after a reboot"), "{shm}");
    assert!(code.is_some());
}
