//! Volumes and the machine's mounts, from both sides.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use dunlin_edge_node_core::sandbox::{
    ExitCause,
    linux::{LinuxMount, LinuxSpec, Propagation},
};
use dunlin_link::volumes::Access;

use crate::{
    machine::Machine,
    pod::{Pod, runtimes},
};

/// A file system on the machine, for as long as it is there.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "tests"], at);
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // With what is mounted in it, if a test failed.
        assert!(Command::new("/bin/busybox").args(["umount", "-l"]).arg(&self.0).status().unwrap().success());
    }
}

fn mount(words: &[&str], at: &Path) {
    assert!(Command::new("/bin/busybox").arg("mount").args(words).arg(at).status().unwrap().success());
}

fn with(spec: LinuxSpec, source: &Path, propagation: Propagation) -> LinuxSpec {
    let mount = LinuxMount {
        layers: Vec::new(),
        source: source.display().to_string(),
        inside: String::new(),
        path: "/v".into(),
        access: Access::ReadWrite,
        propagation,
        all_read_only: false,
    };
    LinuxSpec { mounts: vec![mount], ..spec }
}

#[test]
fn what_is_mounted_after_the_shim_began_is_there() {
    for runtime in runtimes() {
        let before = Machine::look();
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let volume = Mounted::new(&folder.path().join("late"));
        fs::write(volume.0.join("file"), "late").unwrap();
        let inner = Mounted::new(&volume.0.join("inner"));
        fs::write(inner.0.join("file"), "inner").unwrap();
        let spec = with(
            pod.spec("a", "cat /v/file; echo; cat /v/inner/file; echo; echo x > /v/new"),
            &volume.0,
            Propagation::None,
        );
        let exit = pod.run(spec);
        assert_eq!(
            (exit.cause, pod.output("a").as_str()),
            (ExitCause::Code(0), "stdout: late\nstdout: inner\n")
        );
        assert_eq!(fs::read_to_string(volume.0.join("new")).unwrap(), "x\n");
        assert_eq!(fs::read_to_string(inner.0.join("file")).unwrap(), "inner", "it is still mounted");
        pod.shut_down();
        drop(inner);
        drop(volume);
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn images_are_seen_merged_and_unchangeable() {
    for runtime in runtimes() {
        let before = Machine::look();
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let layer = |name: &str| folder.path().join(name);
        for (name, file, content) in [
            ("low", "both", "low"),
            ("low", "in/low", "here"),
            ("high", "both", "high"),
            ("high", "run", "#!/bin/sh"),
        ] {
            let path = layer(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mount = |layers: &[&str], inside: &str, path: &str| LinuxMount {
            layers: layers.iter().map(|name| layer(name).display().to_string()).collect(),
            source: String::new(),
            inside: inside.to_owned(),
            path: path.to_owned(),
            access: Access::ReadOnly,
            all_read_only: false,
            propagation: Propagation::None,
        };
        let line = "cat /all/both /all/in/low /part/low /one/both; echo; echo x > /all/both || echo unchanged; /all/run || echo no programs";
        let mut spec = pod.spec("a", line);
        spec.mounts = vec![
            mount(&["low", "high"], "", "/all"),
            mount(&["low", "high"], "in", "/part"),
            mount(&["low"], "", "/one"),
        ];
        let exit = pod.run(spec);
        let output = pod.output("a");
        let said: Vec<_> = output.lines().filter(|line| line.starts_with("stdout")).collect();
        assert_eq!(said, ["stdout: highhereherelow", "stdout: unchanged", "stdout: no programs"], "{output}");
        assert_eq!(exit.cause, ExitCause::Code(0));
        let mut missing = pod.spec("b", "true");
        missing.mounts = vec![mount(&["low"], "nowhere", "/m")];
        let exit = pod.run(missing);
        assert!(exit.message.contains("failed to open the volume at `/m`"), "{exit:?}");
        pod.shut_down();
        assert_eq!(fs::read_to_string(layer("high").join("both")).unwrap(), "high");
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn mounts_are_seen_where_they_should_be() {
    for runtime in runtimes() {
        let before = Machine::look();
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let volume = Mounted::new(&folder.path().join("shared"));
        mount(&["--make-shared"], &volume.0);
        for inside in ["of-machine", "of-container", "there-before"] {
            fs::create_dir(volume.0.join(inside)).unwrap();
        }
        let earlier = Mounted::new(&volume.0.join("there-before"));
        fs::write(earlier.0.join("file"), "").unwrap();
        let line = "echo ready; until [ -e /v/of-machine/file ]; do sleep 0.02; done; echo seen";
        pod.start_container(with(pod.spec("to", line), &volume.0, Propagation::HostToContainer));
        pod.running("to");
        pod.wrote("to", "ready");
        let later = Mounted::new(&volume.0.join("of-machine"));
        fs::write(later.0.join("file"), "").unwrap();
        assert_eq!(pod.exit("to").cause, ExitCause::Code(0));

        let line = "mount -t tmpfs tests /v/of-container && echo x > /v/of-container/file && echo done";
        let privileged = |pod: &Pod, id: &str| {
            let mut spec = pod.spec(id, line);
            spec.security.privileged = true;
            spec
        };
        for propagation in [Propagation::None, Propagation::HostToContainer] {
            let id = format!("{propagation:?}");
            pod.run(with(privileged(&pod, &id), &volume.0, propagation));
            assert_eq!(pod.output(&id), "stdout: done\n", "{}", runtime.display());
            assert!(!volume.0.join("of-container/file").exists(), "{id}");
        }
        pod.run(with(privileged(&pod, "both"), &volume.0, Propagation::Bidirectional));
        assert_eq!(pod.output("both"), "stdout: done\n");
        assert_eq!(fs::read_to_string(volume.0.join("of-container/file")).unwrap(), "x\n");
        assert!(earlier.0.join("file").exists() && later.0.join("file").exists(), "they are still mounted");
        pod.shut_down();
        assert!(earlier.0.join("file").exists() && later.0.join("file").exists());
        drop((later, earlier));
        // What the container has mounted is the machine's to take away.
        drop(Mounted(volume.0.join("of-container")));
        drop(volume);
        assert_eq!(Machine::look(), before);
    }
}

#[test]
fn what_is_mounted_below_is_read_only_where_that_is_asked_for() {
    for runtime in runtimes() {
        let before = Machine::look();
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let volume = Mounted::new(&folder.path().join("outer"));
        let inner = Mounted::new(&volume.0.join("inner"));
        for (id, all_read_only, said) in [("a", false, "stdout: inner\n"), ("b", true, "stdout: none\n")] {
            let line =
                "{ echo > /v/x && echo outer; echo > /v/inner/x && echo inner; } 2>/dev/null || echo none";
            let mut spec = with(pod.spec(id, line), &volume.0, Propagation::None);
            (spec.mounts[0].access, spec.mounts[0].all_read_only) = (Access::ReadOnly, all_read_only);
            pod.run(spec);
            assert_eq!(pod.output(id), said, "{} {id}", runtime.display());
        }
        // The machine's own mount is as it was.
        fs::write(inner.0.join("y"), "").unwrap();
        pod.shut_down();
        drop(inner);
        drop(volume);
        assert_eq!(Machine::look(), before);
    }
}

/// As in Kubernetes: a `hostPath` of a device shows it, and gives no right to it.
#[test]
fn a_device_that_is_mounted_is_for_privileged_containers() {
    for runtime in runtimes() {
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let device = folder.path().join("kernel-log");
        let made = Command::new("/bin/busybox").arg("mknod").arg(&device).args(["c", "1", "11"]).status();
        assert!(made.unwrap().success());
        for (id, privileged, said) in
            [("a", false, "stdout: there\nstdout: refused\n"), ("b", true, "stdout: there\n")]
        {
            let mut spec = with(
                pod.spec(id, "[ -c /v ] && echo there; (: < /v) 2>/dev/null || echo refused"),
                &device,
                Propagation::None,
            );
            spec.security.privileged = privileged;
            pod.run(spec);
            assert_eq!(pod.output(id), said, "{} {id}", runtime.display());
        }
        pod.shut_down();
    }
}

#[test]
fn what_cannot_be_shared_is_refused() {
    for runtime in runtimes().into_iter().take(1) {
        let (folder, mut pod) = (tempfile::tempdir().unwrap(), Pod::start(&runtime));
        let volume = Mounted::new(&folder.path().join("private"));
        mount(&["--make-private"], &volume.0);
        let exit = pod.run(with(pod.spec("a", "exit 0"), &volume.0, Propagation::Bidirectional));
        assert_eq!(exit.message, "the mount propagation Bidirectional is for privileged containers");
        let mut spec = with(pod.spec("b", "exit 0"), &volume.0, Propagation::Bidirectional);
        spec.security.privileged = true;
        let message = pod.run(spec).message;
        assert!(message.ends_with("is not on a shared mount"), "{message}");
        let exit = pod.run(with(pod.spec("c", "exit 0"), Path::new("/no/such/volume"), Propagation::None));
        assert_eq!(exit.message, "failed to open the volume at `/v`: No such file or directory (os error 2)");
        pod.shut_down();
    }
}

#[test]
fn folders_that_an_image_writes_to_are_there_and_can_be_written() {
    for runtime in runtimes() {
        let before = Machine::look();
        let mut pod = Pod::start(&runtime);
        let kept = pod.image().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "of image").unwrap();
        let line = "cat /kept/file; echo; for at in /kept /new/deep /; do { echo > $at/x; } 2>/dev/null && echo $at; done";
        for (id, read_only_root, root) in [("a", false, "stdout: /\n"), ("b", true, "")] {
            let mut spec = pod.spec(id, line);
            spec.volumes = vec!["/kept".into(), "new/deep".into()];
            spec.security.read_only_root = read_only_root;
            pod.run(spec);
            let expected = format!("stdout: of image\nstdout: /kept\nstdout: /new/deep\n{root}");
            assert_eq!(pod.output(id), expected, "{} {id}", runtime.display());
        }
        assert!(!kept.join("x").exists(), "the image is as it was");
        pod.shut_down();
        assert_eq!(Machine::look(), before);
    }
}
