//! Ends that nobody asked for: of a shim, and of a runtime.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use dunlin_edge_node_core::sandbox::{
    ExitCause,
    linux::{LinuxMount, Propagation},
};
use dunlin_link::volumes::Access;

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
        let left: Vec<_> = fs::read_dir(&pod.args.dir).unwrap().collect();
        assert_eq!(left.len(), 2, "the sockets: {left:?}");
    }
}

#[test]
fn a_damaged_note_of_the_cgroup_kills_nobody_else() {
    for runtime in runtimes() {
        let mut pod = Pod::start(&runtime);
        pod.start_container(pod.spec("a", "sleep 76544"));
        pod.running("a");
        pod.kill_shim();
        let note = pod.folder().join("cgroup");
        let right = fs::read_to_string(&note).unwrap();
        assert_eq!(right, pod.cgroup);
        let mut bystander = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        for damaged in ["", "/", "/..", "/dunlin-test/../.."] {
            fs::write(&note, damaged).unwrap();
            pod.clean();
            assert!(bystander.try_wait().unwrap().is_none());
        }
        assert!(processes("76544").is_empty(), "the runtime knows it");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        fs::write(&note, right).unwrap();
        pod.clean();
        assert!(!pod.has_cgroup());
    }
}

#[test]
fn volumes_are_not_removed_through_another_name_of_the_folder() {
    for runtime in runtimes() {
        let mut pod = Pod::start_by_link(&runtime);
        let volume = pod.dir.path().join("volume");
        fs::create_dir_all(volume.join("part")).unwrap();
        fs::write(volume.join("part/file"), "kept").unwrap();
        for (id, line) in [("a", "exit 0"), ("b", "sleep 76545")] {
            let mut spec = pod.spec(id, line);
            spec.mounts = vec![LinuxMount {
                layers: Vec::new(),
                source: volume.display().to_string(),
                inside: "part".into(),
                path: "/v".into(),
                access: Access::ReadWrite,
                propagation: Propagation::None,
                all_read_only: false,
            }];
            pod.start_container(spec);
            if id == "a" { drop(pod.exit(id)) } else { pod.running(id) }
        }
        assert_eq!(fs::read_to_string(volume.join("part/file")).unwrap(), "kept");
        pod.kill_shim();
        pod.clean();
        assert_eq!(fs::read_to_string(volume.join("part/file")).unwrap(), "kept");
        assert!(processes("76545").is_empty());
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
        // While the shell becomes the last of its commands, it has no command line.
        eventually("it sleeps", || !processes("87654").is_empty());
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
                "#!/bin/sh\ncase \"$*\" in *\" run --detach \"*) kill -9 $$;; esac\nexec {} \"$@\"\n",
                runtime.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let before = Machine::look();
        let mut pod = Pod::start(&program);
        let exit = pod.run(pod.spec("a", "exit 0"));
        assert_eq!(exit.cause, ExitCause::HostError);
        assert_eq!(exit.message, "OCI runtime run failed: it was ended by signal 9");
        let dir = pod.args.dir.join("containers");
        eventually("its folder is gone", || fs::read_dir(&dir).unwrap().count() == 0);
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}
