//! A node whose disk is full, and one whose disk takes no writes: it says so, its pods go on, and it recovers by itself.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    alone::is_alone,
    image::push_busybox,
    node::{pod, runtimes, site_on, wait_for},
};
use crate::{
    cluster::{wait_until, wait_within},
    registries::node::config,
    site::{Machine, Site},
};

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(args).arg(at).status().is_ok_and(|status| status.success())
}

/// Takes all the room of a disk, also what somebody else gives back, until it is dropped.
#[derive(Debug)]
struct Filler {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Filler {
    fn start(folder: &Path) -> Self {
        let path = folder.join("filler");
        let mut file = File::create(&path).unwrap();
        let mut fill = move || {
            for size in [1 << 20, 4 << 10, 1] {
                let block = vec![1; size];
                while file.write_all(&block).is_ok() {}
            }
        };
        fill();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                fill();
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { path, is_over, thread: Some(thread) }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.path);
    }
}

/// A pod that counts, loudly.
fn counter(name: &str, image: &str) -> String {
    let line = "    command: [sh, -c, 'n=0; while :; do echo tick $n; n=$((n + 1)); sleep 0.2; done']\n";
    pod(name, "  tolerations: [{operator: Exists}]\n", &format!("    image: '{image}'\n{line}"))
}

fn restarts(site: &Site, pod: &str) -> String {
    let path = "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}";
    site.ok(&["get", "pod", pod, "-o", path], "")
}

fn wait_for_event(site: &Site, about: &str, words: &[&str]) {
    wait_until(&format!("event {words:?} of {about}"), || {
        let described = site.ok(&["describe", "pod", about], "");
        if words.iter().all(|word| described.contains(word)) { Ok(()) } else { Err(described) }
    });
}

fn wait_for_pressure(site: &Site, wanted: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"DiskPressure\")].status}";
    site.wait_for(&["get", "node", "n1", "-o", path], |status| status == wanted);
}

/// How many lines the pod has printed since it was looked at first.
fn wait_for_ticks(site: &Site, pod: &str) {
    let ticks = || site.ok(&["logs", pod], "").lines().count();
    let before = ticks();
    wait_until("more lines in the log", || if ticks() > before { Ok(()) } else { Err(format!("{before}")) });
}

#[test]
fn a_full_disk_is_told_ends_no_pod_and_is_over_when_there_is_room() {
    if !is_alone("containers::disk::a_full_disk_is_told_ends_no_pod_and_is_over_when_there_is_room") {
        return;
    }
    let Some(runtime) = runtimes().next() else { return };
    let small = |state: &Path| {
        fs::create_dir(state).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=160m", "tests"], state)
    };
    let Some((site, mut machine, registry, image)) = site_on(runtime, small, &["--eviction-hard", ""]) else {
        return;
    };
    for name in ["steady", "struck"] {
        site.ok(&["apply", "-f", "-"], &counter(name, &image));
        wait_for(&site, name, "phase", "Running");
    }
    wait_for_ticks(&site, "steady");
    let filler = Filler::start(&machine.state);

    // What is new is not begun, and says why.
    site.ok(&["apply", "-f", "-"], &counter("late", &image));
    wait_for_event(&site, "late", &["FailedCreatePodSandBox", "No space left on device"]);
    // Made anew it is another one.
    let other = push_busybox(&registry, "team/busybox:2").unwrap();
    site.ok(&["apply", "-f", "-"], &counter("pulls", &other));
    wait_for_event(&site, "pulls", &["ErrImagePull", "no room for", "the disk has 0 MiB left"]);
    let pid = container_of(&machine, &site, "struck");
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    wait_for_event(&site, "struck", &["No space left on device"]);
    // An agent that begins now takes over what runs.
    machine.kill_agent();
    let file = config(&site, &registry);
    let soft =
        ["--eviction-soft", "nodefs.available<10%", "--eviction-soft-grace-period", "nodefs.available=10m"];
    let options =
        [soft.as_slice(), &["--eviction-hard", "", "--eviction-pressure-transition-period", "12s"]].concat();
    machine.start_agent(&[&["--runtime", runtime, "--config-file", &file], options.as_slice()].concat());
    wait_for_pressure(&site, "True");
    assert_eq!(restarts(&site, "steady"), "Running 0");

    drop(filler);
    for name in ["late", "pulls", "struck"] {
        wait_within(RECOVERED_MAX, &format!("pod {name} running"), || {
            let row = site.ok(&["get", "pod", name, "--no-headers"], "");
            if row.contains("1/1") {
                Ok(())
            } else {
                Err(format!("{row}\n{}\n{}", site.ok(&["describe", "pod", name], ""), machine.log()))
            }
        });
    }
    wait_for_pressure(&site, "False");
    assert_eq!(restarts(&site, "steady"), "Running 0");
    wait_for_ticks(&site, "steady");
    site.ok(&["delete", "pod", "steady", "late", "pulls", "struck"], "");
}

#[test]
fn a_disk_that_takes_no_writes_is_told_and_ends_no_pod() {
    if !is_alone("containers::disk::a_disk_that_takes_no_writes_is_told_and_ends_no_pod") {
        return;
    }
    let Some(runtime) = runtimes().next() else { return };
    let own_disk = |state: &Path| {
        fs::create_dir(state).unwrap();
        let image = state.with_extension("img");
        File::create(&image).unwrap().set_len(256 << 20).unwrap();
        let made =
            Command::new("mkfs.ext4").arg("-q").arg(&image).status().is_ok_and(|status| status.success());
        made && mount(&["-o", "loop,errors=remount-ro", image.to_str().unwrap()], state)
    };
    let Some((site, machine, _registry, image)) = site_on(runtime, own_disk, &[]) else { return };
    site.ok(&["apply", "-f", "-"], &counter("steady", &image));
    wait_for(&site, "steady", "phase", "Running");
    wait_for_ticks(&site, "steady");
    // As after an error of the card.
    assert!(mount(&["-o", "remount,abort"], &machine.state));
    wait_for_pressure(&site, "True");
    site.wait_for(&["get", "events"], |events| events.contains("FilesystemIsReadOnly"));
    site.ok(
        &["apply", "-f", "-"],
        &counter("late", &image).replace("  tolerations: [{operator: Exists}]\n", ""),
    );
    wait_for_event(&site, "late", &["FailedScheduling", "untolerated taint"]);
    site.wait_for_ready(&machine);
    assert_eq!(restarts(&site, "steady"), "Running 0");
    assert!(Path::new("/proc").join(container_of(&machine, &site, "steady")).exists());
}

/// The first process of a pod's only container.
fn container_of(machine: &Machine, site: &Site, pod: &str) -> String {
    let path = "jsonpath={.metadata.uid} {.status.containerStatuses[0].containerID}";
    let named = site.ok(&["get", "pod", pod, "-o", path], "");
    let (uid, id) = named.split_once(' ').unwrap();
    let id = id.rsplit('/').next().unwrap();
    let file = machine.state.join("pods").join(uid).join("containers").join(id).join("pid");
    fs::read_to_string(file).unwrap().trim().to_owned()
}

/// A pull that failed some times waits for up to 80 s.
const RECOVERED_MAX: Duration = Duration::from_secs(120);
