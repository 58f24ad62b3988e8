//! Manifests in, tables out: what is created, changed, refused, and left alone.

use crate::{
    cluster::{Namespace, wait_until, workloads},
    pods::pod,
};

/// ConfigMaps but for the one that every namespace has.
const OWN: &str = "metadata.name!=kube-root-ca.crt";

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
    check(&format!("{CONFIG}foo: 1\n"), &["\"STDIN\"", ".foo: field not declared in schema"]);
    check(&format!("{CONFIG}data: {{a: 1}}\n"), &["\"STDIN\"", ".data.a: expected string"]);
    check(&format!("---\n---\n{CONFIG}data: [1]\n"), &["document 1, line 3"]);
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
        &["The Pod \"p\" is invalid", "spec.containers: Required value"],
    );
    check(&"#".repeat(100 << 20), &["larger than 16 MiB"]);
    assert_eq!(namespace.ok(&["get", "cm", "--field-selector", OWN, "-o", "name"]), "");
    assert_eq!(namespace.ok(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn a_manifest_malformed_in_one_place_writes_nothing() {
    let namespace = Namespace::new();
    let answer = namespace.dunlin_with(
        &["apply", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\nkind: x\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
    );
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
    assert!(answer.stderr.contains("document 2, line 5"), "{}", answer.stderr);
    assert_eq!(namespace.ok(&["get", "cm", "--field-selector", OWN, "-o", "name"]), "");
}

#[test]
fn one_refused_object_does_not_stop_the_others() {
    let namespace = Namespace::new();
    let answer = namespace.dunlin_with(
        &["apply", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\n",
    );
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "configmap/one created\nconfigmap/two created\n"));
    assert!(answer.stderr.contains("The Pod \"p\" is invalid"), "{}", answer.stderr);
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
    let whole = std::fs::read(workloads().join("hello.wasm")).unwrap();
    let malformed = "the module is malformed or cut off";
    check("half.wasm", &whole[..whole.len() / 2], malformed);
    check("short.wasm", &whole[..whole.len() - 1], malformed);
    // A function whose type does not exist.
    check("wrong.wasm", b"\0asm\x01\0\0\0\x03\x02\x01\x07", malformed);
    let noise: Vec<u8> =
        (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for header in [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        check("noise.wasm", &[header, noise.as_slice()].concat(), malformed);
    }
    let sparse = dir.path().join("sparse.wasm");
    std::fs::File::create(&sparse).unwrap().set_len(1 << 40).unwrap();
    let answer = namespace.dunlin(&["push", sparse.to_str().unwrap(), "hostile"]);
    assert!(answer.code == 1 && answer.stderr.contains("a module may have"), "{answer:?}");
    // Its name stands for nothing.
    namespace.apply(&pod("hostile", "Never", "image: dunlin.local/hostile"));
    wait_until("word that nothing was pushed", || {
        let described = namespace.ok(&["describe", "pod", "hostile"]);
        if described.contains("nothing was pushed as") { Ok(()) } else { Err(described) }
    });
}

#[test]
fn a_manifest_of_100_mib_is_refused_by_its_name() {
    let namespace = Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge.yaml");
    std::fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    for command in ["apply", "create"] {
        let answer = namespace.dunlin(&[command, "-f", file.to_str().unwrap()]);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""));
        assert!(answer.stderr.contains("huge.yaml\" is larger than 16 MiB"), "{}", answer.stderr);
    }
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
    check(&["get", "cm", "--field-selector", OWN, "-o", "name"], 0, "configmap/cm\n");
    check(&["cordon", "node-2"], 0, "node/node-2 cordoned\n");
    check(&["uncordon", "node-2"], 0, "node/node-2 uncordoned\n");
}
