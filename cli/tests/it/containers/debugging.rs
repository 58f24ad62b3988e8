//! `kubectl debug`: containers that are added to pods that run, copies of pods, and a pod that sees its node.

use std::process::Command;

use super::{
    shore::{Berth, on_each_runtime},
    terminal::Terminal,
};
use crate::{
    cluster::{BINARY, wait_until},
    kubernetes::kubectl::Kubectl,
};

const TARGET: &str = "containers:\n- name: app\n  image: BUSYBOX\n  \
                      command: [sh, -c, 'echo mark > /mark; trap exit TERM; while :; do sleep 0.1; done']\n  volumeMounts: [{name: v, mountPath: /v}]\n\
                      volumes: [{name: v, emptyDir: {}}]\n";

const MIXED: &str = "containers:\n- {name: c, image: BUSYBOX, command: [httpd, -f, -p, '8081']}\n- {name: w, image: dunlin.local/ticker}\n";

/// The state of a container that was added.
const STATE: &str = "ephemeralContainerStatuses[?(@.name==\"NAME\")].state";

fn state_of(name: &str, rest: &str) -> String {
    format!("{}{rest}", STATE.replace("NAME", name))
}

#[test]
fn a_running_container_is_debugged() {
    on_each_runtime("debugging", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        berth.pod("box", TARGET);
        berth.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
        on_a_terminal(berth, &kubectl);
        without_one(berth, &kubectl);
        of_profiles(berth, &kubectl);
        by_hand(&kubectl);
        assert_eq!(berth.status("box", "containerStatuses[0].restartCount"), "0");
        assert_eq!(berth.status("box", "conditions[?(@.type==\"Ready\")].status"), "True");
        let described = kubectl.ok(&["describe", "pod", "box"]);
        assert!(described.contains("Ephemeral Containers:\n  shell:"), "{described}");
        let ours = berth.ok(&["describe", "pod", "box"]);
        assert!(ours.contains("Ephemeral Containers:\n  shell:"), "{ours}");
        // Those that run go with the pod.
        kubectl.ok(&["debug", "box", "-c", "idle", "--image", &berth.shore.image, "--", "sleep", "10000"]);
        wait_until("it runs", || match berth.status("box", &state_of("idle", ".running.startedAt")) {
            none if none.is_empty() => Err(berth.status("box", "ephemeralContainerStatuses")),
            _ => Ok(()),
        });
        berth.ok(&["delete", "pod", "box"]);
    });
}

/// A shell among the processes of the container, with its files in reach.
fn on_a_terminal(berth: &Berth, kubectl: &Kubectl) {
    let image = &berth.shore.image;
    let words = ["debug", "-it", "box", "-c", "shell", "--image", image, "--target", "app", "--", "sh"];
    let mut terminal = Terminal::start(&kubectl.command(&words));
    terminal.shows("# ");
    terminal.types("cat /proc/1/root/mark; [ -e /mark ] || echo a file sys''tem of its own\n");
    terminal.shows("a file system of its own");
    terminal.types("tr '\\0' ' ' < /proc/1/cmdline; echo; hostname; stty size\n");
    let shown = terminal.shows("30 100");
    assert!(shown.contains("mark") && shown.contains("sh -c echo mark") && shown.contains("box"), "{shown}");
    // By another caller, in the container that was added.
    assert_eq!(kubectl.ok(&["exec", "box", "-c", "shell", "--", "cat", "/proc/1/root/mark"]), "mark\n");
    terminal.types("exit 3\n");
    terminal.ends();
    berth.wait_for("box", &state_of("shell", ".terminated.exitCode"), "3");
}

/// What it says is in its log, and it runs once.
fn without_one(berth: &Berth, kubectl: &Kubectl) {
    let image = &berth.shore.image;
    kubectl.ok(&[
        "debug",
        "box",
        "-c",
        "teller",
        "--image",
        image,
        "--",
        "sh",
        "-c",
        "echo told; ps; exit 4",
    ]);
    berth.wait_for("box", &state_of("teller", ".terminated.exitCode"), "4");
    let log = kubectl.ok(&["logs", "box", "-c", "teller"]);
    assert!(
        log.starts_with("told\n") && !log.contains("echo mark"),
        "without a target it sees its own: {log}"
    );
    let restarts = "ephemeralContainerStatuses[?(@.name==\"teller\")].restartCount";
    assert_eq!(berth.status("box", restarts), "0");
    let ear =
        ["debug", "-i", "-q", "box", "--image", image, "--", "sh", "-c", "read -r line; echo heard $line"];
    assert_eq!(kubectl.ok_with(&ear, "a word\n"), "heard a word\n");
    let events = berth.ok(&["get", "events", "-o", "jsonpath={.items[*].involvedObject.fieldPath}"]);
    assert!(events.contains("spec.ephemeralContainers{teller}"), "{events}");
}

