//! Buckets of guests, which live as long as their namespace, and not a moment less.

use std::fs;

use crate::{
    cluster::wait_until,
    site::{Machine, Site},
};

/// Runs a guest on a bucket to its end, and answers what it said.
fn said(site: &Site, namespace: &str, words: &str) -> String {
    site.ok(
        &["apply", "-f", "-"],
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {namespace}}}\nspec:\n  restartPolicy: Never\n  \
             containers:\n  - {{name: c, image: dunlin.local/interfaces, args: [kv, b, {words}]}}\n"
        ),
    );
    site.wait_for(&["get", "pod", "p", "-n", namespace, "--no-headers"], |row| row.contains("Completed"));
    let said = site.ok(&["logs", "p", "-n", namespace], "");
    site.ok(&["delete", "pod", "p", "-n", namespace], "");
    said.trim().to_owned()
}

fn wait_for_runner(machine: &Machine, words: &str, namespace: &str) {
    wait_until(&format!("`{words}` of {namespace}"), || {
        let log = fs::read_to_string(machine.state.join("runner.log")).unwrap();
        let is_told = log.lines().any(|line| line.contains(words) && line.contains(namespace));
        if is_told { Ok(()) } else { Err(format!("{log}\n{}", machine.log())) }
    });
}

#[test]
fn buckets_go_with_their_namespace_and_only_then() {
    let mut site = Site::start();
    let mut machine = site.join("n1", &site.token(&[]));
    site.push("interfaces");
    for namespace in ["shore", "harbour"] {
        site.ok(&["create", "namespace", namespace], "");
        said(&site, namespace, "set, k, v");
    }
    machine.kill_agent();
    machine.start_agent(&[]);
    wait_for_runner(&machine, "learned which namespaces have buckets", "shore");

    // One is deleted while the node is away, whose power is cut, too. Without a coordinator nothing is removed.
    machine.kill_agent();
    machine.kill_runner();
    site.ok(&["delete", "namespace", "shore"], "");
    site.wait_for(&["get", "namespaces", "--no-headers"], |rows| !rows.contains("shore"));
    site.kill_coordinator();
    machine.start_agent(&[]);
    site.start_coordinator();
    site.wait_for_ready(&machine);
    assert_eq!(said(&site, "harbour", "get, k"), "v");
    wait_for_runner(&machine, "removed the buckets of deleted namespaces", "shore");

    // Another of its name begins with nothing, also after the next cut.
    site.ok(&["create", "namespace", "shore"], "");
    assert_eq!(said(&site, "shore", "get, k"), "none");
    machine.kill_agent();
    machine.kill_runner();
    machine.start_agent(&[]);
    assert_eq!(said(&site, "shore", "list"), "");
    assert_eq!(said(&site, "harbour", "get, k"), "v");
}
