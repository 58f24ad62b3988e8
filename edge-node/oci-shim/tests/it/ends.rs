//! Ends that nobody asked for: of a shim, and of a runtime.

use std::{fs, os::unix::fs::PermissionsExt as _};

use dunlin_edge_node_core::sandbox::ExitCause;

use crate::{
    machine::{Machine, processes},
    pod::{Pod, eventually, runtimes},
};

#[test]
fn a_killed_shim_leaves_nothing_that_the_next_does_not_take_away() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "sleep 65432"));
        pod.running("a");
        assert_eq!(Machine::look(), before, "its mounts are its own");
        pod.replace_shim();
        assert!(processes("65432").is_empty(), "{}", runtime.display());
        assert!(!pod.has_cgroup());
        pod.open(pod.shared());
        assert_eq!(pod.run(pod.spec("a", "exit 4")).cause, ExitCause::Code(4), "the place is free");
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn a_pod_without_a_shim_can_be_taken_away() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "sleep 76543"));
        pod.running("a");
        pod.kill_shim();
        pod.clean();
        assert!(processes("76543").is_empty());
        assert!(!pod.has_cgroup());
        assert_eq!(Machine::look(), before);
        let left: Vec<_> = fs::read_dir(pod.dir.path().join("pod")).unwrap().collect();
        assert_eq!(left.len(), 2, "the sockets: {left:?}");
    }
}

#[test]
fn a_killed_container_is_an_end_like_another() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "echo ready; sleep 87654"));
        pod.running("a");
        // It is known to run a moment before its program is there.
        pod.wrote("a", "ready");
        for pid in processes("87654") {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        assert_eq!(pod.exit("a").cause, ExitCause::Code(137));
        pod.shut_down();
    }
}

#[test]
fn a_killed_runtime_is_why() {
    for runtime in runtimes() {
        // It begins, and is killed before it gets anywhere.
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(runtime.file_name().unwrap());
        fs::write(
            &program,
            format!(
                "#!/bin/sh\ncase \"$*\" in *create*) kill -9 $$;; esac\nexec {} \"$@\"\n",
                runtime.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let before = Machine::look();
        let mut pod = Pod::start(&program);
        let exit = pod.run(pod.spec("a", "exit 0"));
        assert_eq!(exit.cause, ExitCause::HostError);
        assert_eq!(exit.message, "OCI runtime create failed: it was ended by signal 9");
        let dir = pod.dir.path().join("pod/containers");
        eventually("its folder is gone", || fs::read_dir(&dir).unwrap().count() == 0);
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}
