//! A machine that runs short of something, and one that goes down.

use crate::site::Site;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
                   tolerations: [{operator: Exists}]\n  containers: [{name: c, image: dunlin.local/ticker}]\n";

fn has_condition(site: &Site, node: &str, condition: &str, wanted: &str) {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].status}}");
    site.wait_for(&["get", "node", node, "-o", &path], |status| status == wanted);
}

#[test]
fn a_full_disk_evicts_a_pod_and_keeps_others_away() {
    let site = Site::start();
    site.push("ticker");
    let token = site.token(&[]);
    let mut machine = site.join("full", &token);
    site.ok(&["apply", "-f", "-"], &POD.replace("NAME", "first"));
    site.wait_for(&["get", "pod", "first", "--no-headers"], |row| row.contains("Running"));
    // No disk has all of its bytes free.
    machine.kill_agent();
    machine.start_agent(&["--eviction-hard", "nodefs.available<100%"]);
    let described = site.wait_for(&["describe", "pod", "first"], |text| text.contains("Evicted"));
    assert!(described.contains("The node was low on resource: ephemeral-storage."), "{described}");
    site.wait_for(&["get", "pod", "first", "-o", "jsonpath={.status.phase} {.status.reason}"], |status| {
        status == "Failed Evicted"
    });
    has_condition(&site, "full", "DiskPressure", "True");
    site.wait_for(&["get", "node", "full", "-o", "jsonpath={.spec.taints}"], |taints| {
        taints.contains("node.kubernetes.io/disk-pressure")
    });
    // One that tolerates all taints gets there, and is sent away by the node itself.
    site.ok(&["apply", "-f", "-"], &POD.replace("NAME", "second"));
    let message = "jsonpath={.status.reason}: {.status.message}";
    site.wait_for(&["get", "pod", "second", "-o", message], |text| {
        text == "Evicted: Pod was rejected: The node had condition: [DiskPressure]. "
    });
}

#[test]
fn a_machine_that_goes_down_ends_its_pods_and_an_agent_that_restarts_does_not() {
    let site = Site::start();
    site.push("ticker");
    let token = site.token(&[]);
    let mut machine = site.join("leaving", &token);
    site.ok(&["apply", "-f", "-"], &POD.replace("NAME", "p"));
    site.wait_for(&["get", "pod", "p", "--no-headers"], |row| row.contains("Running"));
    let image = "jsonpath={.status.images[0].names}";
    site.wait_for(&["get", "node", "leaving", "-o", image], |names| {
        names.contains("dunlin.local/ticker@sha256:")
    });
    machine.kill_agent();
    machine.start_agent(&[]);
    site.wait_for_ready(&machine);
    let restarts = "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}";
    assert_eq!(site.ok(&["get", "pod", "p", "-o", restarts], ""), "Running 0");
    let state = machine.state.to_str().unwrap().to_owned();
    site.ok(&["local", "--state", &state, "shutdown", "--grace=5", "--critical-grace=1"], "");
    let status = "jsonpath={.status.phase} {.status.reason}: {.status.message}";
    site.wait_for(&["get", "pod", "p", "-o", status], |text| {
        text == "Failed Terminated: Pod was terminated in response to imminent node shutdown."
    });
    let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    site.wait_for(&["get", "node", "leaving", "-o", ready], |text| text == "node is shutting down");
    // The machine comes back.
    machine.kill_agent();
    machine.start_agent(&[]);
    has_condition(&site, "leaving", "Ready", "True");
}
