//! What a pod says of its Linux containers, looked at from inside: what they may use, whose namespaces they are in, their volumes, and
//! what is done around their lives.

use std::{fs, path::Path};

use super::shore::{Berth, on_each_runtime};

/// A container that runs a script to its end.
fn script(before: &str, lines: &[&str], more: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "restartPolicy: Never\n{before}containers:\n- name: c\n  image: BUSYBOX\n{more}  command: [sh, -c]\n  args:\n  - |\n{lines}"
    )
}

/// Runs a pod to its end; answers what it said.
fn said(berth: &Berth, pod: &str) -> String {
    berth.wait_for(pod, "phase", "Succeeded");
    berth.ok(&["logs", pod, "-c", "c"])
}

#[test]
fn a_container_has_what_it_may_use() {
    on_each_runtime("limits", |berth| {
        let lines = [
            "cd /sys/fs/cgroup; show() { if [ -e $1 ]; then cat $1; else cat $2; fi; }",
            "echo limit $(show memory/memory.limit_in_bytes memory.max)",
            "if [ -e cpu.max ]; then cat cpu.max; else echo $(cat cpu/cpu.cfs_quota_us) $(cat cpu/cpu.cfs_period_us); fi",
            "[ -e cpu.weight ] || [ $(cat cpu/cpu.shares) = 102 ] && echo a weight",
            "echo of the request $REQUEST, of the limit $LIMIT, of the machine $(cat /proc/self/oom_score_adj)",
        ];
        let env = "  env:\n  - {name: REQUEST, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}\n  \
                   - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}\n";
        let burstable =
            "  resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi}}\n";
        berth.pod("burstable", &script("", &lines, &format!("{env}{burstable}")));
        let same = "  resources: {limits: {cpu: 250m, memory: 32Mi}}\n";
        berth.pod("guaranteed", &script("", &lines, &format!("{env}{same}")));
        berth.pod("besteffort", &script("", &lines[4..], ""));
        let seen = said(berth, "burstable");
        let (usage, adjusted) = seen.rsplit_once("of the machine ").unwrap();
        assert_eq!(usage, "limit 67108864\n50000 100000\na weight\nof the request 100, of the limit 64, ");
        assert!((3..1000).contains(&adjusted.trim().parse::<i32>().unwrap()), "{adjusted}");
        let seen = said(berth, "guaranteed");
        assert!(seen.starts_with("limit 33554432\n25000 100000\n"), "{seen}");
        let seen = said(berth, "besteffort");
        assert!(seen.ends_with(" 1000\n"), "{seen}");
        // Pods of one class are weighed together.
        for (pod, class) in
            [("burstable", "Burstable"), ("guaranteed", "Guaranteed"), ("besteffort", "BestEffort")]
        {
            assert_eq!(berth.status(pod, "qosClass"), class);
        }
    });
}

#[test]
fn a_container_is_in_the_namespaces_that_its_pod_says() {
    on_each_runtime("namespaces", |berth| {
        let look = ["for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done"];
        berth.pod("host", &script("hostNetwork: true\nhostPID: true\nhostIPC: true\n", &look, ""));
        berth.pod("own", &script("", &look, ""));
        let named = script(
            "hostname: nest\nsubdomain: reef\nsetHostnameAsFQDN: true\nsecurityContext:\n  sysctls:\n  \
             - {name: kernel.shm_rmid_forced, value: '1'}\n  - {name: net.ipv4.ip_unprivileged_port_start, value: '80'}\n",
            &[
                "hostname",
                "grep -c \"$(hostname)\" /etc/hosts",
                "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start",
                "ip -o -4 address show dev eth0 | grep -c \" $IP/\"",
                "ip route | grep -c '^default'",
                "ls /sys/class/net",
            ],
            "  env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]\n",
        );
        berth.pod("named", &named);
        let shared = script(
            "shareProcessNamespace: true\ninitContainers:\n- name: other\n  image: BUSYBOX\n  restartPolicy: Always\n  \
             command: [sleep, '77777']\n",
            &["ps -o args | grep -c '^sleep 7777[7]'", "readlink /proc/1/exe || echo hidden"],
            "",
        );
        berth.pod("shared", &shared);
        let (host, own) = (said(berth, "host"), said(berth, "own"));
        for (kind, (host, own)) in ["net", "ipc", "uts", "pid"].iter().zip(host.lines().zip(own.lines())) {
            let machine = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
            assert_ne!(own, machine, "{kind}");
            // The host name is the machine's with its network.
            assert_eq!(host, machine, "{kind}");
        }
        let full = format!("nest.reef.{}.svc.cluster.local", berth.namespace);
        assert_eq!(said(berth, "named"), format!("{full}\n1\n1\n80\n1\n1\neth0\nlo\n"));
        assert!(said(berth, "shared").starts_with("1\n"));
    });
}

#[test]
fn a_container_sees_volumes_of_all_kinds() {
    on_each_runtime("volumes", |berth| {
        let machine = tempfile::tempdir().unwrap();
        let path = |name: &str| machine.path().join(name).display().to_string();
        fs::create_dir_all(machine.path().join("folder/part")).unwrap();
        fs::write(machine.path().join("folder/part/file"), "of the machine\n").unwrap();
        berth.apply(OBJECTS);
        let volumes = VOLUMES.replace("MACHINE", &machine.path().display().to_string());
        berth.pod("volumes", &script(&volumes, LOOKS, MOUNTS));
        assert_eq!(said(berth, "volumes"), SEEN, "{}", berth.runtime);
        assert_eq!(fs::read_to_string(path("folder/part/new")).unwrap(), "by the container\n");
        assert!(Path::new(&path("made")).is_dir() && Path::new(&path("touched")).is_file());
        // What must be there and is not, or is something else.
        let wrong = format!("volumes: [{{name: w, hostPath: {{path: '{}', type: File}}}}]\n", path("folder"));
        berth.pod("wrong", &script(&wrong, &["true"], "  volumeMounts: [{name: w, mountPath: /w}]\n"));
        let events = ["get", "events", "--field-selector", "involvedObject.name=wrong"];
        crate::cluster::wait_until("a refused volume", || {
            let events = berth.ok(&events);
            if events.contains("hostPath type check failed") { Ok(()) } else { Err(events) }
        });
    });
}

