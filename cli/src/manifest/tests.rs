//! Reading manifests: what is found, and how mistakes are told.

use std::fs;

use expect_test::{Expect, expect};

use anyhow::Result;

use super::{FileArgs, Manifest, NamespaceGiven, check as check_object, checked, objects, objects_of_text};
use crate::failure::AlreadyReported;

/// The manifests of a text, each for itself.
fn manifests_of(text: &str, given: NamespaceGiven) -> Vec<Result<Manifest>> {
    let mut found = Vec::new();
    objects_of_text("f.yaml", text, &mut found);
    let check = |(source, object)| check_object(source, object, "here", given);
    found.into_iter().map(|object| object.and_then(check)).collect()
}

fn read(args: &FileArgs) -> Result<Vec<Result<Manifest>>> {
    checked(objects(args)?, "here", NamespaceGiven::No)
}

fn check(text: &str, expected: &Expect) {
    let manifests = manifests_of(text, NamespaceGiven::No);
    let lines = manifests.into_iter().map(|manifest| match manifest {
        Ok(manifest) => {
            format!(
                "{} {}/{} at {}\n",
                manifest.kind.plural, manifest.namespace, manifest.name, manifest.source
            )
        }
        Err(error) => format!("{error:#}\n"),
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn objects_of_all_shapes() {
    check(
        "# a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n\n---\n\
         {apiVersion: v1, kind: Node, metadata: {name: o}}\n--- \napiVersion: v1\nkind: List\nitems:\n\
         - {apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: there}}\n",
        &expect![[r#"
            pods here/a at "f.yaml", document 1, line 3
            nodes /o at "f.yaml", document 2, line 9
            configmaps there/c at "f.yaml", document 3, line 11
        "#]],
    );
    check(
        "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}\n\
         {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"generateName\": \"b-\"}}\n",
        &expect![[r#"
            pods here/a at "f.yaml", document 1, line 1
            pods here/ at "f.yaml", document 2, line 2
        "#]],
    );
    check("", &expect![[""]]);
}

#[test]
fn a_mistake_names_its_place_and_spares_the_others() {
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: Pod\n  metadata: {name: b}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {name: c}\n",
        &expect![[r#"
            pods here/a at "f.yaml", document 1, line 1
            error parsing "f.yaml", document 2, line 6, column 11: mapping values are not allowed in this context
            pods here/c at "f.yaml", document 3, line 8
        "#]],
    );
    check(
        "a: 1\nb: 2\na: 3\n",
        &expect![[r#"
            error parsing "f.yaml", document 1, line 1: duplicate field "a"
        "#]],
    );
    check(
        "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"n\"}}\n\n{\n  \"kind\": }\n",
        &expect![[r#"
            nodes /n at "f.yaml", document 1, line 1
            error parsing "f.yaml", document 2, line 4, column 11: invalid JSON: expected value
        "#]],
    );
    check(
        "a: b\n---\njust text\n---\napiVersion: v1\nkind: Foo\nmetadata: {name: x}\n---\napiVersion: v1\nkind: Pod\n",
        &expect![[r#"
            error validating "f.yaml", document 1, line 1: error validating data: [apiVersion not set, kind not set]
            error validating "f.yaml", document 2, line 3: a manifest is a map with apiVersion, kind and metadata
            resource mapping not found for name: "x" from "f.yaml", document 3, line 5: no matches for kind "Foo" in version "v1"
            error validating "f.yaml", document 4, line 9: metadata.name: Required value: name or generateName is required
        "#]],
    );
}

#[test]
fn scalars_mean_what_they_do_to_kubernetes() {
    let text = "a: yes\nb: 0644\nc: 1_0\nd: &d {e: 'no'}\nf: {<<: *d, on: off}\n";
    let expected =
        serde_json::json!({"a": true, "b": 420, "c": 10, "d": {"e": "no"}, "f": {"e": "no", "true": false}});
    assert_eq!(super::value("f.yaml", text).unwrap(), expected);
}

#[test]
fn bombs_end_early() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let error = format!("{:#}", manifests_of(&bomb, NamespaceGiven::No).pop().unwrap().unwrap_err());
    assert!(error.contains("repetition limit exceeded"), "{error}");

    let deep = "[".repeat(100_000);
    assert!(manifests_of(&deep, NamespaceGiven::No).pop().unwrap().is_err());
}

#[test]
fn folders_are_sorted_and_large_files_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    fs::write(dir.path().join("b.yml"), pod("b")).unwrap();
    fs::write(dir.path().join("a.yaml"), pod("a")).unwrap();
    fs::write(dir.path().join("notes.txt"), "no manifest").unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/c.yaml"), pod("c")).unwrap();
    let names = |recursive| {
        let args = FileArgs { filenames: vec![dir.path().to_owned()], recursive };
        let manifests = read(&args).unwrap();
        manifests.into_iter().map(|manifest| manifest.unwrap().name).collect::<Vec<_>>()
    };
    assert_eq!(names(false), ["a", "b"]);
    assert_eq!(names(true), ["a", "b", "c"]);

    let large = dir.path().join("large.yaml");
    fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
    let args = FileArgs { filenames: vec![large], recursive: false };
    let error = objects(&args).unwrap().pop().unwrap().unwrap_err().to_string();
    assert!(error.contains("larger than 16 MiB"), "{error}");

    let args = FileArgs { filenames: vec!["/nope".into()], recursive: false };
    let error = read(&args).unwrap_err().to_string();
    assert_eq!(error, "the path \"/nope\" does not exist");
}

#[test]
fn one_malformed_document_holds_back_all() {
    let dir = tempfile::tempdir().unwrap();
    let check = |last: &str, expected: Option<usize>| {
        fs::write(dir.path().join("a.yaml"), "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").unwrap();
        fs::write(
            dir.path().join("b.yaml"),
            format!("apiVersion: v1\nkind: Node\nmetadata: {{name: o}}\n---\n{last}"),
        )
        .unwrap();
        let args = FileArgs { filenames: vec![dir.path().to_owned()], recursive: false };
        let found = read(&args);
        if let Err(error) = &found {
            assert!(error.is::<AlreadyReported>(), "{error:#}");
        }
        assert_eq!(found.ok().map(|manifests| manifests.iter().flatten().count()), expected, "{last}");
    };
    check("apiVersion: v1\nkind: Node\nmetadata: {name: m}\n", Some(3));
    check("apiVersion: v1\nkind: Foo\nmetadata: {name: m}\n", Some(2));
    check("a: [\n", None);
    check("apiVersion: v1\nkind: Pod\n", None);
}

#[test]
fn a_namespace_on_the_command_line_must_agree() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: there}\n";
    let error = manifests_of(text, NamespaceGiven::Yes).pop().unwrap().unwrap_err().to_string();
    assert!(error.contains("does not match the namespace \"here\""), "{error}");
}
