//! What the coordinator tells of its API: kinds, versions, and what fields are.

use crate::cluster::Namespace;

#[test]
fn kinds_and_versions_are_listed() {
    let namespace = Namespace::new();
    let all = namespace.ok(&["api-resources"]);
    let line = |name: &str| {
        let line = all.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("NAME"), ["SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]);
    assert_eq!(line("pods"), ["po", "v1", "true", "Pod"]);
    assert_eq!(line("nodes"), ["no", "v1", "false", "Node"]);
    let names = namespace.ok(&["api-resources", "--api-group=", "--namespaced=false", "-o", "name"]);
    assert!(names.lines().any(|name| name == "nodes") && !names.contains("pods"), "{names}");
    let versions = namespace.ok(&["api-versions"]);
    assert!(versions.lines().any(|version| version == "v1"), "{versions}");
}

#[test]
fn fields_are_explained() {
    let namespace = Namespace::new();
    let page = namespace.ok(&["explain", "pod.spec.containers.imagePullPolicy"]);
    let expected = "KIND:       Pod\nVERSION:    v1\n\nFIELD: imagePullPolicy <string>\nENUM:\n    Always\n";
    assert!(page.starts_with(expected), "{page}");
    assert!(!page.contains("<empty>"), "{page}");
    let tree = namespace.ok(&["explain", "cm", "--recursive"]);
    assert!(
        tree.contains("\n    ownerReferences\t<[]OwnerReference>\n      apiVersion\t<string> -required-\n"),
        "{tree}"
    );
    let answer = namespace.dunlin(&["explain", "pod.spec.foo"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, "KIND:       Pod\nVERSION:    v1\n\n"));
    assert!(answer.stderr.contains("field \"foo\" does not exist"), "{}", answer.stderr);
}
