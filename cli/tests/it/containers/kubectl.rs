//! kubectl in Linux containers: commands on terminals and off them, attaching, copying, logs.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command},
};

use super::{
    shore::{Berth, on_each_runtime},
    terminal::Terminal,
};
use crate::{cluster::wait_until, kubernetes::kubectl::Kubectl};

/// A container that does nothing until it is told to stop.
const IDLE: &str =
    "containers:\n- {name: c, image: BUSYBOX, command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']}\n";

const SHELL: &str =
    "restartPolicy: Never\ncontainers: [{name: c, image: BUSYBOX, args: [sh], stdin: true, tty: true}]\n";

/// One that repeats what it hears, and ends with its input.
const EAR: &str = "restartPolicy: Never\ncontainers:\n- name: c\n  image: BUSYBOX\n  STREAMS\n  \
                   command: [sh, -c, 'while read -r line; do echo \"heard $line\"; done; echo heard the end; exit 5']\n";

#[test]
fn commands_run_in_a_container() {
    on_each_runtime("commands", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        berth.pod("box", IDLE);
        berth.wait_for("box", "phase", "Running");
        with_streams(&kubectl);
        assert_eq!(on_a_terminal(&kubectl.command(&["exec", "-it", "box", "--", "sh"])), Some(7));
        a_tree_is_copied(&kubectl);
    });
}

fn with_streams(kubectl: &Kubectl) {
    let megabyte = "0123456789abcdef".repeat(1 << 16);
    assert_eq!(kubectl.ok_with(&["exec", "-i", "box", "--", "wc", "-c"], &megabyte).trim(), "1048576");
    assert_eq!(kubectl.ok_with(&["exec", "-i", "box", "--", "cat"], &megabyte), megabyte);
    // Without -i there is no input.
    assert_eq!(kubectl.ok_with(&["exec", "box", "--", "cat"], "ignored"), "");
    let both = kubectl.run(&["exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 42"], "");
    assert_eq!((both.code, both.stdout.as_str()), (42, "out\n"));
    assert_eq!(both.stderr, "err\ncommand terminated with exit code 42\n");
    // A shell sees the signal as its own kernel shows it.
    let killed = kubectl.run(&["exec", "box", "--", "sh", "-c", "kill -9 $$"], "");
    assert_eq!(killed.code, 137, "{killed:?}");
    let missing = kubectl.run(&["exec", "box", "--", "no-such-program"], "");
    assert!(missing.code != 0 && missing.stderr.contains("no-such-program"), "{missing:?}");
}

/// A shell that is typed to, on a terminal that changes its size, and ended with 7; answers what whoever was typed to makes of that.
fn on_a_terminal(command: &Command) -> Option<i32> {
    let mut terminal = Terminal::start(command);
    terminal.types("test -t 0 && test -t 1 && echo on a $TERM terminal; echo size $(stty size)\n");
    terminal.shows("on a xterm terminal");
    terminal.shows("size 30 100");
    terminal.resize(51, 121);
    wait_until("a terminal of another size", || {
        terminal.types("echo size $(stty size)\n");
        let shown = terminal.shows("size ");
        if shown.contains("size 51 121") { Ok(()) } else { Err(shown) }
    });
    // Control-C ends what runs, and not the shell.
    terminal.types("echo sl''eeps; sleep 1000\n");
    terminal.shows("sleeps");
    terminal.types("\u{3}");
    terminal.types("echo still $((40 + 2))\n");
    terminal.shows("still 42");
    terminal.types("exit 7\n");
    terminal.ends()
}

