//! A node on another processor: the ARM64 binary of `cargo xtask emulated-node` under user-mode emulation, in the 39 bits of address space
//! that kernels of a Raspberry Pi give, joined to a coordinator of this machine's own kind. The binary has no compiler; what it runs was
//! compiled by the coordinator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    cluster::{wait_within, workloads},
    site::{Machine, Process, Site},
};

#[test]
fn a_node_on_another_processor_runs_what_the_coordinator_compiled() {
    let Some(emulator) = Emulator::find() else {
        println!(
            "SKIPPED: a node for ARM64 or its emulator is not there; `cargo xtask emulated-node` builds one"
        );
        return;
    };
    assert_eq!(emulator.say(&["compile", "--targets"]), "", "the binary has no compiler");
    let refused = emulator.command().args(["edge-node", "--compile", "auto"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    let site = Site::start();
    let here = site.join("here", &site.token(&[]));
    let mut board = site.machine("board", "board");
    let _runner = emulator.start_runner(&board);
    board.start_agent_by(emulator.command(), &["--join", &site.token(&[])]);
    wait_for(&site, "the board Ready", &["get", "node", "board", "--no-headers"], |row| {
        row.contains(" Ready")
    });
    let label = |label: &str| {
        let path = format!("jsonpath={{.metadata.labels['{label}']}}");
        site.ok(&["get", "node", "board", "-o", &path], "")
    };
    assert_eq!(label("kubernetes\\.io/arch"), "arm64");
    let target = label("dunlin\\.dev/target");
    assert!(target.ends_with("-narrow-aarch64-linux"), "{target}");

    for module in ["hello", "crasher", "http-hello"] {
        site.push(module);
    }
    site.ok(&["apply", "-f", "-"], PODS);
    for (pod, node) in [("greets-board", "board"), ("greets-here", here.name())] {
        wait_for_pod(&site, pod, "Completed");
        assert_eq!(site.ok(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"], ""), node);
        assert!(site.ok(&["logs", pod], "").contains(pod));
    }
    wait_for_pod(&site, "fails-board", "Error");
    let code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(site.ok(&["get", "pod", "fails-board", "-o", code], ""), "7");
    wait_for_pod(&site, "web-board", "Running");
    let answer = site.ok(&["get", "--raw", "/api/v1/namespaces/default/pods/web-board/proxy/shore"], "");
    assert!(answer.contains("GET /shore") && answer.contains("on node board"), "{answer}");
    let waiting = site.ok(&["describe", "pod", "greets-none"], "");
    assert!(waiting.contains("2 node(s) didn't match Pod's node affinity/selector"), "{waiting}");

    // Three modules, each with the coordinator's code and its word for it, and none of its own.
    let kinds = |end: &str| files(&board).iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((kinds(&format!(".{target}.cwasm")), kinds(".signed"), kinds(".own")), (3, 3, 0));

    // Another agent adopts what runs.
    board.kill_agent();
    board.start_agent_by(emulator.command(), &[]);
    wait_for(&site, "the board's second session", &["get", "--raw", WEB], |answer| {
        answer.contains("GET /tide")
    });
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    assert_eq!(site.ok(&["get", "pod", "web-board", "-o", restarts], ""), "0");
}

/// How programs for ARM64 are run here.
#[derive(Debug)]
struct Emulator {
    node: PathBuf,
}

impl Emulator {
    fn find() -> Option<Self> {
        let node = workloads().with_file_name("emulated").join("dunlin");
        // On a board itself there is nothing to emulate.
        let is_other = std::env::consts::ARCH == "x86_64";
        (is_other && Path::new(EMULATOR).is_file() && node.is_file()).then_some(Self { node })
    }

    /// The node's binary, without arguments.
    fn command(&self) -> Command {
        let mut command = Command::new(EMULATOR);
        command.args(["-R", ADDRESS_SPACE, "-L", LIBRARIES]).arg(&self.node);
        command
    }

    fn say(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the process that guests run in, which an agent adopts: it could not start one itself, since this machine's kernel does not
    /// know how to run such a binary.
    fn start_runner(&self, machine: &Machine) -> Process {
        fs::create_dir_all(&machine.state).unwrap();
        let mut command = self.command();
        command.args(["runner", "--compile", "never", "--socket"]).arg(machine.state.join("runner.sock"));
        let log = machine.state.join("runner.log");
        let process = Process::spawn(command, &log);
        wait_within(EMULATED_WITHIN, "an emulated runner", || {
            let said = fs::read_to_string(&log).unwrap();
            if said.contains("runner is ready") { Ok(()) } else { Err(said) }
        });
        process
    }
}

/// The names of files of a machine's modules.
fn files(machine: &Machine) -> Vec<String> {
    let entries = fs::read_dir(machine.state.join("modules")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn wait_for_pod(site: &Site, pod: &str, status: &str) {
    wait_for(site, &format!("pod {pod} {status}"), &["get", "pod", pod, "--no-headers"], |row| {
        row.split_whitespace().nth(2) == Some(status)
    });
}

fn wait_for(site: &Site, what: &str, args: &[&str], wanted: impl Fn(&str) -> bool) {
    wait_within(EMULATED_WITHIN, what, || {
        let answer = site.dunlin(args, "");
        if answer.code == 0 && wanted(&answer.stdout) {
            Ok(())
        } else {
            Err(format!("{answer:?}\n{}", site.log()))
        }
    });
}

/// A pod for each processor, and one for a processor that no node has.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: greets-board}
spec:
  restartPolicy: Never
  nodeSelector: {kubernetes.io/arch: arm64}
  containers: [{name: c, image: dunlin.local/hello, args: [greets-board]}]
---
apiVersion: v1
kind: Pod
metadata: {name: greets-here}
spec:
  restartPolicy: Never
  nodeSelector: {kubernetes.io/arch: amd64}
  containers: [{name: c, image: dunlin.local/hello, args: [greets-here]}]
---
apiVersion: v1
kind: Pod
metadata: {name: greets-none}
spec:
  nodeSelector: {kubernetes.io/arch: riscv64}
  containers: [{name: c, image: dunlin.local/hello}]
---
apiVersion: v1
kind: Pod
metadata: {name: fails-board}
spec:
  restartPolicy: Never
  nodeSelector: {kubernetes.io/arch: arm64}
  containers: [{name: c, image: dunlin.local/crasher, args: [exit, '7']}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-board}
spec:
  nodeSelector: {kubernetes.io/arch: arm64}
  containers:
  - name: c
    image: dunlin.local/http-hello
    ports: [{containerPort: 8080}]
    env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
";

const WEB: &str = "/api/v1/namespaces/default/pods/web-board/proxy/tide";

const EMULATOR: &str = "/usr/bin/qemu-aarch64-static";

/// Where Debian has the C library of ARM64 on other machines.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// The end of 39 bits, but for what the emulator needs at the top.
const ADDRESS_SPACE: &str = "0x7fffff0000";

/// Emulated programs take ten times as long, beside all other tests.
const EMULATED_WITHIN: Duration = Duration::from_secs(240);
