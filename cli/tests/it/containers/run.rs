//! A container of busybox sees what its pod says, and runs again when it ends.

use super::shore::on_each_runtime;

const FIELDS: &str = "restartPolicy: Never
hostname: nest
hostAliases: [{ip: 10.9.8.7, hostnames: [gull.example]}]
dnsPolicy: None
dnsConfig: {nameservers: [10.0.0.53], searches: [shore.example], options: [{name: ndots, value: '2'}]}
securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, supplementalGroups: [3000]}
volumes: [{name: shared, emptyDir: {}}, {name: map, configMap: {name: settings}}]
";

const SCRIPT: &str = "containers:
- name: c
  image: BUSYBOX
  command: [sh, -c]
  args:
  - |
    echo user $(id -u) $(id -g) $(id -G)
    echo host $(hostname), folder $(pwd), $GREETING, $(cat /map/key)
    grep -o 'nameserver 10.0.0.53' /etc/resolv.conf
    grep -o 'gull.example' /etc/hosts
    touch /x 2>/dev/null || echo the root is read-only
    touch /shared/x && echo the volume is not
    grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -s '\\t' ' '
    mount -t tmpfs x /shared 2>/dev/null || echo no mounts
    [ $(ls /proc | grep -c '^[0-9]') -lt 9 ] && echo no processes of others
    exit 3
  workingDir: /www
  env: [{name: COLOUR, value: red}, {name: GREETING, value: 'the knot is $(COLOUR)'}]
  securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
  resources: {limits: {memory: 64Mi, cpu: 500m}}
  volumeMounts: [{name: shared, mountPath: /shared}, {name: map, mountPath: /map}]
";

const SEEN: &str = "user 1000 1000 1000 500 2000 3000
host nest, folder /www, the knot is red, value
nameserver 10.0.0.53
gull.example
the root is read-only
the volume is not
CapEff: 0000000000000000
NoNewPrivs: 1
Seccomp: 2
no mounts
no processes of others
";

#[test]
fn a_container_sees_what_its_pod_says() {
    on_each_runtime("fields", |berth| {
        berth.ok(&["create", "configmap", "settings", "--from-literal=key=value"]);
        berth.pod("fields", &format!("{FIELDS}{SCRIPT}"));
        // The image's own groups count unless the pod says otherwise.
        let strict = FIELDS.replace("runAsUser", "supplementalGroupsPolicy: Strict, runAsUser");
        berth.pod(
            "strict",
            &format!("{strict}containers: [{{name: c, image: BUSYBOX, command: [id, -G]}}]\n"),
        );
        berth.wait_for("fields", "phase", "Failed");
        assert_eq!(berth.status("fields", "containerStatuses[0].state.terminated.exitCode"), "3");
        assert_eq!(berth.ok(&["logs", "fields"]), SEEN, "{}", berth.runtime);
        berth.wait_for("strict", "phase", "Succeeded");
        assert_eq!(berth.ok(&["logs", "strict"]), "1000 2000 3000\n", "{}", berth.runtime);
    });
}

#[test]
fn a_container_that_ends_runs_again() {
    on_each_runtime("again", |berth| {
        let line = "trap \"exit 3\" TERM; touch /tmp/run; while :; do sleep 0.1; done";
        berth.pod(
            "again",
            &format!("containers: [{{name: c, image: BUSYBOX, command: [sh, -c, '{line}']}}]\n"),
        );
        berth.wait_for("again", "phase", "Running");
        let run = || berth.exec("again", &["test", "-e", "/tmp/run"]).code;
        crate::cluster::wait_until("a trap", || if run() == 0 { Ok(()) } else { Err("none".to_owned()) });
        berth.exec("again", &["touch", "/tmp/before"]);
        berth.exec("again", &["kill", "1"]);
        berth.wait_for("again", "containerStatuses[0].restartCount", "1");
        berth.wait_for("again", "containerStatuses[0].ready", "true");
        assert_eq!(berth.status("again", "containerStatuses[0].lastState.terminated.exitCode"), "3");
        // Nothing of the run before is there.
        assert_eq!(berth.exec("again", &["ls", "/tmp"]).stdout.replace("run\n", ""), "", "{}", berth.runtime);
    });
}