/// What profiles of kubectl's give and take.
fn of_profiles(berth: &Berth, kubectl: &Kubectl) {
    let image = &berth.shore.image;
    let debug = |profile: &str, line: &str| {
        let profiled = format!("--profile={profile}");
        kubectl.ok(&["debug", "box", "-c", profile, &profiled, "--image", image, "--", "sh", "-c", line]);
        berth.wait_for("box", &state_of(profile, ".terminated.exitCode"), "0");
        kubectl.ok(&["logs", "box", "-c", profile])
    };
    let address = "ip addr add 127.0.0.9/8 dev lo 2>/dev/null && echo may || echo may not";
    assert_eq!(debug("general", address), "may not\n");
    assert_eq!(debug("netadmin", address), "may\n");
    assert_eq!(debug("sysadmin", "grep -c 'CapEff.*[1-9a-f]' /proc/self/status"), "1\n");
    kubectl.ok(&["debug", "box", "-c", "narrow", "--profile=restricted", "--image", image, "--", "id"]);
    berth.wait_for("box", &state_of("narrow", ".waiting.reason"), "CreateContainerConfigError");
    let why = berth.status("box", &state_of("narrow", ".waiting.message"));
    assert!(why.contains("image will run as root"), "{why}");
    kubectl.ok(&["debug", "box", "-c", "lost", "--image", "127.0.0.1:1/nowhere:1", "--", "id"]);
    berth.wait_for("box", &state_of("lost", ".waiting.reason"), "ImagePullBackOff");
}

/// What the API lets nobody do.
fn by_hand(kubectl: &Kubectl) {
    let patch = |subresource: &str, patch: &str| {
        kubectl.run(
            &["patch", "pod", "box", "--type=json", &format!("--subresource={subresource}"), "-p", patch],
            "",
        )
    };
    let raw = kubectl.ok(&["get", "pod", "box", "--subresource=ephemeralcontainers", "-o", "name"]);
    assert_eq!(raw, "pod/box\n");
    let gone = patch("ephemeralcontainers", r#"[{"op": "remove", "path": "/spec/ephemeralContainers/0"}]"#);
    assert!(gone.stderr.contains("existing ephemeral containers \"shell\" may not be removed"), "{gone:?}");
    let other = r#"[{"op": "replace", "path": "/spec/ephemeralContainers/0/image", "value": "x"}]"#;
    let other = patch("ephemeralcontainers", other);
    assert!(other.stderr.contains("existing ephemeral containers \"shell\" may not be changed"), "{other:?}");
    // Nothing else is written that way.
    let label = r#"[{"op": "add", "path": "/spec/containers/0/image", "value": "x"}]"#;
    assert!(patch("ephemeralcontainers", label).stdout.contains("no change"));
    let probed = r#"[{"op": "add", "path": "/spec/ephemeralContainers/-", "value":
                      {"name": "p", "image": "x", "targetContainerName": "none", "ports": [{"containerPort": 1}]}}]"#;
    let refused = patch("ephemeralcontainers", probed).stderr;
    for part in [
        ".targetContainerName: Not found: \"none\"",
        ".ports: Forbidden: cannot be set for an Ephemeral Container",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let plain = kubectl.run(
        &["patch", "pod", "box", "-p", r#"{"spec": {"ephemeralContainers": [{"name": "q", "image": "x"}]}}"#],
        "",
    );
    assert!(plain.stderr.contains("pod updates may not change fields other than"), "{plain:?}");
    let made = "apiVersion: v1\nkind: Pod\nmetadata: {name: made}\nspec:\n  containers: [{name: c, image: x}]\n  \
                ephemeralContainers: [{name: e, image: x}]\n";
    let made = kubectl.run(&["create", "-f", "-"], made);
    assert!(made.stderr.contains("spec.ephemeralContainers: Forbidden: cannot be set on create"), "{made:?}");
}

#[test]
fn copies_of_pods_and_nodes_are_debugged() {
    on_each_runtime("copying", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        let image = &berth.shore.image;
        berth.pod("box", TARGET);
        berth.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
        let line = "until ps | grep -q 'echo mar[k]'; do sleep 0.1; done; echo sees it; sleep 10000";
        let copy = ["debug", "box", "--copy-to=copy", "--share-processes", "-c", "beside", "--image", image];
        kubectl.ok(&[&copy[..], &["--", "sh", "-c", line]].concat());
        berth.ok(&["wait", "--for=condition=Ready", "pod/copy", "--timeout=60s"]);
        let seen = || kubectl.ok(&["logs", "copy", "-c", "beside"]);
        wait_until("one container of the copy sees the other's processes", || {
            if seen() == "sees it\n" { Ok(()) } else { Err(seen()) }
        });
        let node = format!("node/{}", berth.runtime);
        let line = "cat /host/proc/1/comm | grep -c .; [ -d /host/etc ] && echo its files; ps | grep -q 'dunli[n]' && echo its processes";
        let words = ["debug", &node, "--profile=sysadmin", "--image", image, "--", "sh", "-c", line];
        // Its pod has no credentials, but the image is here.
        let told = kubectl.run(&words, "");
        let pod = told
            .stdout
            .split(' ')
            .chain(told.stderr.split(' '))
            .find(|word| word.starts_with("node-debugger-"));
        let pod = pod.unwrap_or_else(|| panic!("{told:?}"));
        berth.wait_for(pod, "phase", "Succeeded");
        assert_eq!(kubectl.ok(&["logs", pod]), "1\nits files\nits processes\n");
        assert_eq!(berth.status(pod, "podIP"), berth.status(pod, "hostIP"));
    });
}

