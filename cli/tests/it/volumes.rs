//! Volumes, as guests see them: from a manifest through coordinator, link, node and runner to a component that reads and writes.

use std::path::{Path, PathBuf};

use crate::{
    cluster::{Namespace, wait_until},
    site::Site,
};

/// A pod that waits, with these volumes and mounts.
fn files(name: &str, volumes: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: shelf}}}}\nspec:\n  restartPolicy: Never\n  \
         terminationGracePeriodSeconds: 0\n  volumes: [{volumes}]\n  \
         containers: [{{name: main, image: dunlin.local/files, {container}}}]\n"
    )
}

impl Namespace {
    /// What a further instance of the guest prints, or says was wrong.
    fn files(&self, pod: &str, words: &[&str]) -> Result<String, String> {
        let answer = self.dunlin(&[&["exec", pod, "--", "files"], words].concat());
        if answer.code == 0 { Ok(answer.stdout) } else { Err(answer.stderr) }
    }

    fn runs_files(&self, name: &str, volumes: &str, container: &str) {
        self.apply(&files(name, volumes, container));
        self.wait_for_status(name, "Running");
    }

    fn create(&self, args: &[&str]) {
        let answer = self.dunlin(&[&["create"], args].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
    }
}

#[test]
fn a_guest_reads_what_objects_hold_and_sees_it_change_at_once() {
    let namespace = Namespace::new();
    namespace.create(&[
        "configmap",
        "settings",
        "--from-literal=colour=red",
        "--from-literal=size=2",
        "--from-literal=old=x",
    ]);
    namespace.create(&["secret", "generic", "keys", "--from-literal=token=hush"]);
    let volumes = "{name: c, configMap: {name: settings}}, {name: s, secret: {secretName: keys, items: [{key: token, path: deep/t}]}}, \
                   {name: p, projected: {sources: [{configMap: {name: settings, items: [{key: size, path: size}]}}, \
                   {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}, \
                   {secret: {name: none, optional: true}}]}}";
    let mounts = "volumeMounts: [{name: c, mountPath: /c}, {name: s, mountPath: /s}, {name: p, mountPath: /p}, \
                  {name: c, mountPath: /etc/app/colour, subPath: colour}]";
    namespace.runs_files("shelf", volumes, mounts);
    let read = |path: &str| namespace.files("shelf", &["read", path]);
    assert_eq!(read("/c/colour").unwrap(), "red");
    assert_eq!(read("/s/deep/t").unwrap(), "hush");
    assert_eq!(read("/p/size").unwrap(), "2");
    assert_eq!(read("/p/labels").unwrap(), "app=\"shelf\"");
    assert_eq!(read("/etc/app/colour").unwrap(), "red");
    assert_eq!(namespace.files("shelf", &["list", "/etc/app"]).unwrap().trim(), "colour");
    for refused in [["write", "/c/colour", "x"], ["write", "/p/new", "x"], ["link", "/etc", "/s/out"]] {
        assert!(namespace.files("shelf", &refused).is_err(), "{refused:?}");
    }
    let patch = r#"{"data": {"colour": "blue", "old": null, "shape": "round"}}"#;
    let patched = namespace.dunlin(&["patch", "configmap", "settings", "--type=merge", "-p", patch]);
    assert_eq!(patched.code, 0, "{patched:?}");
    wait_until("the new files", || match read("/c/shape") {
        Ok(shape) if shape == "round" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(read("/c/colour").unwrap(), "blue");
    assert!(read("/c/old").is_err());
    assert_eq!(read("/etc/app/colour").unwrap(), "red", "a part does not follow, as in Kubernetes");
    let labelled = namespace.dunlin(&["label", "pod", "shelf", "row=2"]);
    assert_eq!(labelled.code, 0, "{labelled:?}");
    wait_until("the new label", || match read("/p/labels") {
        Ok(labels) if labels == "app=\"shelf\"\nrow=\"2\"" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_guest_has_the_token_of_its_account() {
    let namespace = Namespace::new();
    namespace.runs_files("caller", "", "env: []");
    let read = |name: &str| {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{name}");
        namespace.files("caller", &["read", &path]).unwrap()
    };
    assert_eq!(read("namespace"), namespace.name);
    assert!(read("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(read("token").split('.').count(), 3);
}

/// Files below a folder that hold these bytes. Some may go while this looks.
fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let mut windows = bytes.windows(needle.len());
                found.extend(windows.any(|window| window == needle.as_bytes()).then_some(path));
            }
        }
    }
    found
}

#[test]
fn no_part_of_a_secret_reaches_the_disk() {
    let site = Site::start();
    site.push("files");
    let machine = site.join("shelf", &site.token(&[]));
    let secret = format!("hush-{}", std::process::id());
    site.ok(&["create", "secret", "generic", "keys", &format!("--from-literal=key={secret}")], "");
    let volumes = "{name: s, secret: {secretName: keys, items: [{key: key, path: key}, {key: key, path: deep/key}]}}, \
                   {name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}";
    let mounts = "volumeMounts: [{name: s, mountPath: /etc/app/key, subPath: key}, {name: s, mountPath: /deep, subPath: deep}, \
                  {name: s, mountPath: /dev/key, subPath: key}, {name: t, mountPath: /run/token, subPath: token}]";
    site.ok(&["apply", "-f", "-"], &files("shelf", volumes, mounts));
    site.wait_for(&["get", "pod", "shelf", "--no-headers"], |row| row.contains("Running"));
    let read = |path: &str| site.ok(&["exec", "shelf", "--", "files", "read", path], "");
    for path in ["/etc/app/key", "/deep/key", "/dev/key"] {
        assert_eq!(read(path), secret, "{path}");
    }
    let signature = read("/run/token").rsplit('.').next().unwrap().to_owned();
    assert!(signature.len() > 40, "{signature}");
    let on_disk = |needle: &str| files_with(&machine.state, needle);
    let in_memory = |needle: &str| files_with(Path::new("/dev/shm"), needle);
    for needle in [&secret, &signature] {
        assert_eq!(on_disk(needle), Vec::<PathBuf>::new());
        assert!(!in_memory(needle).is_empty(), "this looks for what is somewhere");
    }
    site.ok(&["delete", "pod", "shelf"], "");
    for needle in [&secret, &signature] {
        assert_eq!((on_disk(needle), in_memory(needle)), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_guest_keeps_files_over_its_runs_and_shares_them_with_its_pod() {
    let namespace = Namespace::new();
    let volumes = "{name: e, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}";
    let first = "volumeMounts: [{name: e, mountPath: /e}, {name: m, mountPath: /m}, {name: e, mountPath: /sub, subPath: a/b}]";
    let manifest = files("shelf", volumes, first).replace(
        "containers: [",
        "initContainers: [{name: fill, image: dunlin.local/files, command: [files, write, /e/made, by-init], \
         volumeMounts: [{name: e, mountPath: /e}]}]\n  containers: [{name: looks, image: dunlin.local/files, \
         volumeMounts: [{name: e, mountPath: /e, readOnly: true}]}, ",
    );
    namespace.apply(&manifest);
    namespace.wait_for_status("shelf", "Running");
    let main = |words: &[&str]| {
        let answer = namespace.dunlin(&[&["exec", "shelf", "-c", "main", "--", "files"], words].concat());
        if answer.code == 0 { Ok(answer.stdout) } else { Err(answer.stderr) }
    };
    let looks = |words: &[&str]| {
        let answer = namespace.dunlin(&[&["exec", "shelf", "-c", "looks", "--", "files"], words].concat());
        if answer.code == 0 { Ok(answer.stdout) } else { Err(answer.stderr) }
    };
    assert_eq!(main(&["read", "/e/made"]).unwrap(), "by-init");
    main(&["write", "/m/x", "1"]).unwrap();
    main(&["write", "/sub/y", "2"]).unwrap();
    assert_eq!(looks(&["read", "/e/a/b/y"]).unwrap(), "2");
    assert!(looks(&["write", "/e/z", "x"]).is_err());
    // No way out: neither by `..`, nor by a link, nor to what nobody mounted.
    for way in ["/e/../../etc/hostname", "/etc/hostname", "/dev/../etc/hostname"] {
        assert!(main(&["read", way]).is_err(), "{way}");
    }
    drop(main(&["link", "/etc", "/e/out"]));
    assert!(main(&["read", "/e/out/hostname"]).is_err());
    assert_eq!(main(&["list", "/dev"]).unwrap().trim(), "termination-log");
}

#[test]
fn what_a_guest_leaves_as_its_last_words_is_in_its_status() {
    let namespace = Namespace::new();
    let message = |name: &str| {
        let path = "jsonpath={.status.containerStatuses[0].state.terminated.message}";
        namespace.wait_for_status(name, "Error");
        namespace.dunlin(&["get", "pod", name, "-o", path]).stdout
    };
    let said = "command: [files, last-words, /dev/termination-log, no coffee]";
    namespace.apply(&files("usual", "", said));
    assert_eq!(message("usual"), "no coffee");
    let elsewhere = "terminationMessagePath: /run/why, command: [files, last-words, /run/why, no tea]";
    let applied = namespace.dunlin_with(&["apply", "-f", "-"], &files("elsewhere", "", elsewhere));
    assert!(!applied.stderr.contains("terminationMessagePath"), "{applied:?}");
    assert_eq!(message("elsewhere"), "no tea");
    let log = "terminationMessagePolicy: FallbackToLogsOnError, command: [files, read, /none]";
    namespace.apply(&files("log", "", log));
    let from_log = message("log");
    assert!(from_log.starts_with("read /none: "), "{from_log}");
}

#[test]
fn a_pod_waits_for_what_its_volumes_need_and_says_so() {
    let namespace = Namespace::new();
    namespace.apply(&files(
        "shelf",
        "{name: c, configMap: {name: late}}",
        "volumeMounts: [{name: c, mountPath: /c}]",
    ));
    let told = || namespace.dunlin(&["describe", "pod", "shelf"]).stdout;
    wait_until("the event", || {
        let text = told();
        let expected = "MountVolume.SetUp failed for volume \"c\" : configmap \"late\" not found";
        if text.contains("FailedMount") && text.contains(expected) { Ok(()) } else { Err(text) }
    });
    namespace.wait_for_status("shelf", "ContainerCreating");
    namespace.create(&["configmap", "late", "--from-literal=k=v"]);
    namespace.wait_for_status("shelf", "Running");
    assert_eq!(namespace.files("shelf", &["read", "/c/k"]).unwrap(), "v");
}

#[test]
fn folders_and_files_of_the_machine_are_mounted_as_their_type_says() {
    let namespace = Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    std::fs::write(dir.path().join("conf"), "one").unwrap();
    let volumes = format!(
        "{{name: d, hostPath: {{path: {root}/made, type: DirectoryOrCreate}}}}, {{name: f, hostPath: {{path: {root}/conf, type: File}}}}"
    );
    let mounts =
        "volumeMounts: [{name: d, mountPath: /data}, {name: f, mountPath: /etc/conf, readOnly: true}]";
    namespace.runs_files("shelf", &volumes, mounts);
    namespace.files("shelf", &["write", "/data/x", "from the guest"]).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("made/x")).unwrap(), "from the guest");
    assert_eq!(namespace.files("shelf", &["read", "/etc/conf"]).unwrap(), "one");
    assert!(namespace.files("shelf", &["write", "/etc/conf", "two"]).is_err());
    let wrong = format!("{{name: d, hostPath: {{path: {root}/conf, type: Directory}}}}");
    namespace.apply(&files("wrong", &wrong, "volumeMounts: [{name: d, mountPath: /d}]"));
    wait_until("the event", || {
        let text = namespace.dunlin(&["describe", "pod", "wrong"]).stdout;
        let expected = format!("hostPath type check failed: {root}/conf is not a directory");
        if text.contains(&expected) { Ok(()) } else { Err(text) }
    });
}

#[test]
fn a_pod_that_fills_a_bounded_volume_is_evicted_and_leaves_nothing() {
    let site = Site::start();
    site.push("files");
    let token = site.token(&[]);
    let machine = site.join("shelf", &token);
    let volumes = "{name: e, emptyDir: {sizeLimit: 64Ki}}";
    let manifest = files("full", volumes, "volumeMounts: [{name: e, mountPath: /e}]");
    site.ok(&["apply", "-f", "-"], &manifest);
    site.wait_for(&["get", "pod", "full", "--no-headers"], |row| row.contains("Running"));
    let text = "x".repeat(40_000);
    for name in ["/e/a", "/e/b"] {
        site.ok(&["exec", "full", "--", "files", "write", name, &text], "");
    }
    site.wait_for(&["get", "pod", "full", "-o", "jsonpath={.status.reason}: {.status.message}"], |status| {
        status == "Evicted: Usage of EmptyDir volume \"e\" exceeds the limit \"64Ki\". "
    });
    wait_until("nothing left", || {
        let left = std::fs::read_dir(machine.state.join("volumes")).unwrap().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} folders")) }
    });
}
