//! Static pods on a machine that never saw a coordinator.

use std::fs;

use super::{
    cluster::{run, wait_until, workloads},
    site::Machine,
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