fn a_tree_is_copied(kubectl: &Kubectl) {
    let tree = kubectl.dir().join("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    fs::write(tree.join("a file"), "with a blank in its name\n").unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(tree.join("deep/er/bytes"), bytes).unwrap();
    fs::write(tree.join("deep/run"), "#!/bin/sh\necho it runs\n").unwrap();
    fs::set_permissions(tree.join("deep/run"), fs::Permissions::from_mode(0o755)).unwrap();
    kubectl.ok(&["cp", "tree", "box:/var/tree"]);
    assert_eq!(kubectl.ok(&["exec", "box", "--", "/var/tree/deep/run"]), "it runs\n");
    let listed = kubectl.ok(&["exec", "box", "--", "sh", "-c", "cd /var/tree && find . | sort"]);
    assert_eq!(listed, ".\n./a file\n./deep\n./deep/er\n./deep/er/bytes\n./deep/run\n./empty\n");
    kubectl.ok(&["exec", "box", "--", "sh", "-c", "echo new > /var/tree/empty/new"]);
    fs::write(tree.join("empty/new"), "new\n").unwrap();
    kubectl.ok(&["cp", "box:/var/tree", "back"]);
    assert_same(&tree, &kubectl.dir().join("back"));
    // One file, over one that is there.
    kubectl.ok(&["cp", "tree/a file", "box:/www/index.html"]);
    assert_eq!(kubectl.ok(&["exec", "box", "--", "cat", "/www/index.html"]), "with a blank in its name\n");
}

fn assert_same(one: &Path, other: &Path) {
    let output = Command::new("diff").arg("--recursive").args([one, other]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_container_is_attached_to() {
    on_each_runtime("attaching", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        let pods = [
            ("once", EAR.replace("STREAMS", "stdin: true\n  stdinOnce: true")),
            ("often", EAR.replace("STREAMS", "stdin: true")),
            ("deaf", EAR.replace("  STREAMS\n", "")),
            ("shell", SHELL.to_owned()),
        ];
        pods.iter().for_each(|(name, spec)| berth.pod(name, spec));
        // Its input is empty from the beginning, and ends at once.
        berth.wait_for("deaf", "containerStatuses[0].state.terminated.exitCode", "5");
        assert_eq!(berth.ok(&["logs", "deaf"]), "heard the end\n");
        once(berth, &kubectl);
        often(berth, &kubectl);
        berth.wait_for("shell", "phase", "Running");
        // Who attached learns nothing of the code.
        assert_eq!(on_a_terminal(&kubectl.command(&["attach", "-it", "shell"])), Some(0));
        berth.wait_for("shell", "containerStatuses[0].state.terminated.exitCode", "7");
    });
}

/// Attaches with input, says a line and hears it repeated.
fn attach(kubectl: &Kubectl, pod: &str, line: &str) -> Child {
    let mut caller = kubectl.spawn(&["attach", "-q", "-i", pod]);
    caller.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    let expected = format!("heard {line}\n");
    let mut heard = vec![0; expected.len()];
    caller.stdout.as_mut().unwrap().read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), expected);
    caller
}

/// The first caller's end is the end of the input, although others are attached.
fn once(berth: &Berth, kubectl: &Kubectl) {
    berth.wait_for("once", "phase", "Running");
    // One without input does not count.
    let mut listener = kubectl.spawn(&["attach", "-q", "once"]);
    let mut caller = attach(kubectl, "once", "one");
    listener.kill().unwrap();
    listener.wait().unwrap();
    caller.stdin.as_mut().unwrap().write_all(b"two\n").unwrap();
    caller.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let mut other = attach(kubectl, "once", "three");
    // Killed, it says no goodbye.
    caller.kill().unwrap();
    caller.wait().unwrap();
    let mut rest = String::new();
    other.stdout.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "heard the end\n", "{}", berth.runtime);
    other.wait().unwrap();
    berth.wait_for("once", "containerStatuses[0].state.terminated.exitCode", "5");
    let refused = kubectl.fails(&["attach", "-i", "once"]);
    assert!(refused.contains("current phase is Failed"), "{refused}");
}

/// Callers come and go, and the input stays.
fn often(berth: &Berth, kubectl: &Kubectl) {
    berth.wait_for("often", "phase", "Running");
    for line in ["one", "two"] {
        let mut caller = attach(kubectl, "often", line);
        // The end of its own input is not the container's.
        drop(caller.stdin.take());
        caller.kill().unwrap();
        caller.wait().unwrap();
    }
    assert_eq!(berth.ok(&["logs", "often"]), "heard one\nheard two\n");
    assert_eq!(berth.status("often", "phase"), "Running");
    berth.ok(&["delete", "pod", "often", "--wait=false"]);
}

#[test]
fn logs_are_followed_and_kept_of_the_run_before() {
    on_each_runtime("logs", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        let script = "containers:\n- name: c\n  image: BUSYBOX\n  command: [sh, -c]\n  volumeMounts: [{name: v, mountPath: /v}]\n  \
                      args: ['echo run >> /v/runs; n=$(wc -l < /v/runs); while ! [ -e /v/go$n ]; do sleep 0.1; done; \
                      echo said in run $n; exit 1']\nvolumes: [{name: v, emptyDir: {}}]\n";
        berth.pod("teller", script);
        berth.wait_for("teller", "phase", "Running");
        let mut following = kubectl.spawn(&["logs", "-f", "teller"]);
        kubectl.ok(&["exec", "teller", "--", "touch", "/v/go1"]);
        let mut followed = String::new();
        following.stdout.as_mut().unwrap().read_to_string(&mut followed).unwrap();
        assert_eq!(following.wait().unwrap().code(), Some(0));
        assert_eq!(followed, "said in run 1\n");
        berth.wait_for("teller", "containerStatuses[0].restartCount", "1");
        berth.wait_for("teller", "containerStatuses[0].ready", "true");
        assert_eq!(kubectl.ok(&["logs", "teller", "--previous"]), "said in run 1\n");
        assert_eq!(kubectl.ok(&["logs", "teller"]), "");
        kubectl.ok(&["exec", "teller", "--", "touch", "/v/go2"]);
        wait_until("the log of the second run", || {
            let log = kubectl.ok(&["logs", "teller", "--tail=1"]);
            if log == "said in run 2\n" { Ok(()) } else { Err(log) }
        });
    });
}
