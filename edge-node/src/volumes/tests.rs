//! What a container finds, from what was declared.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use dunlin_edge_node_core::{
    sandbox::Mount,
    volumes::{File, MountSetup},
};
use dunlin_link::{
    Bytes,
    volumes::{Access, HostPathKind},
};

use super::*;
use crate::sample;

struct Bench {
    dir: tempfile::TempDir,
    volumes: Volumes,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("memory");
        let volumes = Volumes { disk: dir.path().join("volumes"), memory: Some(memory) };
        Self { dir, volumes }
    }

    fn prepare(&self, attempt: u32, setup: &Setup) -> Result<GuestFiles, MountError> {
        self.volumes.prepare(&sample::pod(), ("c", attempt), setup)
    }
}

fn empty(name: &str, medium: Medium) -> VolumeSetup {
    VolumeSetup { name: name.to_owned(), source: SourceSetup::Empty(medium) }
}

fn host(name: &str, path: &Path) -> VolumeSetup {
    let path = path.to_str().unwrap().to_owned();
    VolumeSetup { name: name.to_owned(), source: SourceSetup::Host { path, kind: HostPathKind::Unset } }
}

fn file(path: &str, data: &str) -> File {
    File { path: path.to_owned(), mode: 0o600, data: data.as_bytes().into(), owner: None }
}

fn mount(path: &str, name: &str, inside: &str, access: Access) -> MountSetup {
    let part = PartSetup::Volume { name: name.to_owned(), inside: inside.to_owned() };
    MountSetup { path: path.to_owned(), part, access, medium: Medium::Disk }
}

fn setup(volumes: Vec<VolumeSetup>, mounts: Vec<MountSetup>) -> Setup {
    Setup { volumes, mounts, termination_message_path: "/dev/termination-log".to_owned() }
}

fn by_path(files: &GuestFiles) -> BTreeMap<&str, &Mount> {
    files.mounts.iter().map(|mount| (mount.path.as_str(), mount)).collect()
}

#[test]
fn a_container_without_volumes_has_a_place_for_its_last_words_only() {
    let bench = Bench::new();
    let files = bench.prepare(0, &setup(Vec::new(), Vec::new())).unwrap();
    let mounts = by_path(&files);
    assert_eq!(mounts.keys().collect::<Vec<_>>(), [&"/dev"]);
    let message = files.termination_message.clone().unwrap();
    assert_eq!(message, format!("{}/termination-log", mounts["/dev"].dir));
    fs::write(&message, "bye").unwrap();
    // The next run begins with an empty one, and that of the run before is gone.
    let next = bench.prepare(1, &setup(Vec::new(), Vec::new())).unwrap();
    assert_eq!(fs::read(next.termination_message.unwrap()).unwrap(), b"");
    assert!(!Path::new(&message).exists());
    // No place at all where a volume is.
    let volumes = || vec![empty("e", Medium::Disk)];
    let covered = setup(volumes(), vec![mount("/dev", "e", "", Access::ReadWrite)]);
    assert_eq!(bench.prepare(2, &covered).unwrap().termination_message, None);
}

#[test]
fn what_a_pod_keeps_outlives_its_runs_and_goes_with_the_pod() {
    let bench = Bench::new();
    let volumes = vec![empty("e", Medium::Disk), empty("m", Medium::Memory)];
    let mounts = vec![mount("/e", "e", "", Access::ReadWrite), mount("/m", "m", "", Access::ReadOnly)];
    let wanted = setup(volumes, mounts);
    let first = bench.prepare(0, &wanted).unwrap();
    let mounts = by_path(&first);
    assert_eq!((mounts["/e"].access, mounts["/m"].access), (Access::ReadWrite, Access::ReadOnly));
    assert!(mounts["/m"].dir.starts_with(bench.dir.path().join("memory").to_str().unwrap()));
    let mode = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o777;
    // Whoever a container of the pod runs as may write to it, and nobody else gets there.
    let dir = Path::new(&mounts["/e"].dir);
    assert_eq!((mode(dir), mode(dir.parent().unwrap())), (0o777, 0o700));
    fs::write(Path::new(&mounts["/e"].dir).join("kept"), "x").unwrap();
    let second = bench.prepare(1, &wanted).unwrap();
    assert_eq!(by_path(&second)["/e"].dir, mounts["/e"].dir);
    assert!(Path::new(&mounts["/e"].dir).join("kept").exists());
    bench.volumes.remove(&sample::pod());
    assert!(mounts.values().all(|mount| !Path::new(&mount.dir).exists()));
}

