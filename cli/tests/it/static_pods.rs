//! Static pods: on a machine that never saw a coordinator, and as mirrors in the API of one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    cluster::{run, wait_until, workloads},
    site::{Machine, Site},
};

#[test]
fn a_machine_alone_runs_its_manifests_over_crashes_and_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("static-pods");
    fs::create_dir(&folder).unwrap();
    fs::copy(workloads().join("ticker.wasm"), folder.join("ticker.wasm")).unwrap();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: beat}\nspec:\n  containers: [{name: c, image: ticker}]\n";
    fs::write(folder.join("beat.yaml"), manifest).unwrap();
    fs::write(folder.join("bad.yaml"), manifest.replace("image: ticker", "image: ticker, colour: red"))
        .unwrap();
    let mut machine = Machine::alone(dir.path(), "lone");
    let options = ["--static-pods", folder.to_str().unwrap()];
    machine.start_agent(&options);
    let state = machine.state.clone();
    let local = |args: &[&str]| {
        let state = state.to_str().unwrap();
        let args = [&["local"], args, &["--state", state]].concat();
        run(&args, "", dir.path(), &dir.path().join("config")).stdout
    };
    let until = |args: &[&str], wanted: &dyn Fn(&str) -> bool| {
        wait_until(&format!("wanted answer to {args:?}"), || {
            let found = local(args);
            if wanted(&found) { Ok(()) } else { Err(found) }
        });
    };
    until(&["pods"], &|text| text.contains("beat-lone") && text.contains("Running"));
    until(&["describe"], &|text| text.contains("bad.yaml") && text.contains("colour"));
    until(&["logs", "beat-lone"], &|text| !text.is_empty());

    // The agent first: it would start another runner.
    machine.kill_agent();
    machine.kill_runner();
    machine.start_agent(&options);
    until(&["pods"], &|text| text.contains("beat-lone") && text.contains("Running"));
    fs::remove_file(folder.join("beat.yaml")).unwrap();
    until(&["pods"], &|text| !text.contains("beat-lone"));
}

/// A folder with the manifest of a pod `beat`.
fn folder(dir: &Path) -> PathBuf {
    let folder = dir.join("static-pods");
    fs::create_dir(&folder).unwrap();
    fs::copy(workloads().join("ticker.wasm"), folder.join("ticker.wasm")).unwrap();
    fs::write(folder.join("beat.yaml"), beat("one")).unwrap();
    folder
}

fn beat(label: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: beat, labels: {{made: {label}}}}}\nspec:\n  \
         terminationGracePeriodSeconds: 1\n  containers: [{{name: c, image: ticker}}]\n"
    )
}

/// A field of the mirror.
fn field(site: &Site, path: &str) -> String {
    site.dunlin(&["get", "pod", "beat-m1", "-o", &format!("jsonpath={{{path}}}")], "").stdout
}

const CONTAINER_ID: &str = ".status.containerStatuses[0].containerID";

fn wait_for_running(site: &Site) -> (String, String) {
    site.wait_for(&["get", "pods", "-A", "--no-headers"], |pods| {
        pods.lines().any(|pod| pod.contains("beat-m1") && pod.contains("1/1") && pod.contains("Running"))
    });
    (field(site, ".metadata.uid"), field(site, CONTAINER_ID))
}

#[test]
fn a_static_pod_has_a_mirror_for_as_long_as_its_manifest_lies_there() {
    let site = Site::start();
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let options = ["--static-pods", folder.to_str().unwrap()];
    let mut machine = site.machine("m1", "m1");
    let token = site.token(&[]);
    machine.start_agent(&[&options[..], &["--join", &token]].concat());
    let (uid, container) = wait_for_running(&site);
    assert!(!container.is_empty());
    let node = site.ok(&["get", "node", "m1", "-o", "jsonpath={.metadata.uid}"], "");
    let owner = ".metadata.ownerReferences[0]";
    assert_eq!(
        (field(&site, &format!("{owner}.uid")), field(&site, &format!("{owner}.controller"))),
        (node, "true".to_owned())
    );
    assert_eq!(
        (field(&site, ".spec.nodeName"), field(&site, ".metadata.labels.made")),
        ("m1".to_owned(), "one".to_owned())
    );
    assert_ne!(field(&site, ".status.podIP"), "");
    assert_ne!(field(&site, ".status.startTime"), "");
    site.wait_for(&["logs", "beat-m1"], |log| !log.is_empty());
    let described = site.wait_for(&["describe", "pod", "beat-m1"], |text| text.contains("Started"));
    for part in ["Node/m1", "kubernetes.io/config.mirror", "kubernetes.io/config.source: file", "Running"] {
        assert!(described.contains(part), "{part}: {described}");
    }
    // Asked nothing of its node, nor is it left over there.
    assert!(!site.ok(&["node", "held", "m1"], "").contains("beat"));
    site.wait_for(&["describe", "node", "m1"], |text| text.contains("1 static"));

    // Deleting what shows it stops nothing.
    site.ok(&["delete", "pod", "beat-m1", "--wait=false"], "");
    let again = wait_until("mirror that came back", || {
        let found = (field(&site, ".metadata.uid"), field(&site, CONTAINER_ID));
        if found.0 != uid && !found.1.is_empty() { Ok(found) } else { Err(format!("{found:?}")) }
    });
    assert_eq!(again.1, container, "the container did not notice");

    // Away and back with the same: the mirror stays.
    machine.kill_agent();
    machine.start_agent(&options);
    wait_until("session of the agent that came back", || {
        let log = machine.log();
        if log.matches("session opened").count() >= 2 { Ok(()) } else { Err(log) }
    });
    assert_eq!((field(&site, ".metadata.uid"), field(&site, CONTAINER_ID)), again);

    // Another manifest is another pod.
    fs::write(folder.join("beat.yaml"), beat("two")).unwrap();
    wait_until("mirror of the other pod", || {
        let found = field(&site, ".metadata.labels.made");
        if found == "two" { Ok(()) } else { Err(found) }
    });
    assert_ne!(wait_for_running(&site).1, container);

    // The manifest goes while the node is away.
    machine.kill_agent();
    fs::remove_file(folder.join("beat.yaml")).unwrap();
    assert!(site.ok(&["get", "pods", "-A"], "").contains("beat-m1"));
    machine.start_agent(&options);
    site.wait_for(&["get", "pods", "-A"], |pods| !pods.contains("beat-m1"));
}

