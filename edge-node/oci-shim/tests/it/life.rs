//! Containers from their start to their end.

use dunlin_edge_node_core::sandbox::{
    ExitCause, Request, State,
    linux::{LinuxMount, LinuxUser, Propagation, Stdio},
};
use dunlin_link::{ContainerId, volumes::Access};

use crate::{
    machine::{Machine, processes},
    pod::{Pod, runtimes},
};

#[test]
fn a_container_runs_and_nothing_is_left() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start(&runtime);
        let exit = pod.run(pod.spec("a", "echo out; echo err >&2; exit 7"));
        assert_eq!((exit.cause, exit.message.as_str()), (ExitCause::Code(7), ""), "{}", runtime.display());
        assert!(exit.started_at.is_some());
        let mut lines: Vec<_> = pod.output("a").lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["stderr: err", "stdout: out"]);
        assert_eq!(Machine::look(), before, "nothing of it is seen outside");
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn what_it_is_told_it_sees() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let volume = pod.dir.path().join("volume");
        std::fs::create_dir_all(volume.join("sub")).unwrap();
        std::fs::write(volume.join("sub/file"), "in a volume\n").unwrap();
        let mut spec = pod.spec(
            "a",
            "echo $GREETING $HOSTNAME $HOME; hostname; id; cat /etc/hosts /etc/resolv.conf /etc/hostname /v/file; \
             ls /sys/class/net; cat /sys/class/net/lo/operstate; touch /v/new || echo read only; echo ended > /end",
        );
        spec.env = vec![("GREETING".into(), "hello".into())];
        spec.working_dir = "/tmp".into();
        spec.user = LinuxUser { of_image: "web".into(), ..LinuxUser::default() };
        let mount = |source: &std::path::Path, inside: &str, path: &str, access| LinuxMount {
            layers: Vec::new(),
            source: source.display().to_string(),
            inside: inside.into(),
            path: path.into(),
            access,
            propagation: Propagation::None,
            all_read_only: false,
        };
        let end = pod.dir.path().join("end");
        std::fs::write(&end, "").unwrap();
        std::fs::set_permissions(&end, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        spec.mounts =
            vec![mount(&volume, "sub", "/v", Access::ReadOnly), mount(&end, "", "/end", Access::ReadWrite)];
        spec.termination_message = Some(end.display().to_string());
        let exit = pod.run(spec);
        let output = pod.output("a");
        assert_eq!(exit.cause, ExitCause::Code(0), "{}: {exit:?} {output}", runtime.display());
        assert_eq!(exit.message, "ended\n");
        let kept = std::fs::read_to_string(volume.join("sub/file")).unwrap();
        assert_eq!(kept, "in a volume\n", "what is mounted is not removed with the container");
        for line in [
            "hello gull /tmp",
            "stdout: gull",
            "uid=33(web) gid=34(web) groups=",
            "70(logs)",
            "127.0.0.1 localhost",
            "nameserver 192.0.2.1",
            "in a volume",
            "stdout: lo",
            "read only",
        ] {
            assert!(output.contains(line), "{line} is not in {output}");
        }
        pod.shut_down();
    }
}

#[test]
fn it_is_stopped_or_killed() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let line = "trap 'echo stopping; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        pod.start_container(pod.spec("polite", line));
        pod.running("polite");
        pod.wrote("polite", "ready");
        pod.ask(&Request::Stop { id: ContainerId::new("polite"), grace_ms: 20_000 });
        assert_eq!(pod.exit("polite").cause, ExitCause::Code(3));
        assert!(pod.output("polite").contains("stopping"));

        let mut spec = pod.spec("real-time", "trap 'exit 4' 36; echo ready; while :; do sleep 0.05; done");
        spec.stop_signal = 36;
        pod.start_container(spec);
        pod.running("real-time");
        pod.wrote("real-time", "ready");
        pod.ask(&Request::Stop { id: ContainerId::new("real-time"), grace_ms: 20_000 });
        assert_eq!(pod.exit("real-time").cause, ExitCause::Code(4));

        // The first process of a namespace does not die of what it does not handle.
        pod.start_container(pod.spec("deaf", "echo ready; sleep 1000; echo over"));
        pod.running("deaf");
        pod.wrote("deaf", "ready");
        pod.ask(&Request::Stop { id: ContainerId::new("deaf"), grace_ms: 50 });
        assert_eq!(pod.exit("deaf").cause, ExitCause::Killed);

        pod.start_container(pod.spec("last", "sleep 54321"));
        pod.running("last");
        pod.shut_down();
        assert!(processes("54321").is_empty());
    }
}

#[test]
fn what_cannot_run_says_why() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let mut spec = pod.spec("a", "");
        spec.args = vec!["/no/such/program".into()];
        let exit = pod.run(spec);
        assert_eq!(exit.cause, ExitCause::HostError);
        assert!(exit.message.contains("/no/such/program"), "{}", exit.message);
        let words = ["o such file", "not found in $PATH"];
        assert!(words.iter().any(|words| exit.message.contains(words)), "{}", exit.message);

        let mut spec = pod.spec("b", "");
        spec.user.of_image = "nobody".into();
        let why = "unable to find user nobody: no matching entries in passwd file";
        assert_eq!(pod.run(spec).message, why);

        let mut spec = pod.spec("c", "");
        spec.layers = vec!["/no/such/layer".into()];
        assert!(pod.run(spec).message.starts_with("failed to mount the image: "));
        pod.shut_down();
    }
}

#[test]
fn what_one_run_changes_the_next_does_not_see() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        assert_eq!(pod.run(pod.spec("a", "touch /tmp/x; echo y > /etc/group")).cause, ExitCause::Code(0));
        assert!(!pod.image().join("tmp/x").exists());
        pod.run(pod.spec("b", "ls /tmp | wc -l; head -n1 /etc/group"));
        assert_eq!(pod.output("b"), "stdout: 0\nstdout: root:x:0:\n");
        pod.shut_down();
    }
}

#[test]
fn containers_of_a_pod_share_what_a_pod_shares() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "echo shared > /dev/shm/x; echo there; sleep 1000"));
        pod.running("a");
        pod.wrote("a", "there");
        pod.run(pod.spec("b", "cat /dev/shm/x; echo $$"));
        assert_eq!(pod.output("b"), "stdout: shared\nstdout: 1\n", "its processes are its own");
        pod.shut_down();
    }
}

#[test]
fn a_terminal_is_one() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let mut spec = pod.spec("a", "tty; echo $TERM");
        spec.stdio = Stdio::Terminal;
        let exit = pod.run(spec);
        assert_eq!(exit.cause, ExitCause::Code(0), "{exit:?}");
        let output = pod.output("a");
        assert!(output.contains("/dev/") && output.contains("xterm"), "{output}");
        pod.shut_down();
    }
}

#[test]
fn the_next_agent_is_told_everything() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "sleep 1000"));
        pod.running("a");
        pod.run(pod.spec("b", "exit 1"));
        let told = pod.reconnect();
        let states: Vec<_> =
            told.iter().map(|(id, state)| (id.as_str(), matches!(state, State::Running { .. }))).collect();
        assert_eq!(states, [("a", true), ("b", false)]);
        pod.ask(&Request::Remove { id: ContainerId::new("b") });
        pod.ask(&Request::Remove { id: ContainerId::new("a") });
        assert_eq!(pod.greet().len(), 1, "only what ended is forgotten");
        pod.shut_down();
    }
}
