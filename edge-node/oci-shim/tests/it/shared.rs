//! What the containers of a pod share: made before them, told to every agent, and gone with them.

use std::{fs, io::Read as _, os::unix::net::UnixStream, process::Command, thread, time::Duration};

use dunlin_edge_node_core::sandbox::{
    Event, ExitCause, Request,
    linux::{LinuxPod, LinuxResources, LinuxSpec, ProcessSharing, RunnerSpec, Security},
};
use dunlin_link::{Bytes, ContainerId, MilliCpu};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    machine::{Machine, processes},
    pod::{Pod, eventually, runner_program, runtimes},
};

#[test]
fn a_pod_is_opened_before_its_containers() {
    for runtime in runtimes().into_iter().take(1) {
        let before = Machine::look();
        let mut pod = Pod::start_closed(&runtime);
        let exit = pod.run(pod.spec("early", "exit 0"));
        assert_eq!(
            (exit.cause, exit.message.as_str()),
            (ExitCause::NotCreated, "the pod has not been opened")
        );
        let netns = pod.open(pod.shared()).unwrap();
        assert_ne!(fs::metadata(&netns).unwrap().len(), 1, "others can open it");
        assert_eq!(pod.open(LinuxPod { hostname: "other".into(), ..pod.shared() }).as_ref(), Some(&netns));
        let (_, of_pod) = pod.account();
        assert_eq!(of_pod, [Event::PodOpened { netns: Some(netns.clone()) }]);
        pod.run(pod.spec("a", "hostname; readlink /proc/self/ns/net"));
        let found = pod.output("a");
        let own = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
        assert!(found.starts_with("stdout: gull\nstdout: net:") && !found.contains(&own), "{found}");
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn what_cannot_be_opened_says_why_and_leaves_nothing() {
    for runtime in runtimes().into_iter().take(1) {
        let before = Machine::look();
        let mut pod = Pod::start_closed(&runtime);
        let shared = pod.shared();
        let bad = [
            (LinuxPod { cgroup: "/".into(), ..shared.clone() }, "it is no cgroup of a pod"),
            (LinuxPod { cgroup: "/a/../..".into(), ..shared.clone() }, "it is no cgroup of a pod"),
            (LinuxPod { hostname: "n".repeat(65), ..shared.clone() }, "failed to make the pod's namespaces"),
            (
                LinuxPod { sysctls: vec![("kernel.panic".into(), "1".into())], ..shared.clone() },
                "failed to set the sysctl `kernel.panic`: it is the machine's, not a pod's",
            ),
        ];
        for (spec, expected) in bad {
            pod.ask(&Request::OpenPod(Box::new(spec)));
            let Event::PodFailed { message } = pod.hear() else { panic!("it is open") };
            assert!(message.contains(expected), "{message}");
            let left: Vec<_> =
                fs::read_dir(pod.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".sock")), "{left:?}");
            assert!(!pod.has_cgroup());
        }
        pod.open(shared);
        assert_eq!(pod.run(pod.spec("a", "exit 3")).cause, ExitCause::Code(3));
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn settings_of_the_kernel_are_the_pods() {
    for runtime in runtimes() {
        let mut pod = Pod::start_closed(&runtime);
        let sysctls = [("net.ipv4.ip_unprivileged_port_start", "7"), ("kernel.shm_rmid_forced", "1")];
        let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        pod.open(LinuxPod { sysctls, ..pod.shared() });
        let line = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
        pod.run(pod.spec("a", line));
        assert_eq!(pod.output("a"), "stdout: 7\nstdout: 1\n");
        assert_ne!(fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(), "7\n");
        pod.shut_down();
    }
}

#[test]
fn files_of_the_pod_follow_the_latest_container() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        let line = "cat /etc/hosts; while ! grep -q second /etc/hosts; do sleep 0.02; done; cat /etc/hosts";
        pod.start_container(LinuxSpec { hosts: "first and long\n".into(), ..pod.spec("a", line) });
        pod.running("a");
        pod.wrote("a", "first");
        pod.start_container(LinuxSpec { hosts: "second\n".into(), ..pod.spec("b", "cat /etc/hosts") });
        let mut ended = [pod.exit_of_any(), pod.exit_of_any()];
        ended.sort();
        assert_eq!(ended, ["a", "b"]);
        assert_eq!(pod.output("a"), "stdout: first and long\nstdout: second\n");
        assert_eq!(pod.output("b"), "stdout: second\n");
        pod.shut_down();
    }
}

