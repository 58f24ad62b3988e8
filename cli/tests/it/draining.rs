//! Nodes closed, emptied and tainted, with budgets that hold pods back.

use crate::site::Site;

#[test]
fn a_node_is_drained_as_far_as_budgets_let_it() {
    let site = Site::start();
    site.push("ticker");
    let token = site.token(&["--uses", "2"]);
    let (_a, _b) = (site.join("a", &token), site.join("b", &token));
    let deployment = ["create", "deployment", "web", "--image=dunlin.local/ticker", "--replicas=2"];
    site.ok(&deployment, "");
    site.ok(&["rollout", "status", "deploy/web", "--timeout=60s"], "");
    site.ok(&["create", "pdb", "web", "--selector=app=web", "--min-available=2"], "");
    site.wait_for(&["get", "pdb", "web", "-o", "jsonpath={.status.currentHealthy}"], |shown| shown == "2");
    let node = site.ok(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}"], "");

    let held = site.dunlin(&["drain", &node, "--timeout=2s"], "");
    assert_eq!(held.code, 1, "{held:?}");
    assert!(held.stdout.starts_with(&format!("node/{node} cordoned\nevicting pod default/web-")), "{held:?}");
    assert!(
        held.stderr.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{held:?}"
    );
    assert!(held.stderr.contains("global timeout reached: 2s"), "{held:?}");
    assert!(
        held.stderr.contains("The disruption budget web needs 2 healthy pods and has 2 currently"),
        "{held:?}"
    );

    site.ok(&["delete", "pdb", "web"], "");
    let drained = site.ok(&["drain", &node, "--timeout=60s"], "");
    assert!(drained.starts_with(&format!("node/{node} already cordoned\n")), "{drained}");
    assert!(
        drained.ends_with(&format!("node/{node} drained\n")) && drained.contains(" evicted\n"),
        "{drained}"
    );
    let left =
        site.ok(&["get", "pods", "--field-selector", &format!("spec.nodeName={node}"), "-o", "name"], "");
    assert_eq!(left, "");
    site.ok(&["uncordon", &node], "");
}

#[test]
fn what_would_be_lost_takes_a_word() {
    let site = Site::start();
    site.push("ticker");
    let token = site.token(&[]);
    let _machine = site.join("a", &token);
    site.ok(&["run", "alone", "--image=dunlin.local/ticker"], "");
    site.wait_for(&["get", "pod", "alone", "-o", "jsonpath={.status.phase}"], |shown| shown == "Running");
    let refused = site.dunlin(&["drain", "a"], "");
    let why = "error: unable to drain node \"a\" due to error: cannot delete Pods that declare no controller (use --force to \
               override): default/alone\n";
    assert_eq!((refused.code, refused.stderr.as_str()), (1, why));
    let tried = site.ok(&["drain", "a", "--force", "--dry-run"], "");
    assert_eq!(
        tried,
        "node/a already cordoned\nevicting pod default/alone (dry run)\nnode/a drained (dry run)\n"
    );
    let forced = site.dunlin(&["drain", "a", "--force", "--grace-period=1", "--timeout=60s"], "");
    assert_eq!(forced.stderr, "Warning: deleting Pods that declare no controller: default/alone\n");
    assert!(forced.code == 0 && forced.stdout.ends_with("pod/alone evicted\nnode/a drained\n"), "{forced:?}");

    let check = |args: &[&str], code: i32, expected: &str| {
        let answer = site.dunlin(args, "");
        assert_eq!(
            (answer.code, [answer.stdout, answer.stderr].concat().as_str()),
            (code, expected),
            "{args:?}"
        );
    };
    check(&["taint", "nodes", "a", "k=v:NoSchedule"], 0, "node/a tainted\n");
    let there = "error: node a already has k taint(s) with same effect(s) and --overwrite is false\n";
    check(&["taint", "node/a", "k=w:NoSchedule"], 1, there);
    check(&["taint", "nodes", "a", "k=w:NoSchedule", "--overwrite"], 0, "node/a modified\n");
    check(&["taint", "nodes", "--all", "k-"], 0, "node/a untainted\n");
    check(&["taint", "nodes", "a", "k-"], 1, "error: taint \"k\" not found\n");
}