#[test]
fn a_static_pod_named_like_another_pod_runs_without_a_mirror_and_says_so() {
    let site = Site::start();
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let other = "apiVersion: v1\nkind: Pod\nmetadata: {name: beat-m1}\nspec:\n  nodeSelector: {never: here}\n  \
                 containers: [{name: c, image: dunlin.local/other}]\n";
    site.ok(&["apply", "-f", "-"], other);
    let before = field(&site, ".metadata.uid");
    let mut machine = site.machine("m1", "m1");
    let token = site.token(&[]);
    machine.start_agent(&["--static-pods", folder.to_str().unwrap(), "--join", &token]);
    site.wait_for(&["get", "events", "-A"], |events| {
        events.contains("FailedMirrorPod") && events.contains("default/beat-m1")
    });
    wait_until("line of the static pod", || {
        // The agent starts anew when it has joined; a run that had no time to be remembered counts then.
        let has_printed = (0..2).any(|run| !machine.printed("beat-m1", "c", run).is_empty());
        if has_printed { Ok(()) } else { Err(machine.log()) }
    });
    assert_eq!((field(&site, ".metadata.uid"), field(&site, ".spec.nodeName")), (before, String::new()));
    // Where the name is free again, the mirror is made.
    site.ok(&["delete", "pod", "beat-m1"], "");
    wait_for_running(&site);
}

#[test]
fn static_pods_run_while_the_machine_joins_and_go_on_when_it_has() {
    let mut site = Site::start();
    let token = site.token(&[]);
    site.kill_coordinator();
    let mut machine = site.machine("fresh", "fresh");
    let folder = machine.state.with_file_name("static-pods");
    fs::create_dir(&folder).unwrap();
    fs::copy(workloads().join("ticker.wasm"), folder.join("ticker.wasm")).unwrap();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: beat}\nspec:\n  containers: [{name: c, image: ticker, args: [\"50\"]}]\n";
    fs::write(folder.join("beat.yaml"), manifest).unwrap();
    machine.start_agent(&["--static-pods", folder.to_str().unwrap(), "--join", &token]);
    let ticks = |machine: &Machine| machine.printed("beat-fresh", "c", 0).len();
    let ticks_more = |machine: &Machine| {
        let before = ticks(machine);
        wait_until("ticks of the static pod", || {
            if ticks(machine) > before + 5 { Ok(()) } else { Err(machine.log()) }
        });
    };
    ticks_more(&machine);
    wait_until("an attempt to join that failed", || {
        if machine.log().contains("failed to join the cluster; trying again") {
            Ok(())
        } else {
            Err(machine.log())
        }
    });
    let runner = machine.runner();
    site.start_coordinator();
    site.wait_for_ready(&machine);
    ticks_more(&machine);
    assert_eq!(machine.runner(), runner, "its guests go on");
    assert!(machine.printed("beat-fresh", "c", 1).is_empty());

    // A refusal stops nothing either.
    let spent = site.token(&["--uses=1"]);
    site.join("other", &spent);
    let mut refused = site.machine("refused", "refused");
    refused.start_agent(&["--static-pods", folder.to_str().unwrap(), "--join", &spent]);
    wait_until("refusal", || {
        if refused.log().contains("has been used up") { Ok(()) } else { Err(refused.log()) }
    });
    wait_until("ticks on the machine that is refused", || {
        if refused.printed("beat-refused", "c", 0).len() > 5 { Ok(()) } else { Err(refused.log()) }
    });
}