#[test]
fn containers_can_share_their_processes() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start_closed(&runtime);
        pod.open(LinuxPod { processes: ProcessSharing::Pod, ..pod.shared() });
        pod.start_container(pod.spec("a", "(sleep 0.01 &) ; sleep 45678"));
        pod.running("a");
        // Its orphan is buried by the first process; a second container sees the first one's processes, and can look into the first
        // process, where there is nothing.
        let line = "until ps | grep -q 'sleep 4567[8]'; do :; done; while ps | grep -q 'sleep 0.0[1]'; do sleep 0.02; done; \
                    echo $(($$ > 1)); cat /proc/1/cmdline | tr '\\0' '\\n'; ls -a /proc/1/root/ | tr '\\n' ' '; echo; ls -a /proc/1/root/../ | wc -l; \
                    ls /proc/1/fd | wc -l; grep -E 'CapEff|Uid' /proc/1/status | tr '\\t' ' '; \
                    for n in net ipc uts; do [ \"$(readlink /proc/1/ns/$n)\" = \"$(readlink /proc/self/ns/$n)\" ] && echo same; done; \
                    cat /proc/1/environ | wc -c";
        let spec = LinuxSpec {
            security: Security { add_capabilities: vec!["SYS_PTRACE".into()], ..Security::default() },
            ..pod.spec("b", line)
        };
        let exit = pod.run(spec);
        assert_eq!(exit.cause, ExitCause::Code(0), "{exit:?} {}", pod.output("b"));
        let expected =
            "1 /pause . ..  2 0 Uid: 65535 65535 65535 65535 CapEff: 0000000000000000 same same same 0 ";
        assert_eq!(
            pod.output("b").replace("stdout: ", "").replace('\n', " "),
            expected,
            "{}",
            runtime.display()
        );
        pod.ask(&Request::Stop { id: ContainerId::new("a"), grace_ms: 0 });
        // It is no first process of a namespace, which would be deaf: the first of both signals may end it.
        assert!(matches!(pod.exit("a").cause, ExitCause::Killed | ExitCause::Stopped));
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn a_container_can_be_among_the_processes_of_another() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start_closed(&runtime);
        pod.open(pod.shared());
        let tracer = || Security { add_capabilities: vec!["SYS_PTRACE".into()], ..Security::default() };
        let among = |pod: &Pod, id: &str, line: &str| LinuxSpec {
            processes_of: Some(ContainerId::new("a")),
            security: tracer(),
            ..pod.spec(id, line)
        };
        let late = among(&pod, "late", "exit 0");
        let exit = pod.run(late);
        assert_eq!(exit.cause, ExitCause::NotCreated);
        assert!(exit.message.contains("the target container has no processes"), "{}", exit.message);
        pod.start_container(pod.spec("a", "echo here > /mark; sleep 45680"));
        pod.running("a");
        pod.start_container(pod.spec("other", "sleep 45681"));
        pod.running("other");
        let line = "until ps | grep -q 'sleep 4568[0]'; do sleep 0.02; done; ps | grep -c 'sleep 4568[1]'; \
                    until cat /proc/1/root/mark; do sleep 0.02; done; [ -e /mark ] || echo own files";
        let exit = pod.run(among(&pod, "b", line));
        assert_eq!(exit.cause, ExitCause::Code(0), "{exit:?} {}", pod.output("b"));
        assert_eq!(pod.output("b").replace("stdout: ", ""), "0\nhere\nown files\n", "{}", runtime.display());
        // It goes with the processes that it is among.
        pod.start_container(among(&pod, "c", "sleep 45682"));
        pod.running("c");
        pod.ask(&Request::Stop { id: ContainerId::new("a"), grace_ms: 0 });
        let mut ended = [pod.exit_of_any(), pod.exit_of_any()];
        ended.sort();
        assert_eq!(ended, ["a", "c"]);
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn the_first_process_is_replaced_when_it_ends() {
    for runtime in runtimes() {
        let mut pod = Pod::start_closed(&runtime);
        pod.open(LinuxPod { processes: ProcessSharing::Pod, ..pod.shared() });
        pod.start_container(pod.spec("a", "sleep 45679"));
        pod.running("a");
        let first = pod.children().into_iter().find(|pid| is_pause(*pid)).unwrap();
        kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::KILL).unwrap();
        assert_eq!(pod.exit("a").cause, ExitCause::Code(137));
        eventually("another is there", || {
            pod.children().into_iter().any(|pid| pid != first && is_pause(pid))
        });
        assert_eq!(pod.run(pod.spec("b", "exit 6")).cause, ExitCause::Code(6));
        pod.shut_down();
    }
}

#[test]
fn a_container_waits_until_the_processes_before_it_are_buried() {
    for runtime in runtimes() {
        let mut pod = Pod::start_closed(&runtime);
        pod.open(LinuxPod { processes: ProcessSharing::Pod, ..pod.shared() });
        let first = pod.children().into_iter().find(|pid| is_pause(*pid)).unwrap();
        // A process among them whose end nobody notices, since its parent stands still.
        let mut parent = Command::new("nsenter");
        parent.arg(format!("--pid=/proc/{first}/ns/pid")).args(["sleep", "45680"]);
        let mut parent = parent.spawn().unwrap();
        eventually("it runs", || processes("45680").len() == 2);
        let signal =
            |pid: u32, signal| kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
        signal(parent.id(), Signal::STOP);
        signal(first, Signal::KILL);
        eventually("the first is ending", || !is_pause(first));
        pod.start_container(pod.spec("b", "exit 6"));
        thread::sleep(Duration::from_millis(300));
        assert!(!pod.folder().join("containers/b").exists(), "it has begun");
        signal(parent.id(), Signal::CONT);
        parent.wait().unwrap();
        assert_eq!(pod.exit("b").cause, ExitCause::Code(6));
        pod.shut_down();
    }
}

