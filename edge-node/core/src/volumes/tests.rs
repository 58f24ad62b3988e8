//! What is put in place, from what was declared.

use dunlin_link::{
    Bytes, Digest,
    pod::{ConfigKind, ConfigObject, ConfigRef, EnvValue, EnvVar, PodAssignment},
    status::NodeResources,
    volumes::{
        ConfigItem, ContainerFiles, DownwardItem, DownwardValue, PodVolumes, Projection, Volume, VolumeMount,
        VolumePart, VolumeSource,
    },
};

use super::*;
use crate::{
    content::NoContent,
    env::Surroundings,
    pod::{ContainerIndex, fixture},
};

fn pod(volumes: Vec<(&str, VolumeSource)>, mounts: Vec<VolumeMount>) -> PodAssignment {
    let volumes = volumes.into_iter().map(|(name, source)| Volume { name: name.to_owned(), source });
    let files = ContainerFiles { mounts, termination_message_path: None };
    let mut pod = fixture::pod(vec![fixture::container("c")]);
    pod.volumes = PodVolumes { volumes: volumes.collect(), containers: vec![files] };
    pod.config = vec![ConfigRef {
        kind: ConfigKind::ConfigMap,
        name: "map".to_owned(),
        digest: Some(Digest::from_bytes([1; 32])),
    }];
    pod
}

fn planned(pod: &PodAssignment) -> Result<Setup, SetupError> {
    let data = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let map = Arc::new(ConfigObject { kind: ConfigKind::ConfigMap, data: data.to_vec() });
    let objects =
        |id: &Digest| if id.as_bytes()[0] == 1 { Ok(Arc::clone(&map)) } else { Err(NoContent::Absent) };
    let around = Surroundings {
        node_name: "n",
        host_name: "machine",
        host_ip: "10.0.0.1",
        pod_ip: "10.42.0.1",
        allocatable: NodeResources { memory: Bytes(1 << 20), ..NodeResources::default() },
        capacity: NodeResources { memory: Bytes(2 << 30), ..NodeResources::default() },
        mounts_read_only_recursively: false,
        se_linux: false,
        api: None,
        objects: &objects,
        tokens: &|_| None,
    };
    setup(pod, (ContainerIndex(0), &pod.spec.containers[0]), &around)
}

fn mount(volume: &str, path: &str, part: VolumePart) -> VolumeMount {
    VolumeMount { volume: volume.to_owned(), path: path.to_owned(), part, access: Access::ReadWrite }
}

fn config(name: &str, items: &[(&str, &str)]) -> Projection {
    let items = items.iter().map(|(key, path)| ConfigItem {
        key: (*key).to_owned(),
        path: (*path).to_owned(),
        mode: None,
    });
    let (kind, name) = (ConfigKind::ConfigMap, name.to_owned());
    Projection::Config { kind, name, items: items.collect(), optional: false }
}

fn required(name: &str, items: &[(&str, &str)]) -> VolumeSource {
    VolumeSource::Projected { default_mode: 0o644, sources: vec![config(name, items)] }
}

fn optional(name: &str, items: &[(&str, &str)]) -> VolumeSource {
    let mut source = config(name, items);
    if let Projection::Config { optional, .. } = &mut source {
        *optional = true;
    }
    VolumeSource::Projected { default_mode: 0o644, sources: vec![source] }
}

const EMPTY: VolumeSource = VolumeSource::EmptyDir { medium: Medium::Disk, size_limit: None };

fn files_of(setup: &Setup) -> Vec<(&str, &str)> {
    let SourceSetup::Files { files, .. } = &setup.volumes[0].source else { panic!("{setup:?}") };
    files.iter().map(|file| (file.path.as_str(), std::str::from_utf8(&file.data).unwrap())).collect()
}

#[test]
fn keys_become_files_and_nobody_but_the_node_changes_them() {
    let whole = pod(vec![("v", required("map", &[]))], vec![mount("v", "/m/", VolumePart::Whole)]);
    let setup = planned(&whole).unwrap();
    assert_eq!(files_of(&setup), [("a", "1"), ("b", "2")]);
    assert_eq!((setup.mounts[0].path.as_str(), setup.mounts[0].access), ("/m", Access::ReadOnly));
    assert_eq!(setup.termination_message_path, "/dev/termination-log");
    let some = pod(vec![("v", required("map", &[("b", "x/y")]))], Vec::new());
    assert_eq!(files_of(&planned(&some).unwrap()), [("x/y", "2")]);
    // Missing, and fine.
    let check = |source| assert_eq!(files_of(&planned(&pod(vec![("v", source)], Vec::new())).unwrap()), []);
    check(optional("none", &[]));
    check(optional("map", &[("none", "n")]));
}

#[test]
fn what_is_missing_is_said_in_the_kubelets_words() {
    let check = |source, expected: &str| {
        let error = planned(&pod(vec![("v", source)], Vec::new())).unwrap_err();
        assert_eq!(error.to_string(), format!("MountVolume.SetUp failed for volume \"v\" : {expected}"));
    };
    check(required("none", &[]), "configmap \"none\" not found");
    check(required("map", &[("none", "n")]), "configmap references non-existent config key: none");
    let host = |path: &str| VolumeSource::HostPath { path: path.to_owned(), kind: HostPathKind::Unset };
    check(host("/a/../b"), "hostPath /a/../b is not an absolute path without `..`");
}