#[test]
fn our_own_command_line_debugs_in_the_same_words() {
    on_each_runtime("words", |berth| {
        let image = &berth.shore.image;
        berth.pod("box", TARGET);
        berth.ok(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
        let line = "cat /proc/1/root/mark; read -r line; echo heard $line";
        let ear = ["debug", "-i", "-q", "box", "--target=app", "--image", image, "--", "sh", "-c", line];
        let heard = berth.dunlin(&ear, "a word\n");
        assert!(heard.code == 0 && heard.stdout.ends_with("heard a word\n"), "{heard:?}");
        let mut command = Command::new(BINARY);
        command.args([
            "-n",
            &berth.namespace,
            "debug",
            "-it",
            "box",
            "-c",
            "shell",
            "--image",
            image,
            "--",
            "sh",
        ]);
        command.env("DUNLIN_CONFIG", berth.shore.site.config());
        let mut terminal = Terminal::start(&command);
        terminal.shows("# ");
        terminal.types("echo size $(stty size); exit 3\n");
        terminal.shows("size 30 100");
        assert_eq!(terminal.ends(), Some(0));
        berth.wait_for("box", &state_of("shell", ".terminated.exitCode"), "3");
        assert!(berth.ok(&["logs", "box", "-c", "shell"]).contains("size 30 100"));
        assert!(berth.ok(&["logs", "box", "--all-containers"]).contains("size 30 100"));
        let copied =
            berth.dunlin(&["debug", "box", "--copy-to=copy", "--image", image, "--", "sleep", "1000"], "");
        assert!(copied.stderr.contains("Defaulting debug container name to debugger-"), "{copied:?}");
        berth.ok(&["wait", "--for=condition=Ready", "pod/copy", "--timeout=60s"]);
        let node = format!("node/{}", berth.runtime);
        let made = berth.dunlin(&["debug", &node, "--image", image, "--", "ls", "/host"], "");
        let pod = made.stderr.split(' ').find(|word| word.starts_with("node-debugger-"));
        let pod = pod.unwrap_or_else(|| panic!("{made:?}"));
        berth.wait_for(pod, "phase", "Succeeded");
        assert!(berth.ok(&["logs", pod]).contains("etc\n"));
        let refused = berth.dunlin(&["debug", "box", "--replace", "--image", image], "");
        assert!(refused.stderr.contains("--replace may only be used with --copy-to."), "{refused:?}");
        let missing = berth.dunlin(&["debug", "box", "--target=none", "--image", image], "");
        assert!(missing.stderr.contains("targetContainerName: Not found: \"none\""), "{missing:?}");
    });
}

#[test]
fn a_pod_of_modules_is_debugged_with_modules() {
    on_each_runtime("modules", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        berth.pod("wasm", "containers: [{name: w, image: dunlin.local/ticker}]\n");
        berth.ok(&["wait", "--for=condition=Ready", "pod/wasm", "--timeout=60s"]);
        let guest = ["debug", "wasm", "-c", "guest", "--image", "dunlin.local/files", "--target", "w"];
        kubectl.ok(&[&guest[..], &["--arguments-only", "--", "read", "/nothing"]].concat());
        berth.wait_for("wasm", &state_of("guest", ".terminated.reason"), "Error");
        assert!(!kubectl.ok(&["logs", "wasm", "-c", "guest"]).is_empty());
        kubectl.ok(&["debug", "wasm", "-c", "linux", "--image", &berth.shore.image, "--", "id"]);
        berth.wait_for("wasm", &state_of("linux", ".waiting.reason"), "CreateContainerConfigError");
        let why = berth.status("wasm", &state_of("linux", ".waiting.message"));
        assert!(why.contains("the pod has WASM containers alone") && why.contains("--copy-to"), "{why}");
        assert_eq!(berth.status("wasm", "containerStatuses[0].restartCount"), "0");
        // In a pod with a sandbox of its own a module joins the others, and who wants to see its processes is told that it has none.
        berth.pod("mixed", MIXED);
        berth.ok(&["wait", "--for=condition=Ready", "pod/mixed", "--timeout=60s"]);
        let guest = ["debug", "mixed", "-c", "guest", "--image", "dunlin.local/files", "--arguments-only"];
        kubectl.ok(&[&guest[..], &["--", "read", "/nothing"]].concat());
        berth.wait_for("mixed", &state_of("guest", ".terminated.reason"), "Error");
        let linux =
            ["debug", "mixed", "-c", "linux", "--image", &berth.shore.image, "--target", "w", "--", "id"];
        kubectl.ok(&linux);
        berth.wait_for("mixed", &state_of("linux", ".waiting.reason"), "CreateContainerError");
        let why = berth.status("mixed", &state_of("linux", ".waiting.message"));
        assert!(why.contains("the target container has no processes"), "{why}");
    });
}
