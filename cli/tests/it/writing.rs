//! The ways to change objects: apply with what others manage, diff, edit, patch and replace.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::cluster::{Answer, Namespace, run_with};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n";

fn config(data: &str) -> String {
    format!("{CONFIG}data: {{{data}}}\n")
}

impl Namespace {
    fn apply_with(&self, options: &[&str], manifest: &str) -> Answer {
        self.dunlin_with(&[&["apply", "-f", "-"], options].concat(), manifest)
    }

    fn data(&self) -> String {
        self.ok(&["get", "cm", "cm", "-o", "jsonpath={.data}"])
    }

    /// Runs a command with an editor that runs a script of sed.
    fn edit(&self, script: &str, args: &[&str]) -> Answer {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edit.sed");
        fs::write(&file, script).unwrap();
        let editor = format!("sed -i -f {}", file.display());
        let variables = [("KUBE_EDITOR", editor.as_str()), ("TMPDIR", dir.path().to_str().unwrap())];
        let mut answer = run_with(
            &[&["-n", &self.name], args].concat(),
            "",
            dir.path(),
            &self.cluster.config(),
            &variables,
        );
        answer.stderr.push_str(&kept(dir.path()));
        answer
    }
}

/// What an edit left behind.
fn kept(dir: &Path) -> String {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let drafts = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("dunlin-edit-"));
    drafts
        .map(|path| {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            format!("[kept] {}", fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn a_conflict_names_manager_field_and_values() {
    let namespace = Namespace::new();
    namespace.apply(&config("a: \"1\", b: \"1\""));
    namespace.ok(&["patch", "cm", "cm", "--type=merge", "--field-manager=tuner", "-p", "data: {a: \"2\"}"]);
    let refused = namespace.apply_with(&[], &config("a: \"3\", b: \"3\""));
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
    for part in [
        "cannot apply configmap/cm (\"STDIN\", document 1, line 1): 1 field has another manager",
        "managed by \"tuner\" using v1:\n    .data.a is \"2\", the manifest says \"3\"",
        "--force-conflicts",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(namespace.data(), r#"{"a":"2","b":"1"}"#, "nothing of it is applied");
    // Whoever writes the same value shares the field, whoever leaves it out gives it up.
    assert_eq!(namespace.apply(&config("a: \"2\", b: \"3\"")), "configmap/cm configured\n");
    assert_eq!(namespace.apply(&config("b: \"3\"")), "configmap/cm unchanged\n");
    assert_eq!(namespace.data(), r#"{"a":"2","b":"3"}"#);
    let forced = namespace.apply_with(&["--force-conflicts"], &config("a: \"4\""));
    assert_eq!((forced.code, forced.stdout.as_str()), (0, "configmap/cm configured\n"), "{forced:?}");
    assert_eq!(namespace.data(), r#"{"a":"4"}"#);
    for usage in [&["--server-side=false"][..], &["--dry-run=client"]] {
        assert_eq!(namespace.apply_with(usage, CONFIG).code, 64, "{usage:?}");
    }
    assert_eq!(
        namespace.apply_with(&["--server-side"], &config("a: \"4\"")).stdout,
        "configmap/cm unchanged\n"
    );
}

#[test]
fn what_was_created_is_taken_over() {
    let namespace = Namespace::new();
    namespace.dunlin_with(&["create", "-f", "-"], &config("a: \"1\", b: \"1\""));
    let dry = namespace.apply_with(&["--dry-run=server"], &config("a: \"2\""));
    assert_eq!((dry.code, dry.stdout.as_str()), (0, "configmap/cm configured (server dry run)\n"), "{dry:?}");
    let first = namespace.apply_with(&[], &config("a: \"2\""));
    assert_eq!((first.code, first.stdout.as_str()), (0, "configmap/cm configured\n"), "{first:?}");
    assert!(first.stderr.contains("was not made by apply"), "{first:?}");
    assert_eq!(namespace.data(), r#"{"a":"2","b":"1"}"#);
    // From then on what leaves the manifest leaves the object.
    namespace.apply(&config("a: \"2\", b: \"1\""));
    let second = namespace.apply_with(&[], &config("c: \"3\""));
    assert_eq!((second.code, second.stderr.as_str()), (0, ""), "{second:?}");
    assert_eq!(namespace.data(), r#"{"c":"3"}"#);
}

#[test]
fn what_the_client_applied_is_gone_on_with() {
    let namespace = Namespace::new();
    // As kubectl's client-side apply leaves it.
    let applied = r#"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cm\"},\"data\":{\"a\":\"1\",\"b\":\"1\"}}"#;
    let patch = format!(
        r#"{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{applied}"}}}},"data":{{"a":"1","b":"1"}}}}"#
    );
    namespace.dunlin_with(&["create", "-f", "-"], &config("a: \"0\""));
    namespace.ok(&["patch", "cm", "cm", "--field-manager=kubectl-client-side-apply", "-p", &patch]);
    let dry = namespace.apply_with(&["--dry-run=server"], &config("a: \"2\""));
    assert!(dry.code == 0 && dry.stderr.contains("is not shown by a dry run"), "{dry:?}");
    assert_eq!(namespace.apply(&config("a: \"2\"")), "configmap/cm configured\n");
    assert_eq!(namespace.data(), r#"{"a":"2"}"#);
    let managers = namespace.ok(&[
        "get",
        "cm",
        "cm",
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[*].manager}",
    ]);
    assert!(!managers.contains("client-side"), "{managers}");
    // A client-side apply later on still knows what was applied last.
    let kept = namespace.ok(&["get", "cm", "cm", "-o", "jsonpath={.metadata.annotations}"]);
    assert!(kept.contains(r#"\"data\":{\"a\":\"2\"}"#), "{kept}");
}

#[test]
fn who_applies_under_another_name_takes_over_nothing() {
    let namespace = Namespace::new();
    namespace.dunlin_with(&["create", "-f", "-"], &config("a: \"1\""));
    let refused = namespace.apply_with(&["--field-manager=me"], &config("a: \"2\""));
    assert!(refused.code == 1 && refused.stderr.contains("kubectl-create"), "{refused:?}");
    assert_eq!(namespace.data(), r#"{"a":"1"}"#);
}

#[test]
fn a_difference_is_shown_and_nothing_done() {
    let namespace = Namespace::new();
    let diff = |manifest: &str| namespace.dunlin_with(&["diff", "-f", "-"], manifest);
    let new = diff(&config("a: \"1\""));
    assert!(new.code == 1 && new.stdout.contains("+data:\n+  a: \"1\"\n"), "{new:?}");
    namespace.apply(&config("a: \"1\""));
    let same = diff(&config("a: \"1\""));
    assert_eq!((same.code, same.stdout.as_str(), same.stderr.as_str()), (0, "", ""));
    let other = diff(&config("a: \"2\""));
    let name = format!("v1.ConfigMap.{}.cm", namespace.name);
    let expected = format!(
        "--- live/{name}\n+++ applied/{name}\n@@ -1,6 +1,6 @@\n apiVersion: v1\n data:\n-  a: \"1\"\n+  a: \"2\"\n kind: ConfigMap\n"
    );
    assert!(other.code == 1 && other.stdout.starts_with(&expected), "{other:?}");
    namespace.ok(&["patch", "cm", "cm", "--field-manager=tuner", "-p", "data: {a: \"9\"}"]);
    let conflict = diff(&config("a: \"2\""));
    assert!(conflict.code == 1 && conflict.stdout.contains("-  a: \"9\"\n+  a: \"2\"\n"), "{conflict:?}");
    assert!(conflict.stderr.contains("managed by \"tuner\""), "{conflict:?}");
    assert_eq!(namespace.data(), r#"{"a":"9"}"#);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    let shown = diff(secret);
    assert!(shown.code == 1 && shown.stdout.contains("+  password: '***'"), "{shown:?}");
    let refused = diff(&format!("{CONFIG}foo: 1\n"));
    assert!(refused.code == 2 && refused.stderr.contains("foo"), "{refused:?}");
    assert_eq!(namespace.dunlin(&["diff", "-f", "/nope"]).code, 2);
    assert_eq!(namespace.dunlin(&["diff"]).code, 64);
}

#[test]
fn an_edit_is_merged_and_a_refused_one_kept() {
    let namespace = Namespace::new();
    namespace.apply(&config("a: \"1\""));
    let edited = namespace.edit("s/a: \"1\"/a: \"2\"/", &["edit", "cm", "cm"]);
    assert_eq!(
        (edited.code, edited.stdout.as_str(), edited.stderr.as_str()),
        (0, "configmap/cm edited\n", "")
    );
    assert_eq!(namespace.data(), r#"{"a":"2"}"#);
    let same = namespace.edit("", &["edit", "cm/cm"]);
    assert_eq!((same.code, same.stderr.as_str()), (0, "Edit cancelled, no changes made.\n"));
    let empty = namespace.edit("d", &["edit", "cm/cm"]);
    assert_eq!((empty.code, empty.stderr.as_str()), (0, "Edit cancelled, saved file was empty.\n"));
    // The second time the reasons are above it, which the script leaves alone.
    let refused = namespace.edit("s/^data:/dta:/", &["edit", "cm/cm"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in [
        "unknown field \"dta\"",
        "Edit cancelled, no valid changes were saved.",
        "A copy of your changes has been stored to",
        "[kept] apiVersion: v1\ndta:\n",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    // A script that mends what it is told.
    let mended = namespace
        .edit("/unknown field/,$s/^dta:/data:/\ns/a: \"2\"/a: \"5\"/\n/refused/!b\n", &["edit", "cm/cm"]);
    assert_eq!(mended.code, 0, "{mended:?}");
    let renamed = namespace.edit("s/^  name: cm/  name: other/", &["edit", "cm/cm"]);
    assert!(renamed.code == 1 && renamed.stderr.contains("cancelled"), "{renamed:?}");
    let broken = namespace.edit("s/^kind:.*/kind: [/", &["edit", "cm/cm", "-o", "yaml"]);
    assert!(broken.code == 1 && broken.stderr.contains("[kept]"), "{broken:?}");
    let json = namespace.edit("s/\"5\"/\"6\"/", &["edit", "cm/cm", "-o", "json"]);
    assert_eq!((json.code, namespace.data().as_str()), (0, r#"{"a":"6"}"#), "{json:?}");
    let failed = namespace.edit("x y z", &["edit", "cm/cm"]);
    assert!(failed.code == 1 && failed.stderr.contains("the editor \"sed\" failed"), "{failed:?}");
}

#[test]
fn patches_of_all_types_change_what_they_say() {
    let namespace = Namespace::new();
    namespace.apply(&config("a: \"1\", b: \"1\""));
    let check = |args: &[&str], said: &str, data: &str| {
        let answer = namespace.dunlin(&[&["patch", "cm", "cm"], args].concat());
        assert_eq!((answer.code, answer.stdout.as_str()), (0, said), "{answer:?}");
        assert_eq!(namespace.data(), data);
    };
    check(&["-p", r#"{"data":{"a":"2"}}"#], "configmap/cm patched\n", r#"{"a":"2","b":"1"}"#);
    check(&["-p", "data: {a: \"2\"}"], "configmap/cm patched (no change)\n", r#"{"a":"2","b":"1"}"#);
    check(&["--type=merge", "-p", "data: {b: null}"], "configmap/cm patched\n", r#"{"a":"2"}"#);
    check(
        &["--type", "json", "-p", r#"[{"op":"add","path":"/data/c","value":"3"}]"#],
        "configmap/cm patched\n",
        r#"{"a":"2","c":"3"}"#,
    );
    check(
        &["--dry-run=server", "-p", "data: {d: \"4\"}"],
        "configmap/cm patched (server dry run)\n",
        r#"{"a":"2","c":"3"}"#,
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "data:\n  e: \"5\"\n").unwrap();
    check(
        &["--patch-file", file.path().to_str().unwrap()],
        "configmap/cm patched\n",
        r#"{"a":"2","c":"3","e":"5"}"#,
    );
    let fails = |args: &[&str], code: i32, part: &str| {
        let answer = namespace.dunlin(&[&["patch"], args].concat());
        assert!(answer.code == code && answer.stderr.contains(part), "{args:?}: {answer:?}");
    };
    fails(&["cm", "cm"], 64, "--patch");
    fails(&["cm", "-p", "{}"], 64, "which of the configmaps?");
    fails(&["cm", "cm", "--type=json", "-p", "{}"], 64, "a list of operations");
    fails(&["cm", "cm", "-p", "foo: 1"], 1, "unknown field \"foo\"");
    fails(&["cm", "none", "-p", "{}"], 1, "configmaps \"none\" not found");
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  \
         template:\n    metadata: {labels: {app: web}}\n    spec: {containers: [{name: c, image: hello}]}\n";
    namespace.apply(deployment);
    let scale =
        ["patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", "spec: {replicas: 3}"];
    assert_eq!(namespace.ok(&scale), "deployment.apps/web patched\n");
    assert_eq!(namespace.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.replicas}"]), "3");
}

#[test]
fn replacing_leaves_what_the_manifest_says() {
    let namespace = Namespace::new();
    let replace = |args: &[&str], manifest: &str| {
        namespace.dunlin_with(&[&["replace", "-f", "-"], args].concat(), manifest)
    };
    let missing = replace(&[], &config("a: \"1\""));
    assert!(missing.code == 1 && missing.stderr.contains("(NotFound)"), "{missing:?}");
    namespace.apply(&config("a: \"1\", b: \"1\""));
    let text = namespace.ok(&["get", "cm", "cm", "-o", "yaml"]);
    assert_eq!(replace(&[], &config("c: \"2\"")).stdout, "configmap/cm replaced\n");
    assert_eq!(namespace.data(), r#"{"c":"2"}"#);
    let stale = replace(&[], &text);
    assert!(stale.code == 1 && stale.stderr.contains("the object has been modified"), "{stale:?}");
    let uid = || namespace.ok(&["get", "cm", "cm", "-o", "jsonpath={.metadata.uid}"]);
    let before = uid();
    let anew = replace(&["--force"], &text);
    assert_eq!(
        (anew.code, anew.stdout.as_str()),
        (0, "configmap \"cm\" deleted\nconfigmap/cm replaced\n"),
        "{anew:?}"
    );
    assert_ne!(uid(), before);
    assert_eq!(namespace.data(), r#"{"a":"1","b":"1"}"#);
    assert_eq!(replace(&["--force", "--dry-run=server"], &text).code, 64);
}