#[test]
fn parts_of_volumes_are_paths_for_folders_and_copies_for_what_the_node_writes() {
    let part = |part| {
        let source = required("map", &[("a", "x/one"), ("b", "x/two")]);
        let mounts = vec![mount("v", "/f", part)];
        planned(&pod(vec![("v", source), ("e", EMPTY)], mounts)).map(|setup| setup.mounts[0].part.clone())
    };
    let path = |path: &str| VolumePart::Path(path.to_owned());
    let Ok(PartSetup::File(file)) = part(path("x/one")) else { panic!() };
    assert_eq!((&*file.data, file.path.as_str()), (&b"1"[..], "x/one"));
    let Ok(PartSetup::Folder(files)) = part(path("./x/")) else { panic!() };
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(part(path("y")).unwrap_err().to_string().ends_with("subPath \"y\" is not in the volume"));

    let mut pod = pod(
        vec![("e", EMPTY)],
        vec![
            mount("e", "/a", path("in//here")),
            mount("e", "/b", VolumePart::Expression("$(POD)/x".to_owned())),
        ],
    );
    let value = EnvValue::Field("metadata.name".to_owned());
    pod.spec.containers[0].env = vec![EnvVar { name: "POD".to_owned(), value }];
    let setup = planned(&pod).unwrap();
    let inside = |place: usize| match &setup.mounts[place].part {
        PartSetup::Volume { inside, .. } => inside.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((inside(0), inside(1)), ("in/here".to_owned(), "p/x".to_owned()));
    for wrong in ["../x", "a/../../x", "/x"] {
        pod.volumes.containers[0].mounts = vec![mount("e", "/a", path(wrong))];
        assert!(planned(&pod).is_err(), "{wrong}");
    }
    let empty = EnvVar { name: "EMPTY".to_owned(), value: EnvValue::Literal(String::new()) };
    pod.spec.containers[0].env.push(empty);
    let expression = VolumePart::Expression("$(NOPE)/$(POD)/$(EMPTY)".to_owned());
    pod.volumes.containers[0].mounts = vec![mount("e", "/a", expression)];
    let expected = ConfigError::ValueMissing(vec!["EMPTY".to_owned(), "NOPE".to_owned()]);
    assert_eq!(expected.to_string(), "missing value for \"EMPTY\", \"NOPE\"");
    assert_eq!(planned(&pod), Err(SetupError::Config(expected)));
}

#[test]
fn a_volume_of_a_kind_that_nodes_do_not_serve_is_waited_for() {
    let mut pod = pod(vec![("e", EMPTY)], vec![mount("data", "/d", VolumePart::Whole)]);
    let check = |pod: &PodAssignment, why: &str| {
        let expected = format!("MountVolume.SetUp failed for volume \"data\" : {why}");
        let error = planned(pod).unwrap_err();
        assert!(matches!(error, SetupError::Mount(_)));
        assert_eq!(error.to_string(), expected);
    };
    check(&pod, "no such volume");
    pod.spec.containers[0].refused_fields = vec!["volumes[other].csi".into(), "volumes[data].nfs".into()];
    check(&pod, "nodes do not mount volumes of this kind yet: nfs");
}

#[test]
fn what_a_pod_is_becomes_files_too() {
    let item = |path: &str, value| DownwardItem { path: path.to_owned(), mode: Some(0o600), value };
    let field = |path: &str| DownwardValue::Field(path.to_owned());
    let memory = DownwardValue::Resource {
        container: "c".to_owned(),
        resource: "limits.memory".to_owned(),
        divisor_milli: 1000 << 10,
    };
    let items = vec![
        item("labels", field("metadata.labels")),
        item("deep/name", field("metadata.name")),
        item("memory", memory),
    ];
    let source =
        VolumeSource::Projected { default_mode: 0o644, sources: vec![Projection::Downward { items }] };
    let setup = planned(&pod(vec![("v", source)], Vec::new())).unwrap();
    assert_eq!(files_of(&setup), [("labels", "app=\"web\""), ("deep/name", "p"), ("memory", "1024")]);
    let SourceSetup::Files { files, medium } = &setup.volumes[0].source else { panic!() };
    assert_eq!((files[0].mode, *medium), (0o600, Medium::Disk));
    assert!(!format!("{files:?}").contains("web"), "contents may be secret");
}

#[test]
fn a_mount_says_where_copies_of_it_have_to_be() {
    let memory = VolumeSource::EmptyDir { medium: Medium::Memory, size_limit: None };
    let host = VolumeSource::HostPath { path: "/h".to_owned(), kind: HostPathKind::Unset };
    let secret =
        Projection::Config { kind: ConfigKind::Secret, name: "s".into(), items: vec![], optional: true };
    let secret = VolumeSource::Projected { default_mode: 0o644, sources: vec![secret, config("map", &[])] };
    let check = |source: VolumeSource, part: VolumePart, medium: Medium| {
        let setup = planned(&pod(vec![("v", source)], vec![mount("v", "/m", part)])).unwrap();
        assert_eq!(setup.mounts[0].medium, medium);
    };
    check(EMPTY, VolumePart::Whole, Medium::Disk);
    check(memory, VolumePart::Path("f".to_owned()), Medium::Memory);
    check(host, VolumePart::Whole, Medium::Disk);
    check(required("map", &[]), VolumePart::Path("a".to_owned()), Medium::Disk);
    check(secret, VolumePart::Path("a".to_owned()), Medium::Memory);
}

#[test]
fn paths_that_lead_elsewhere_are_not_safe() {
    for safe in ["a", "a/b", "..a", "a..", ".a", "\u{fc}"] {
        assert!(is_safe_relative(safe), "{safe}");
    }
    let long = "x".repeat(256);
    for wrong in ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "a\0", &long] {
        assert!(!is_safe_relative(wrong), "{wrong:?}");
    }
}
