//! Pods with WASM and Linux containers: they share localhost, volumes and lifecycle, and wait for each other.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use super::shore::{Berth, on_each_runtime};

const PAIR: &str = "terminationGracePeriodSeconds: 5
volumes: [{name: v, emptyDir: {}}]
containers:
- name: c
  image: BUSYBOX
  command: [sh, -c]
  args: ['trap \"echo told to stop; exit 0\" TERM; httpd -p 8081 -h /www; while :; do sleep 0.1; done']
  volumeMounts: [{name: v, mountPath: /shared}]
- name: w
  image: dunlin.local/service
  ports: [{name: http, containerPort: 8080}]
  volumeMounts: [{name: v, mountPath: /v}]
";

const TALKERS: &str = "containers:
- {name: c, image: BUSYBOX, command: [httpd, -f, -p, '8081', -h, /www]}
- {name: w, image: dunlin.local/interfaces, command: [interfaces, serve, '9000'], ports: [{containerPort: 9000}]}
- {name: ear, image: dunlin.local/toolbox, args: [listen], stdin: true, stdinOnce: true}
";

#[test]
fn a_component_and_a_container_talk_over_localhost_and_a_volume() {
    on_each_runtime("pair", |berth| {
        berth.pod_with("pair", "dunlin.dev/entry: http", PAIR);
        berth.pod("talkers", TALKERS);
        berth.ok(&["wait", "--for=condition=Ready", "pod/pair", "--timeout=60s"]);
        // The component answers on localhost; each reads what the other wrote.
        let ask = |words: &[&str]| {
            let asked = berth.dunlin(&[&["exec", "pair", "-c", "c", "--"], words].concat(), "");
            assert_eq!(asked.code, 0, "{}: {words:?}: {asked:?}", berth.runtime);
            asked.stdout
        };
        assert!(ask(&["wget", "-qO-", "http://127.0.0.1:8080/"]).starts_with("request 1 at 127.0.0.1:8080,"));
        ask(&["sh", "-c", "echo by the container > /shared/one"]);
        assert_eq!(ask(&["wget", "-qO-", "http://localhost:8080/file/v/one"]), "by the container\n");
        let written = ["--post-data", "by the component", "http://localhost:8080/file/v/two"];
        assert_eq!(ask(&[&["wget", "-qO-"], &written[..]].concat()), "by the component");
        assert_eq!(ask(&["cat", "/shared/two"]), "by the component");
        talk(berth);
        deleted_together(berth);
    });
}

/// Guests reach a container's server, and a container reaches what a guest listens on.
fn talk(berth: &Berth) {
    berth.ok(&["wait", "--for=condition=Ready", "pod/talkers", "--timeout=60s"]);
    let fetched = berth.dunlin(
        &["exec", "talkers", "-c", "w", "--", "interfaces", "fetch", "http://localhost:8081/index.html"],
        "",
    );
    assert!(fetched.stdout.contains("dunlin"), "{fetched:?}");
    let echoed = ["exec", "-i", "talkers", "-c", "c", "--", "nc", "-w", "5", "127.0.0.1", "9000"];
    assert_eq!(berth.dunlin(&echoed, "heard\n").stdout, "heard\n");
    let heard = berth.dunlin(&["attach", "-q", "-i", "talkers", "-c", "ear"], "one\n");
    assert!(heard.stdout.ends_with("heard one\nheard the end\n"), "{heard:?}");
}

/// Both are told, and gone within the grace; neither waits for the other.
fn deleted_together(berth: &Berth) {
    let mut log = berth.spawn(&["logs", "-f", "pair", "-c", "c"]);
    let begun = Instant::now();
    berth.ok(&["delete", "pod", "pair"]);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{}: {took:?}", berth.runtime);
    let mut said = String::new();
    log.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    log.wait().unwrap();
    assert_eq!(said, "told to stop\n");
}

#[test]
fn containers_of_one_kind_go_before_and_beside_those_of_the_other() {
    on_each_runtime("order", |berth| {
        let relay = "restartPolicy: Never\nvolumes: [{name: v, emptyDir: {}}]\ninitContainers:\n\
                     - {name: first, image: dunlin.local/files, args: [write, /v/x, 'by a guest '], volumeMounts: [{name: v, mountPath: /v}]}\n\
                     - {name: then, image: BUSYBOX, command: [sh, -c, 'echo and a container >> /v/x'], volumeMounts: [{name: v, mountPath: /v}]}\n\
                     - {name: beside, image: dunlin.local/http-hello, restartPolicy: Always, ports: [{name: http, containerPort: 8080}]}\n";
        let linux = "containers:\n- name: c\n  image: BUSYBOX\n  volumeMounts: [{name: v, mountPath: /v}]\n  command: [sh, -c]\n  \
                     args: ['cat /v/x; wget -qO- http://127.0.0.1:8080/at | grep GET']\n";
        let wasm = "containers:\n- {name: c, image: dunlin.local/files, args: [read, /v/x], volumeMounts: [{name: v, mountPath: /v}]}\n";
        berth.pod("linux", &format!("{relay}{linux}"));
        berth.pod("wasm", &format!("{relay}{wasm}"));
        let busy = "restartPolicy: Never\ninitContainers:\n- name: beside\n  image: BUSYBOX\n  restartPolicy: Always\n  \
                    command: [httpd, -f, -p, '8081', -h, /www]\n  startupProbe: {tcpSocket: {port: 8081}, periodSeconds: 1}\n\
                    containers:\n- {name: c, image: dunlin.local/interfaces, command: [interfaces, fetch, 'http://localhost:8081/index.html']}\n";
        berth.pod("busy", busy);
        for (pod, expected) in [
            ("linux", "by a guest and a container\nGET /at\n"),
            ("wasm", "by a guest and a container\n"),
            ("busy", "dunlin\n"),
        ] {
            // Its sidecar ends with it, or it would run for ever.
            berth.wait_for(pod, "phase", "Succeeded");
            let said = berth.ok(&["logs", pod, "-c", "c"]);
            assert!(said.contains(expected), "{pod} by {}: {said}", berth.runtime);
        }
        let beside = "initContainerStatuses[2].state.terminated.reason";
        assert!(!berth.status("linux", beside).is_empty());
    });
}
