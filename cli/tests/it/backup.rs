//! Backups of a running cluster, and nodes that go on with a restored one.

use std::fs;

use crate::{
    cluster::wait_until,
    site::{Machine, Site},
};

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - {{name: c, image: dunlin.local/ticker, args: [\"50\"]}}\n"
    )
}

fn run_pod(site: &Site, name: &str) {
    site.ok(&["apply", "-f", "-"], &pod(name));
    site.wait_for(&["get", "pod", name, "--no-headers"], |row| row.contains("Running"));
}

fn wait_for_ticks(machine: &Machine, pod: &str) {
    let before = machine.printed(pod, "c", 0).len();
    wait_until(&format!("more ticks of {pod}"), || {
        let now = machine.printed(pod, "c", 0).len();
        if now > before + 3 { Ok(()) } else { Err(format!("{now}, was {before}\n{}", machine.log())) }
    });
}

fn wait_for_log(machine: &Machine, words: &str) {
    wait_until(&format!("log line {words:?}"), || {
        let log = machine.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

#[test]
fn a_restored_cluster_stops_nothing_and_the_old_disk_is_refused() {
    let mut site = Site::start();
    let machine = site.join("n1", &site.token(&[]));
    site.push("ticker");
    run_pod(&site, "before");
    let id = ["get", "pod", "before", "-o", "jsonpath={.status.containerStatuses[0].containerID}"];
    let container = site.ok(&id, "");

    let home = tempfile::tempdir().unwrap();
    let (file, secret) = (home.path().join("cluster.backup"), home.path().join("passphrase"));
    fs::write(&secret, "a pass phrase\n").unwrap();
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let taken = site.ok(&["backup", file, "--encrypt", "--passphrase-file", secret], "");
    assert!(taken.contains("1 modules") && taken.contains("verified"), "{taken}");
    let inspected = site.ok(&["backup", "inspect", file, "--passphrase-file", secret], "");
    assert!(inspected.contains("  pods: 1\n"), "{inspected}");
    run_pod(&site, "after");

    let data = site.data();
    let data_dir = data.to_str().unwrap();
    let restore = ["restore", file, "--data-dir", data_dir, "--passphrase-file", secret];
    let refused = site.dunlin(&[&restore[..], &["--replace"]].concat(), "");
    assert!(refused.code == 1 && refused.stderr.contains("stop it first"), "{refused:?}");
    site.kill_coordinator();
    let refused = site.dunlin(&restore, "");
    assert!(refused.code == 1 && refused.stderr.contains("--replace"), "{refused:?}");
    let restored = site.ok(&[&restore[..], &["--replace"]].concat(), "");
    assert!(restored.contains("what was there before is in"), "{restored}");
    site.start_coordinator();
    site.wait_for_ready(&machine);
    wait_for_log(&machine, "the cluster was restored from a backup");

    // What both know goes on as it was; what only the node knows is held, with an event.
    site.wait_for(&["get", "events", "-o", "jsonpath={.items[*].reason}"], |reasons| {
        reasons.contains("Held")
    });
    wait_for_ticks(&machine, "before");
    wait_for_ticks(&machine, "after");
    assert_eq!(site.ok(&id, ""), container);
    assert_eq!(site.dunlin(&["get", "pod", "after"], "").code, 1);
    let held = ["node", "held", "n1"];
    site.wait_for(&held, |pods| pods.contains("after") && !pods.contains("before"));
    site.ok(&["node", "bury", "n1", "after", "--grace-period", "1"], "");
    site.wait_for(&held, |pods| !pods.contains("after"));
    wait_until("the end of the held pod", || {
        let before = machine.printed("after", "c", 0).len();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = machine.printed("after", "c", 0).len();
        if now == before || now == 0 { Ok(()) } else { Err(format!("{now}, was {before}")) }
    });
    run_pod(&site, "later");

    // The old disk comes back.
    site.kill_coordinator();
    let entries = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let aside = entries.into_iter().find(|path| path.to_str().unwrap().contains("replaced-")).unwrap();
    for part in ["store", "pki"] {
        fs::rename(data.join(part), data.join(format!("{part}.restored"))).unwrap();
        fs::rename(aside.join(part), data.join(part)).unwrap();
    }
    site.start_coordinator();
    wait_for_log(&machine, "older than the cluster");
    wait_until("the coordinator's word on it", || {
        let log = site.log();
        if log.contains("older than the cluster") { Ok(()) } else { Err(log) }
    });
    wait_for_ticks(&machine, "later");
}
