//! kubectl in pods that run: commands in them, their streams, files and logs, and waiting for them.

use std::{fs, process::Command};

use super::kubectl::tour;
use crate::cluster::wait_until;

fn toolbox(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  restartPolicy: Never\n  \
         terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: c, image: dunlin.local/toolbox{spec}}}\n"
    )
}

#[test]
fn commands_run_in_a_container() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok_with(&["apply", "-f", "-"], &toolbox("box", ", env: [{name: COLOUR, value: red}]"));
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
    assert_eq!(kubectl.ok(&["exec", "box", "--", "toolbox", "echo", "a", "b c"]), "a b c\n");
    assert_eq!(kubectl.ok(&["exec", "pod/box", "-c", "c", "--", "toolbox", "env", "COLOUR"]), "red\n");
    assert_eq!(kubectl.ok_with(&["exec", "-i", "box", "--", "toolbox", "cat"], "heard"), "heard");
    let complained = kubectl.run(&["exec", "box", "--", "toolbox", "complain", "no"], "");
    assert_eq!((complained.code, complained.stderr.as_str()), (0, "no\n"));
    let failed = kubectl.run(&["exec", "box", "--", "toolbox", "exit", "42"], "");
    assert_eq!((failed.code, failed.stderr.as_str()), (42, "command terminated with exit code 42\n"));
    assert!(kubectl.fails(&["exec", "box", "-c", "z", "--", "x"]).contains("container z"));
    kubectl.ok(&["delete", "pod", "box"]);
}

#[test]
fn files_are_copied_to_volumes_and_back() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let mounts = ", args: [listen], stdin: true, volumeMounts: [{name: v, mountPath: /data}, {name: v, mountPath: /fixed, readOnly: true}]";
    let pod = toolbox("box", mounts)
        .replace("  containers:", "  volumes: [{name: v, emptyDir: {}}]\n  containers:");
    kubectl.ok_with(&["apply", "-f", "-"], &pod);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
    let tree = kubectl.dir().join("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    fs::write(tree.join("a file"), "with a blank in its name\n").unwrap();
    fs::write(tree.join("deep/er/bytes"), "0123456789abcdef".repeat(200_000)).unwrap();
    // To a place that is not there, then into a folder that is, then over a file.
    kubectl.ok(&["cp", "tree", "box:/data/copy"]);
    kubectl.ok(&["cp", "tree", "box:/data"]);
    for copy in ["copy", "tree"] {
        kubectl.ok(&["cp", &format!("box:/fixed/{copy}"), &format!("back-{copy}")]);
        let back = kubectl.dir().join(format!("back-{copy}"));
        let compared = Command::new("diff").arg("--recursive").args([&tree, &back]).output().unwrap();
        assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    }
    kubectl.ok(&["cp", "tree/a file", "box:/data/copy/deep/er/bytes"]);
    kubectl.ok(&["cp", "box:/data/copy/deep/er/bytes", "bytes"]);
    assert_eq!(fs::read_to_string(kubectl.dir().join("bytes")).unwrap(), "with a blank in its name\n");
    for read_only in ["box:/fixed/x", "box:/x"] {
        let why = kubectl.fails(&["cp", "tree/a file", read_only]);
        assert!(why.contains("the container cannot write there"), "{why}");
    }
    kubectl.ok(&["delete", "pod", "box"]);
}

#[test]
fn a_container_is_attached_to() {
    let Some((_namespace, kubectl)) = tour() else { return };
    let spec = ", args: [listen], stdin: true, stdinOnce: true";
    kubectl.ok_with(&["apply", "-f", "-"], &toolbox("box", spec));
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
    let attached = kubectl.ok_with(&["attach", "-i", "box"], "one\ntwo\n");
    assert!(attached.ends_with("heard one\nheard two\nheard the end\n"), "{attached}");
    kubectl.ok(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/box", "--timeout=60s"]);
    assert!(kubectl.fails(&["attach", "box"]).contains("current phase is Succeeded"));
}

#[test]
fn pods_are_run_and_waited_for() {
    let Some((_namespace, kubectl)) = tour() else { return };
    kubectl.ok(&[
        "run",
        "hello",
        "--image=dunlin.local/hello",
        "--restart=Never",
        "--labels=app=hello",
        "--",
        "tour",
    ]);
    kubectl.ok(&["wait", "--for=create", "pod/hello", "--timeout=10s"]);
    kubectl.ok(&[
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod",
        "-l",
        "app=hello",
        "--timeout=60s",
    ]);
    kubectl.ok(&["wait", "--for=condition=Ready=false", "pod/hello", "--timeout=10s"]);
    assert_eq!(kubectl.ok(&["logs", "hello"]), "hello, tour\n");
    assert_eq!(kubectl.ok(&["logs", "-f", "pod/hello", "--prefix"]), "[pod/hello/hello] hello, tour\n");
    let crasher = "apiVersion: v1\nkind: Pod\nmetadata: {name: crasher}\nspec:\n  containers:\n  \
         - {name: c, image: dunlin.local/crasher, args: [exit, \"3\"]}\n";
    kubectl.ok_with(&["create", "-f", "-"], crasher);
    wait_until("a log of the run before", || {
        let log = kubectl.run(&["logs", "crasher", "--previous"], "");
        if log.stdout.contains("exiting with 3") { Ok(()) } else { Err(format!("{log:?}")) }
    });
    let late = kubectl.fails(&["wait", "--for=condition=Ready", "pod/crasher", "--timeout=1s"]);
    assert!(late.contains("timed out waiting for the condition on pods/crasher"), "{late}");
    kubectl.ok(&["delete", "pod", "crasher", "--now", "--wait=false"]);
    kubectl.ok(&["wait", "--for=delete", "pod/crasher", "--timeout=60s"]);
    kubectl.ok(&["set", "image", "pod/hello", "hello=dunlin.local/ticker", "--dry-run=server"]);
    kubectl.ok(&["delete", "pods", "--all"]);
    assert!(kubectl.run(&["get", "pods"], "").stderr.contains("No resources found"));
}