#[test]
fn a_volume_of_large_pages_is_a_file_system_of_the_pod_s() {
    if !rustix::process::geteuid().is_root()
        || !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists()
    {
        eprintln!("skipped: nothing is mounted here, or the processor has no pages of 2 MiB");
        return;
    }
    let bench = Bench::new();
    let large = |page| VolumeSetup { name: "h".to_owned(), source: SourceSetup::Huge(Bytes(page)) };
    let wanted = |page| setup(vec![large(page)], vec![mount("/h", "h", "", Access::ReadWrite)]);
    let kind = |dir: &str| {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(dir));
        line.map(|line| line.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" "))
    };
    let failed = bench.prepare(0, &wanted(4096)).unwrap_err().to_string();
    assert!(failed.ends_with("this machine has no pages of 4096 bytes"), "{failed}");
    let (mounts, _) = bench.volumes.prepare_linux(&sample::pod(), ("c", 0), &wanted(2 << 20)).unwrap();
    let dir = mounts[0].source.clone();
    let mounted = kind(&dir).unwrap();
    assert!(mounted.starts_with("hugetlbfs ") && mounted.contains("mode=777"), "{mounted}");
    fs::write(Path::new(&dir).join("kept"), "").unwrap();
    // The next run finds what the one before has left.
    bench.volumes.prepare_linux(&sample::pod(), ("c", 1), &wanted(2 << 20)).unwrap();
    assert!(Path::new(&dir).join("kept").exists());
    assert!(bench.volumes.usage().iter().any(|used| used.volume == "h" && used.medium == Medium::Memory));
    bench.volumes.remove(&sample::pod());
    assert!(kind(&dir).is_none() && !Path::new(&dir).exists());
}

#[test]
fn single_files_are_the_same_file_where_they_may_be_changed() {
    let bench = Bench::new();
    let machine = bench.dir.path().join("machine");
    fs::create_dir(&machine).unwrap();
    fs::write(machine.join("settings"), "one").unwrap();
    let volumes = || vec![host("h", &machine.join("settings")), empty("e", Medium::Disk)];
    let files = bench
        .prepare(0, &setup(volumes(), vec![mount("/etc/app/conf", "h", "", Access::ReadWrite)]))
        .unwrap();
    let seen = Path::new(&by_path(&files)["/etc/app"].dir).join("conf");
    fs::write(&seen, "two").unwrap();
    assert_eq!(fs::read_to_string(machine.join("settings")).unwrap(), "two");
    // Beside the place for last words, which can be changed, it is a copy.
    let both = setup(volumes(), vec![mount("/dev/conf", "h", "", Access::ReadOnly)]);
    let files = bench.prepare(1, &both).unwrap();
    let dev = by_path(&files)["/dev"];
    assert_eq!(dev.access, Access::ReadWrite);
    fs::write(Path::new(&dev.dir).join("conf"), "three").unwrap();
    assert_eq!(fs::read_to_string(machine.join("settings")).unwrap(), "two");
    let into = vec![mount("/etc", "e", "", Access::ReadWrite), mount("/etc/conf", "h", "", Access::ReadOnly)];
    let error = bench.prepare(2, &setup(volumes(), into)).unwrap_err().to_string();
    assert!(error.contains("a single file cannot be mounted into /etc"), "{error}");
}

#[test]
fn a_part_of_a_volume_is_made_and_no_link_leads_out_of_it() {
    let bench = Bench::new();
    let volumes = || vec![empty("e", Medium::Disk)];
    let part = |inside| setup(volumes(), vec![mount("/p", "e", inside, Access::ReadWrite)]);
    let files = bench.prepare(0, &part("a/b")).unwrap();
    let mounts = by_path(&files);
    assert_eq!(mounts["/p"].inside, "a/b");
    let root = PathBuf::from(&mounts["/p"].dir);
    assert!(root.join("a/b").is_dir());
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let error = bench.prepare(1, &part("out")).unwrap_err().to_string();
    assert_eq!(
        error,
        "MountVolume.SetUp failed for volume \"e\" : subPath \"out\" leads through a symbolic link"
    );
}

