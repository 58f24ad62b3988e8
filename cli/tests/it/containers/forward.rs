//! Ports of containers are forwarded, by kubectl and by `dunlin`: what listens on their localhost is reached, and nothing is lost on the way.

use std::{io::Read as _, process::Command, thread};

use dunlin_link::Digest;

use super::shore::{Berth, on_each_runtime};
use crate::{forwarding::Forward, site::free_port};

/// A web server on localhost alone, one that sums up what it hears to its end, and one that says 20 MB.
const SERVERS: &str = "volumes: [{name: v, emptyDir: {}}]
containers:
- {name: web, image: BUSYBOX, command: [httpd, -f, -p, '127.0.0.1:8081', -h, /www]}
- {name: sum, image: BUSYBOX, command: [nc, -ll, -p, '9000', -e, sha256sum]}
- name: bulk
  image: BUSYBOX
  volumeMounts: [{name: v, mountPath: /v}]
  command: [sh, -c, 'dd if=/dev/urandom of=/v/bulk bs=1M count=20 && exec nc -ll -p 9001 -e cat /v/bulk']
  readinessProbe: {exec: {command: [sh, -c, 'netstat -ltn | grep -q :9001']}, periodSeconds: 1}
";

#[test]
fn what_listens_on_localhost_is_reached() {
    on_each_runtime("forward", |berth| {
        let Some(kubectl) = berth.kubectl() else { return };
        berth.pod("servers", SERVERS);
        berth.ok(&["wait", "--for=condition=Ready", "pod/servers", "--timeout=60s"]);
        // Both ways in which kubectl can be had to speak.
        for over_websocket in ["true", "false"] {
            let forward = |words: &[&str]| {
                let mut command = kubectl.command(&[&["port-forward"], words].concat());
                command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", over_websocket);
                command
            };
            servers_answer(berth, &Forward::start(forward(&["pod/servers", ":8081", ":9000", ":9001"]), 3));
            nobody_listens(Forward::start(forward(&["servers", ":9"]), 1));
        }
        let own = |words: &[&str]| berth.command(&[&["port-forward"], words].concat());
        servers_answer(berth, &Forward::start(own(&["pod/servers", ":8081", ":9000", ":9001"]), 3));
        on_the_machine(berth, &|pod, port| own(&[pod, &format!(":{port}")]));
        on_the_machine(berth, &|pod, port| kubectl.command(&["port-forward", pod, &format!(":{port}")]));
        guests_beside_containers(berth, |pod, port| {
            kubectl.command(&["port-forward", pod, &format!(":{port}")])
        });
        a_pod_goes(berth, Forward::start(kubectl.command(&["port-forward", "servers", ":8081"]), 1));
    });
}

fn servers_answer(berth: &Berth, forward: &Forward) {
    assert_eq!(forward.page(8081, "/index.html"), "dunlin\n");
    // One that says nothing keeps nobody waiting.
    let _silent = forward.connect(9000);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(forward.page(8081, "/index.html"), "dunlin\n"));
        }
    });
    let bulk = forward.ask(9001, b"");
    let hex = |bytes: &[u8]| Digest::of(bytes).to_string().trim_start_matches("sha256:").to_owned();
    let summed = berth.dunlin(&["exec", "servers", "-c", "bulk", "--", "sha256sum", "/v/bulk"], "");
    assert_eq!((bulk.len(), summed.stdout), (20 << 20, format!("{}  /v/bulk\n", hex(&bulk))));
    // The sum is told when this side has ended, on the other.
    let told = String::from_utf8(forward.ask(9000, &bulk)).unwrap();
    assert_eq!(told, format!("{}  -\n", hex(&bulk)));
    assert_eq!(forward.complaints(), "");
}

fn nobody_listens(forward: Forward) {
    assert_eq!(forward.ask(9, b""), b"");
    forward.complains("error forwarding port 9 to pod servers, uid ");
    let (code, complaints) = forward.ended();
    let why = "failed to connect to localhost:9 inside the pod: connection refused";
    assert!(complaints.contains(why) && complaints.contains("lost connection to pod"), "{complaints}");
    assert_eq!(code, Some(1));
}

/// A pod on the machine's network has the machine's localhost.
fn on_the_machine(berth: &Berth, forward: &dyn Fn(&str, u16) -> Command) {
    let port = free_port();
    berth.pod(
        "machine",
        &format!(
            "hostNetwork: true\ncontainers:\n\
             - {{name: c, image: BUSYBOX, command: [httpd, -f, -p, '127.0.0.1:{port}', -h, /www]}}\n"
        ),
    );
    berth.wait_for("machine", "phase", "Running");
    assert_eq!(Forward::start(forward("machine", port), 1).page(port, "/index.html"), "dunlin\n");
    berth.ok(&["delete", "pod", "machine"]);
}

/// A pod with both kinds has one localhost.
fn guests_beside_containers(berth: &Berth, forward: impl Fn(&str, u16) -> Command) {
    berth.pod(
        "both",
        "containers:\n- {name: c, image: BUSYBOX, command: [httpd, -f, -p, '127.0.0.1:8081', -h, /www]}\n\
         - {name: w, image: dunlin.local/http-hello, ports: [{containerPort: 8080}]}\n",
    );
    berth.ok(&["wait", "--for=condition=Ready", "pod/both", "--timeout=60s"]);
    assert!(Forward::start(forward("both", 8080), 1).page(8080, "/at").contains("GET /at"));
    assert_eq!(Forward::start(forward("both", 8081), 1).page(8081, "/index.html"), "dunlin\n");
}

/// A connection ends with its pod, and the forward with the next one.
fn a_pod_goes(berth: &Berth, forward: Forward) {
    let mut open = forward.connect(8081);
    assert_eq!(forward.page(8081, "/index.html"), "dunlin\n");
    berth.ok(&["delete", "pod", "servers"]);
    // Whether by an end or by a reset.
    let _ = open.read(&mut [0]);
    assert_eq!(forward.ask(8081, b""), b"");
    let (code, complaints) = forward.ended();
    assert!(complaints.contains("error forwarding port 8081"), "{complaints}");
    assert_eq!(code, Some(1));
}
