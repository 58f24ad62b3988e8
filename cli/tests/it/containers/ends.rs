//! How Linux containers end, and what is told of it: codes, signals, memory, grace, restarts.

use std::{
    io::Read as _,
    time::{Duration, Instant},
};

use super::shore::{Berth, on_each_runtime};
use crate::cluster::wait_until;

fn script(policy: &str, script: &str, more: &str) -> String {
    format!(
        "restartPolicy: {policy}\nvolumes: [{{name: v, emptyDir: {{}}}}]\ncontainers:\n- name: c\n  image: BUSYBOX\n  \
         volumeMounts: [{{name: v, mountPath: /v}}]\n  command: [sh, -c]\n  args: ['{script}']\n{more}"
    )
}

const TERMINATED: &str = "containerStatuses[0].state.terminated";

#[test]
fn an_end_is_told_as_it_was() {
    on_each_runtime("ends", |berth| {
        let limit = "  resources: {limits: {memory: 16Mi}}\n";
        let words = "  terminationMessagePolicy: FallbackToLogsOnError\n";
        let pods = [
            ("well", script("Never", "exit 0", "")),
            ("code", script("Never", "exit 3", "")),
            ("signal", script("Never", "sh -c \"kill -15 \\$\\$\"; exit $?", "")),
            ("hungry", script("Never", "exec tail /dev/zero", limit)),
            ("parent", script("Never", "tail /dev/zero; exit $?", limit)),
            ("talks", script("Never", "echo farewell > /dev/termination-log; exit 1", "")),
            ("logs", script("Never", "echo no; echo bread; exit 1", words)),
            ("again", script("OnFailure", "[ -e /v/x ] || { touch /v/x; exit 1; }", "")),
            ("never", script("Always", "exit 9", "")),
            ("absent", script("Never", "", "").replace("[sh, -c]", "[no-such-program]")),
        ];
        pods.iter().for_each(|(name, spec)| berth.pod(name, spec));
        for (name, code, reason) in [
            ("well", "0", "Completed"),
            ("code", "3", "Error"),
            ("signal", "143", "Error"),
            ("hungry", "137", "OOMKilled"),
            ("parent", "137", "OOMKilled"),
            ("absent", "128", "StartError"),
        ] {
            berth.wait_for(name, &format!("{TERMINATED}.reason"), reason);
            assert_eq!(berth.status(name, &format!("{TERMINATED}.exitCode")), code, "{name}");
            berth.wait_for(name, "phase", if code == "0" { "Succeeded" } else { "Failed" });
        }
        let message = format!("{TERMINATED}.message");
        assert!(berth.status("absent", &message).contains("no-such-program"));
        berth.wait_for("talks", &format!("{TERMINATED}.exitCode"), "1");
        assert_eq!(berth.status("talks", &message), "farewell\n");
        berth.wait_for("logs", &format!("{TERMINATED}.exitCode"), "1");
        assert_eq!(berth.status("logs", &message), "no\nbread");
        restarts(berth);
    });
}

fn restarts(berth: &Berth) {
    berth.wait_for("never", "containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    assert_eq!(berth.status("never", "containerStatuses[0].lastState.terminated.exitCode"), "9");
    let waits = berth.status("never", "containerStatuses[0].state.waiting.message");
    assert!(waits.starts_with("back-off 10s restarting failed container=c pod=never_"), "{waits}");
    assert_eq!(berth.status("never", "phase"), "Running");
    berth.wait_for("again", "phase", "Succeeded");
    assert_eq!(berth.status("again", "containerStatuses[0].restartCount"), "1");
    // The next delay is twice as long.
    wait_until("a longer delay", || {
        let waits = berth.status("never", "containerStatuses[0].state.waiting.message");
        if waits.starts_with("back-off 20s ") { Ok(()) } else { Err(waits) }
    });
}

#[test]
fn a_container_is_stopped_by_its_signal_within_its_grace() {
    on_each_runtime("stops", |berth| {
        let traps = |signal: &str, more: &str| {
            let line = format!(
                "trap \"echo told by {signal}; exit 0\" {signal}; touch /v/x; while :; do sleep 0.1; done"
            );
            format!("{more}{}", script("Never", &line, READY))
        };
        let hook =
            "  lifecycle: {preStop: {exec: {command: [sh, -c, 'echo the hook was there > /proc/1/fd/1']}}}\n";
        let usr1 = "  lifecycle: {stopSignal: SIGUSR1}\n";
        let long = "terminationGracePeriodSeconds: 30\n";
        berth.pod("term", &format!("{}{hook}", traps("TERM", long)));
        berth.pod("usr1", &format!("os: {{name: linux}}\n{}{usr1}", traps("USR1", long)));
        let short = "terminationGracePeriodSeconds: 2\n";
        let deaf = script("Never", "trap \"\" TERM; touch /v/x; while :; do sleep 0.1; done", READY);
        berth.pod("deaf", &format!("{short}{deaf}"));
        for pod in ["term", "usr1", "deaf"] {
            berth.ok(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
        }
        for (pod, said) in [("term", "the hook was there\ntold by TERM\n"), ("usr1", "told by USR1\n")] {
            let mut log = berth.spawn(&["logs", "-f", pod]);
            let begun = Instant::now();
            berth.ok(&["delete", "pod", pod]);
            assert!(begun.elapsed() < Duration::from_secs(15), "{pod}: {:?}", begun.elapsed());
            let mut followed = String::new();
            log.stdout.take().unwrap().read_to_string(&mut followed).unwrap();
            log.wait().unwrap();
            assert_eq!(followed, said, "{pod} by {}", berth.runtime);
        }
        let begun = Instant::now();
        berth.ok(&["delete", "pod", "deaf"]);
        let took = begun.elapsed();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(2 + 10), "{took:?}");
    });
}

/// Ready once its script has begun.
const READY: &str =
    "  readinessProbe: {exec: {command: [test, -e, /v/x]}, periodSeconds: 1, failureThreshold: 60}\n";