fn is_pause(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words == b"/pause\0")
}

#[test]
fn a_runner_is_inside_the_pod() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pod = Pod::start_closed(&runtime);
        let socket = pod.dir.path().join("runner.sock");
        let spec = RunnerSpec {
            program: runner_program().display().to_string(),
            args: vec!["runner".into()],
            socket: socket.display().to_string(),
            log: pod.dir.path().join("runner.log").display().to_string(),
        };
        let open = |after| Request::OpenRunner { spec: Box::new(spec.clone()), after };
        pod.ask(&open(0));
        let early = "the pod has not been opened".to_owned();
        assert_eq!(pod.hear(), Event::RunnerEnded { number: 1, message: early });
        let resources = LinuxResources {
            memory_limit: Some(Bytes(16 << 20)),
            cpu_request: Some(MilliCpu(2000)),
            ..LinuxResources::default()
        };
        let netns = pod.open(LinuxPod { resources, ..pod.shared() });
        assert_eq!(pod.limit("memory", "memory.limit_in_bytes", "memory.max"), "16777216");
        pod.ask(&open(1));
        let Event::RunnerOpened { number: 2, pid } = pod.hear() else { panic!("it does not run") };
        pod.ask(&open(1));
        assert_eq!(pod.hear(), Event::RunnerOpened { number: 2, pid }, "there is one");
        let mut said = String::new();
        eventually("it answers", || {
            UnixStream::connect(&socket).is_ok_and(|mut stream| stream.read_to_string(&mut said).is_ok())
        });
        pod.run(pod.spec("a", "for n in net ipc uts; do readlink /proc/self/ns/$n; done; hostname"));
        let of_container = pod.output("a").replace("stdout: ", "");
        assert!(said.starts_with(&of_container), "{said} {of_container}");
        assert!(said.contains(&format!("{}/runner\n", pod.cgroup)), "{said}");
        // It would be killed by what is meant for the containers of the pod.
        assert!(!pod.limit("memory", "memory.limit_in_bytes", "memory.max").starts_with("16777216"));
        let weight = pod.limit("cpu", "runner/cpu.shares", "runner/cpu.weight");
        assert!(weight == "2048" || weight == "79", "{weight}");
        let (_, of_pod) = pod.account();
        assert_eq!(of_pod, [Event::PodOpened { netns }, Event::RunnerOpened { number: 2, pid }]);
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let message = "the pod's runner was ended by signal 9".to_owned();
        assert_eq!(pod.hear(), Event::RunnerEnded { number: 2, message });
        eventually("what it started ends with it", || processes("56789").is_empty());
        pod.ask(&open(2));
        let Event::RunnerOpened { number: 3, pid } = pod.hear() else { panic!("it may be asked for again") };
        eventually("it has started something", || !processes("56789").is_empty());
        // To the agent it is gone, although it may not have ended yet.
        pod.ask(&open(3));
        let next = loop {
            match pod.hear() {
                Event::RunnerEnded { number: 3, .. } => {}
                Event::RunnerOpened { number: 4, pid } => break pid,
                event => panic!("{event:?}"),
            }
        };
        assert_ne!(next, pid);
        eventually("the next has started something", || !processes("56789").is_empty());
        pod.shut_down();
        assert!(processes("56789").is_empty());
    }
}

#[test]
fn a_runner_is_not_started_from_whatever_has_its_agents_number() {
    for runtime in runtimes().into_iter().take(1) {
        let mut pod = Pod::start(&runtime);
        let spec = RunnerSpec {
            program: runner_program().display().to_string(),
            args: vec!["runner".into()],
            socket: pod.dir.path().join("runner.sock").display().to_string(),
            log: pod.dir.path().join("runner.log").display().to_string(),
        };
        let shim = Pid::from_raw(pod.shim.id().cast_signed()).unwrap();
        kill_process(shim, Signal::STOP).unwrap();
        pod.ask(&Request::OpenRunner { spec: Box::new(spec), after: 0 });
        pod.say_no_more();
        kill_process(shim, Signal::CONT).unwrap();
        let message = "failed to start the pod's runner: the agent that asked for it has ended".to_owned();
        assert_eq!(pod.hear(), Event::RunnerEnded { number: 1, message });
        pod.reconnect();
        pod.shut_down();
    }
}
