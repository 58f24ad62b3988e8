//! What kubectl shows: every kind in every form, as it is and as it changes.

use std::io::{BufRead as _, BufReader};

use super::kubectl::tour;
use crate::cluster::wait_until;

#[test]
fn every_kind_is_listed_and_described() {
    let Some((namespace, kubectl)) = tour() else { return };
    kubectl.ok(&["create", "configmap", "c", "--from-literal=a=1"]);
    let kinds = kubectl.ok(&["api-resources", "--verbs=list,get", "-o", "name"]);
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    assert!(kinds.split(',').count() > 45, "{kinds}");
    let all = kubectl.ok(&["get", &kinds, "--ignore-not-found"]);
    for part in
        ["configmap/c ", "node/node-1 ", "serviceaccount/default ", &format!("namespace/{} ", namespace.name)]
    {
        assert!(all.lines().any(|line| line.starts_with(part)), "{part} in {all}");
    }
    for form in ["wide", "yaml", "json", "name"] {
        let shown = kubectl.ok(&["get", &kinds, "-o", form, "--ignore-not-found"]);
        assert!(shown.contains("node-1"), "{form}: {shown}");
    }
    // Those about what is used have no describer of their own and are other objects at every look. Addresses of the services of tests that
    // run beside this one go between list and description.
    let steady: Vec<&str> = kinds.split(',').filter(|kind| !kind.starts_with("ipaddresses.")).collect();
    let described = kubectl.ok(&["describe", &steady.join(",")]);
    let names = described.lines().filter(|line| line.starts_with("Name:")).count();
    let listed = all.lines().filter(|line| line.contains('/') && !line.starts_with("NAME")).count();
    assert!(names + 5 >= listed, "{names} of {listed} are described");
}

#[test]
fn an_object_is_shown_in_every_form() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok(&["create", "configmap", "c", "--from-literal=a=1"]);
    let path = kubectl.file("path", "{.data.a}");
    let template = kubectl.file("template", "{{.data.a}}");
    let columns = kubectl.file("columns", "NAME A\nmetadata.name data.a\n");
    let check = |form: &str, expected: &str| {
        assert_eq!(kubectl.ok(&["get", "cm", "c", "-o", form]).trim_end(), expected, "{form}");
    };
    check("name", "configmap/c");
    check("jsonpath={.data.a}", "1");
    check("jsonpath-as-json={.data.a}", "[\n    \"1\"\n]");
    check(&format!("jsonpath-file={path}"), "1");
    check("go-template={{.data.a}}", "1");
    check(&format!("go-template-file={template}"), "1");
    check("custom-columns=NAME:.metadata.name,A:.data.a", "NAME   A\nc      1");
    check(&format!("custom-columns-file={columns}"), "NAME   A\nc      1");
    let kyaml = kubectl.ok(&["get", "cm", "c", "-o", "kyaml"]);
    assert!(kyaml.contains("kind: \"ConfigMap\""), "{kyaml}");
    let labelled = kubectl.ok(&["get", "cm", "c", "--show-labels", "-L", "app", "--no-headers"]);
    assert_eq!(labelled.split_whitespace().last(), Some("<none>"), "{labelled}");
    assert!(kubectl.ok(&["get", "cm", "--sort-by=.metadata.name", "-A"]).contains("kube-root-ca.crt"));
}

#[test]
fn a_watch_tells_every_change() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let mut watch =
        kubectl.spawn(&["get", "cm", "-w", "--output-watch-events", "--field-selector=metadata.name=c"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The watch is there once it tells of an object.
    kubectl.ok(&["create", "configmap", "c"]);
    assert!(lines.next().unwrap().starts_with("EVENT "));
    let words = |line: String| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines.next().unwrap()), ["ADDED", "c", "0"]);
    kubectl.ok(&["patch", "cm", "c", "-p", "{\"data\":{\"a\":\"1\"}}"]);
    assert_eq!(words(lines.next().unwrap()), ["MODIFIED", "c", "1"]);
    kubectl.ok(&["delete", "cm", "c"]);
    assert_eq!(words(lines.next().unwrap()), ["DELETED", "c", "1"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn both_programs_apply_in_turn() {
    let Some((namespace, kubectl)) = tour() else { return };
    let manifest =
        |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{{data}}}\n");
    let data = || kubectl.ok(&["get", "cm", "c", "-o", "jsonpath={.data}"]);
    kubectl.ok_with(&["apply", "-f", "-"], &manifest("a: \"1\", b: \"1\""));
    assert_eq!(namespace.apply(&manifest("a: \"2\"")), "configmap/c configured\n");
    assert_eq!(data(), r#"{"a":"2"}"#);
    kubectl.ok_with(&["apply", "--server-side", "-f", "-"], &manifest("c: \"3\""));
    assert_eq!(data(), r#"{"c":"3"}"#);
    kubectl.ok_with(&["apply", "-f", "-"], &manifest("c: \"4\", d: \"4\""));
    assert_eq!(namespace.apply(&manifest("d: \"4\"")), "configmap/c configured\n");
    assert_eq!(data(), r#"{"d":"4"}"#);
    let difference = kubectl.run(&["diff", "--server-side", "-f", "-"], &manifest("d: \"5\""));
    assert!(difference.code == 1 && difference.stdout.contains("+  d: \"5\""), "{difference:?}");
}

#[test]
fn a_dev_cluster_is_in_the_users_own_configuration() {
    let Some((namespace, kubectl)) = tour() else { return };
    let file = namespace.cluster.kubeconfig();
    let kubeconfig = ["--kubeconfig", file.to_str().unwrap()];
    assert_eq!(kubectl.ok(&[&kubeconfig[..], &["config", "current-context"]].concat()), "dunlin-dev\n");
    assert!(kubectl.ok(&[&kubeconfig[..], &["get", "nodes"]].concat()).contains("node-1"));
    // The same file serves this program.
    assert!(namespace.ok(&[&kubeconfig[..], &["get", "nodes"]].concat()).contains("node-1"));
    wait_until("no lock", || {
        let lock = file.with_file_name("config.lock");
        if lock.exists() { Err("it is still there".to_owned()) } else { Ok(()) }
    });
}
