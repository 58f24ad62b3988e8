//! Manifests in, tables out: what is created, changed, refused, and left alone.

use crate::cluster::Namespace;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n";

#[test]
fn apply_creates_changes_and_removes() {
    let namespace = Namespace::new();
    assert_eq!(namespace.apply(&format!("{CONFIG}data: {{a: b}}\n")), "configmap/cm created\n");
    assert_eq!(namespace.apply(&format!("{CONFIG}data: {{a: b}}\n")), "configmap/cm unchanged\n");
    namespace.ok(&["label", "cm", "cm", "other=kept"]);
    assert_eq!(namespace.apply(&format!("{CONFIG}data: {{c: d}}\n")), "configmap/cm configured\n");
    assert_eq!(namespace.ok(&["get", "cm", "cm", "-o", "jsonpath={.data}"]), "{\"c\":\"d\"}");
    assert_eq!(namespace.ok(&["get", "cm", "cm", "-o", "jsonpath={.metadata.labels.other}"]), "kept");
}

#[test]
fn mistakes_name_their_place_and_change_nothing() {
    let namespace = Namespace::new();
    let check = |manifest: &str, expected: &[&str]| {
        let answer = namespace.dunlin_with(&["apply", "-f", "-"], manifest);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{answer:?}");
        expected.iter().for_each(|part| assert!(answer.stderr.contains(part), "{part}: {}", answer.stderr));
    };
    check("a: b\n  c: d\n", &["\"STDIN\", document 1", "line 2"]);
    check(&format!("{CONFIG}foo: 1\n"), &["\"STDIN\"", "strict decoding error: unknown field \"foo\""]);
    check(&format!("{CONFIG}data: {{a: 1}}\n"), &["\"STDIN\"", "ConfigMap.data of type string"]);
    check(&format!("---\n---\n{CONFIG}data: [1]\n"), &["document 1, line 3"]);
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
        &["The Pod \"p\" is invalid", "spec.containers: Required value"],
    );
    check(&"#".repeat(100 << 20), &["larger than 16 MiB"]);
    assert_eq!(namespace.ok(&["get", "cm,pods", "-o", "name"]), "");
}

#[test]
fn one_bad_object_does_not_stop_the_others() {
    let namespace = Namespace::new();
    let answer = namespace.dunlin_with(
        &["apply", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\nkind: x\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
    );
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "configmap/one created\nconfigmap/two created\n"));
    assert!(answer.stderr.contains("document 2, line 5"), "{}", answer.stderr);
}

#[test]
fn a_hostile_module_is_refused() {
    let namespace = Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, content: &[u8], expected: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        let answer = namespace.dunlin(&["push", file.to_str().unwrap(), "hostile"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    };
    check("text.wasm", b"not wasm", "is no WebAssembly module");
    check("empty.wasm", b"", "is no WebAssembly module");
}

#[test]
fn words_are_kubectls() {
    let namespace = Namespace::new();
    let check = |args: &[&str], code: i32, expected: &str| {
        let answer = namespace.dunlin(args);
        let text = [answer.stdout.as_str(), answer.stderr.as_str()].concat();
        assert_eq!((answer.code, text.as_str()), (code, expected), "{args:?}");
    };
    let none = format!("No resources found in {} namespace.\n", namespace.name);
    check(&["get", "pods"], 0, &none);
    check(&["get", "pods", "nope"], 1, "Error from server (NotFound): pods \"nope\" not found\n");
    check(&["delete", "cm", "nope"], 1, "Error from server (NotFound): configmaps \"nope\" not found\n");
    check(&["delete", "cm", "nope", "--ignore-not-found"], 0, "");
    namespace.apply(CONFIG);
    check(&["label", "cm", "cm", "x=y"], 0, "configmap/cm labeled\n");
    check(&["label", "cm", "cm", "x=z"], 1, "error: 'x' already has a value (y), and --overwrite is false\n");
    check(&["label", "cm", "cm", "x=z", "--overwrite"], 0, "configmap/cm labeled\n");
    check(&["label", "cm", "cm", "x-"], 0, "configmap/cm unlabeled\n");
    check(&["annotate", "cm", "cm", "a=b"], 0, "configmap/cm annotated\n");
    check(&["annotate", "cm", "cm", "a-"], 0, "configmap/cm annotated\n");
    check(&["get", "cm", "-o", "name"], 0, "configmap/cm\n");
    check(&["cordon", "node-2"], 0, "node/node-2 cordoned\n");
    check(&["uncordon", "node-2"], 0, "node/node-2 uncordoned\n");
}
