//! What `get` and `wait` show of objects, beside plain tables.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::cluster::{BINARY, Namespace};

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {app: web}}\ndata: {a: \"1\"}\n";

#[test]
fn objects_are_shown_in_every_form() {
    let namespace = Namespace::new();
    namespace.apply(CONFIG);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let check = |args: &[&str], expected: &str| {
        assert_eq!(namespace.ok(&[&["get"], args].concat()), expected, "{args:?}");
    };
    check(&["cm", "c", "-o", "jsonpath-as-json={.data.a}"], "[\n    \"1\"\n]\n");
    check(&["cm", "c", "-o", &format!("jsonpath-file={}", file("path", "{.data.a}"))], "1");
    let columns = file("columns", "NAME          A\nmetadata.name data.a\n");
    check(&["cm", "c", "-o", &format!("custom-columns-file={columns}")], "NAME   A\nc      1\n");
    let manifest = file("c.yaml", CONFIG);
    check(&["-f", &manifest, "-o", "name"], "configmap/c\n");
    check(&["--raw", "/readyz"], "ok");
    check(
        &["cm", "-l", "app=web", "-L", "app", "--no-headers", "-o", "custom-columns=A:.metadata.labels.app"],
        "web\n",
    );
    let several = namespace.ok(&["get", "cm/c", "sa/default"]);
    assert!(
        several.contains("configmap/c ")
            && several.contains("\n\nNAME")
            && several.contains("serviceaccount/default "),
        "{several}"
    );
    assert_eq!(namespace.dunlin(&["get", "cm", "--subresource=status"]).code, 64);
    assert_eq!(namespace.dunlin(&["get", "gizmos"]).code, 64);
}

#[test]
fn a_watch_names_what_happened() {
    let namespace = Namespace::new();
    let mut command = Command::new(BINARY);
    command.args([
        "-n",
        &namespace.name,
        "get",
        "cm",
        "-w",
        "--output-watch-events",
        "--field-selector=metadata.name=c",
    ]);
    command.env("DUNLIN_CONFIG", namespace.cluster.config()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watch = command.spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let words = |line: String| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    namespace.apply(CONFIG);
    assert_eq!(words(lines.next().unwrap()), ["EVENT", "NAME", "DATA"]);
    assert_eq!(words(lines.next().unwrap()), ["ADDED", "c", "1"]);
    namespace.ok(&["patch", "cm", "c", "-p", "data: {b: \"2\"}"]);
    assert_eq!(words(lines.next().unwrap()), ["MODIFIED", "c", "2"]);
    namespace.ok(&["delete", "cm", "c"]);
    assert_eq!(words(lines.next().unwrap()), ["DELETED", "c", "2"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn states_are_waited_for() {
    let namespace = Namespace::new();
    let check = |args: &[&str], code: i32, stdout: &str, stderr: &str| {
        let answer = namespace.dunlin(&[&["wait"], args].concat());
        assert_eq!(
            (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
            (code, stdout, stderr),
            "{args:?}"
        );
    };
    check(&["--for=delete", "cm/c"], 0, "", "");
    check(
        &["--for=create", "cm/c", "--timeout=0"],
        1,
        "",
        "error: timed out waiting for the condition on configmaps/c\n",
    );
    check(
        &["--for=jsonpath={.data.a}=1", "cm/c"],
        1,
        "",
        "Error from server (NotFound): configmaps \"c\" not found\n",
    );
    check(&["--for=condition=Ready", "cm", "-l", "app=web"], 1, "", "error: no matching resources found\n");
    namespace.apply(CONFIG);
    check(&["--for=create", "cm/c"], 0, "configmap/c condition met\n", "");
    check(
        &["--for=jsonpath={.data.a}=1", "cm", "-l", "app=web", "--timeout=-1s"],
        0,
        "configmap/c condition met\n",
        "",
    );
    check(
        &["--for=jsonpath={.data.a}=2", "cm/c", "--timeout=0"],
        1,
        "",
        "error: timed out waiting for the condition on configmaps/c\n",
    );
    assert_eq!(namespace.dunlin(&["wait", "--for=ready", "cm/c"]).code, 64);
    assert_eq!(namespace.dunlin(&["wait", "--for=create"]).code, 64);
    assert_eq!(
        namespace.ok(&["wait", "--for=condition=Ready=true", "node/node-1"]),
        "node/node-1 condition met\n"
    );
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| namespace.dunlin(&["wait", "--for=delete", "cm/c", "--timeout=60s"]));
        namespace.ok(&["delete", "cm", "c"]);
        waiting.join().unwrap()
    });
    // Whether it was seen before it went is a race.
    assert!(
        waited.code == 0 && ["", "configmap/c condition met\n"].contains(&waited.stdout.as_str()),
        "{waited:?}"
    );
}