#[test]
fn projected_files_follow_what_they_are_made_of() {
    let bench = Bench::new();
    let volume = |data: &str| {
        let source = SourceSetup::Files { files: vec![file("key", data)], medium: Medium::Memory };
        vec![VolumeSetup { name: "s".to_owned(), source }]
    };
    let mounts = vec![
        mount("/s", "s", "", Access::ReadOnly),
        MountSetup {
            path: "/etc/one".to_owned(),
            part: PartSetup::File(file("key", "old")),
            access: Access::ReadOnly,
            medium: Medium::Memory,
        },
        MountSetup {
            path: "/folder".to_owned(),
            part: PartSetup::Folder(vec![file("x/y", "old")]),
            access: Access::ReadOnly,
            medium: Medium::Memory,
        },
    ];
    // What is not in place yet is not put there.
    bench.volumes.project(&sample::pod(), &volume("early"));
    let files = bench.prepare(0, &setup(volume("old"), mounts)).unwrap();
    let mounts = by_path(&files);
    let read =
        |mount: &str, path: &str| fs::read_to_string(Path::new(&mounts[mount].dir).join(path)).unwrap();
    assert_eq!((read("/s", "key"), read("/etc", "one"), read("/folder", "x/y")), triple("old", "old"));
    assert_eq!(mounts["/etc"].access, Access::ReadOnly);
    bench.volumes.project(&sample::pod(), &volume("new"));
    assert_eq!((read("/s", "key"), read("/etc", "one"), read("/folder", "x/y")), triple("new", "old"));
}

#[test]
fn copies_of_what_belongs_into_memory_are_made_there_and_nothing_else_is() {
    let bench = Bench::new();
    let source = SourceSetup::Files { files: vec![file("key", "hidden")], medium: Medium::Memory };
    let secret = VolumeSetup { name: "s".to_owned(), source };
    let of = |path: &str, part, medium| MountSetup {
        path: path.to_owned(),
        part,
        access: Access::ReadOnly,
        medium,
    };
    let mounts = vec![
        of("/etc/key", PartSetup::File(file("key", "hidden")), Medium::Memory),
        of("/folder", PartSetup::Folder(vec![file("x/y", "hidden")]), Medium::Memory),
        of("/run/shown", PartSetup::File(file("shown", "for all")), Medium::Disk),
    ];
    let files = bench.prepare(0, &setup(vec![secret.clone()], mounts)).unwrap();
    let mounts = by_path(&files);
    let is_in_memory = |path: &str| Path::new(&mounts[path].dir).starts_with(bench.dir.path().join("memory"));
    assert_eq!(
        ["/etc", "/folder", "/run", "/dev"].map(is_in_memory),
        [true, true, false, false],
        "{mounts:?}"
    );
    // Beside last words, these are in memory as well; what the run before had is gone.
    let beside = vec![of("/dev/key", PartSetup::File(file("key", "hidden")), Medium::Memory)];
    let next = bench.prepare(1, &setup(vec![secret], beside)).unwrap();
    assert!(!Path::new(&mounts["/etc"].dir).exists() && !Path::new(&mounts["/run"].dir).exists());
    let message = PathBuf::from(next.termination_message.as_ref().unwrap());
    assert!(message.starts_with(bench.dir.path().join("memory")));
    // A single file of an emptyDir in memory is that file, not another on the disk.
    let dir = bench.volumes.pod_dir(&sample::pod(), Medium::Memory).join("empty/m");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("f"), "one").unwrap();
    let single = MountSetup { medium: Medium::Memory, ..mount("/x/f", "m", "f", Access::ReadWrite) };
    let files = bench.prepare(2, &setup(vec![empty("m", Medium::Memory)], vec![single])).unwrap();
    fs::write(Path::new(&by_path(&files)["/x"].dir).join("f"), "two").unwrap();
    assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "two");
}

fn triple(whole: &str, parts: &str) -> (String, String, String) {
    (whole.to_owned(), parts.to_owned(), parts.to_owned())
}