const OBJECTS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red, size: '2'}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hush}
";

const VOLUMES: &str = "securityContext: {runAsUser: 1000, fsGroup: 2000}
volumes:
- {name: disk, emptyDir: {}}
- {name: memory, emptyDir: {medium: Memory}}
- {name: map, configMap: {name: settings}}
- {name: keys, secret: {secretName: keys, defaultMode: 0440}}
- {name: all, projected: {sources: [{configMap: {name: settings, items: [{key: size, path: deep/size}]}},
    {secret: {name: keys}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}}
- {name: folder, hostPath: {path: 'MACHINE/folder', type: Directory}}
- {name: made, hostPath: {path: 'MACHINE/made', type: DirectoryOrCreate}}
- {name: touched, hostPath: {path: 'MACHINE/touched', type: FileOrCreate}}
- {name: device, hostPath: {path: /dev/null, type: CharDevice}}
";

const MOUNTS: &str = "  env: [{name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  securityContext: {runAsUser: 0, capabilities: {drop: [ALL]}}
  volumeMounts:
  - {name: disk, mountPath: /disk}
  - {name: disk, mountPath: /part, subPath: a/b}
  - {name: disk, mountPath: /named, subPathExpr: of/$(WHO)}
  - {name: disk, mountPath: /disk/inner, readOnly: true}
  - {name: memory, mountPath: /memory}
  - {name: map, mountPath: /map}
  - {name: map, mountPath: /www/colour, subPath: colour}
  - {name: keys, mountPath: /keys, readOnly: true}
  - {name: all, mountPath: /all}
  - {name: folder, mountPath: /folder}
  - {name: folder, mountPath: /part-of-folder, subPath: part, readOnly: true}
  - {name: made, mountPath: /made, mountPropagation: HostToContainer}
  - {name: touched, mountPath: /touched}
  - {name: device, mountPath: /null}
";

const LOOKS: &[&str] = &[
    "echo 1 > /disk/x; echo 2 > /part/x; echo 3 > /named/x; cat /disk/x /disk/a/b/x /disk/of/volumes/x",
    "touch /disk/inner/y 2>/dev/null || echo read-only; cat /disk/inner/x",
    "stat -c %g /disk /memory; stat -f -c %T /memory",
    "cat /map/colour /www/colour; echo; ls /www",
    "touch /map/new 2>/dev/null || echo fixed",
    "stat -L -c '%a %g' /keys/token; cat /keys/token; echo",
    "cat /all/deep/size /all/token /all/labels; echo",
    "cat /folder/part/file /part-of-folder/file; echo by the container > /folder/part/new",
    "touch /part-of-folder/y 2>/dev/null || echo read-only",
    "[ -d /made ] && [ -f /touched ] && echo made",
    "[ -c /null ] && echo a device",
];

const SEEN: &str = "1
2
3
read-only
1
2000
2000
tmpfs
redred
colour
index.html
fixed
440 2000
hush
2hushapp=\"volumes\"
of the machine
of the machine
read-only
made
a device
";

#[test]
fn a_container_is_asked_and_told_around_its_life() {
    on_each_runtime("life", |berth| {
        let server = "containers:\n- name: c\n  image: BUSYBOX\n  command: [sh, -c]\n  \
             args: ['while ! [ -e /tmp/hook ]; do sleep 0.1; done; exec httpd -f -p 8080 -h /www']\n  \
             ports: [{name: web, containerPort: 8080}]\n  \
             lifecycle: {postStart: {exec: {command: [sh, -c, 'echo $HOSTNAME > /tmp/hook; hostname > /www/hook']}}}\n  \
             startupProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 60}\n  \
             readinessProbe: {httpGet: {port: web, path: /ready}, periodSeconds: 1}\n  \
             livenessProbe: {exec: {command: [sh, -c, '! [ -e /www/ill ]']}, periodSeconds: 1, failureThreshold: 1}\n";
        berth.pod("asked", server);
        berth.wait_for("asked", "containerStatuses[0].started", "true");
        assert_eq!(berth.exec("asked", &["cat", "/www/hook"]).stdout, "asked\n");
        assert_eq!(berth.status("asked", "containerStatuses[0].ready"), "false");
        assert_eq!(berth.exec("asked", &["touch", "/www/ready"]).code, 0);
        berth.wait_for("asked", "containerStatuses[0].ready", "true");
        assert_eq!(berth.exec("asked", &["rm", "/www/ready"]).code, 0);
        berth.wait_for("asked", "containerStatuses[0].ready", "false");
        assert_eq!(berth.exec("asked", &["touch", "/www/ill"]).code, 0);
        // The next run has the image's files again.
        berth.wait_for("asked", "containerStatuses[0].restartCount", "1");
        let last = "containerStatuses[0].lastState.terminated.exitCode";
        assert_eq!(berth.status("asked", last), "137", "{}", berth.runtime);
        berth.wait_for("asked", "containerStatuses[0].started", "true");
        assert_eq!(berth.exec("asked", &["ls", "/www"]).stdout, "hook\nindex.html\n");
    });
}
