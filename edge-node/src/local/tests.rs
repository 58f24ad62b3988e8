//! What was committed is there after reopening, and nothing else.

mod damage;
mod writer;

use dunlin_edge_node_core::{
    content::{Contents, NoContent, Seal},
    memory::PodMemory,
    node::{AppliedRecord, Change},
};
use dunlin_link::{
    Digest, PodUid, Revision, UnixMillis,
    assignment::Tombstone,
    pod::{ConfigKind, ConfigObject},
    sealed::{SealingKey, SealingPlace},
};
use rand::{SeedableRng, rngs::StdRng};

use super::*;

/// The same key each time, as from the node's identity.
fn seal() -> Arc<Seal> {
    let key = SealingKey::generate(&mut StdRng::seed_from_u64(5));
    let place = SealingPlace { cluster_id: "c".to_owned(), node: dunlin_link::NodeName::new("n1") };
    Arc::new(Seal { key, place })
}

/// What was stored, as the key of every day opens it.
fn contents(loaded: &Loaded) -> Contents {
    Contents::new(seal(), loaded.objects.clone())
}

fn tombstone(uid: &str) -> Tombstone {
    Tombstone {
        uid: PodUid::new(uid),
        namespace: "ns".to_owned(),
        name: "p".to_owned(),
        grace_seconds: 30,
        requested_at: UnixMillis(1),
    }
}

#[tokio::test]
async fn a_reopened_state_holds_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (local, loaded) = Local::open(dir.path(), (&seal(), &Arc::default())).unwrap();
    assert_eq!((loaded.starts, loaded.applied.revision), (1, Revision(0)));
    let uid = PodUid::new("u1");
    let object = ConfigObject { kind: ConfigKind::Secret, data: vec![("k".to_owned(), b"v".to_vec())] };
    let digest = Digest::of(b"content");
    local
        .write(Batch {
            applied: Some(AppliedRecord { revision: Revision(7), restore_generation: 0 }),
            memories: vec![(uid.clone(), Change::Put(PodMemory::default()))],
            tombstones: vec![(uid.clone(), Change::Put(tombstone("u1")))],
            objects: vec![(digest, Change::Put(object.clone().into()))],
            ..Batch::default()
        })
        .await
        .unwrap();
    drop(local);

    let (local, loaded) = reopen(dir.path());
    assert_eq!((loaded.starts, loaded.applied.revision), (2, Revision(7)));
    assert_eq!(loaded.tombstones[&uid], tombstone("u1"));
    assert_eq!(contents(&loaded).open(&digest).as_deref(), Ok(&object));
    assert!(loaded.memories.contains_key(&uid));
    let removal = Batch {
        memories: vec![(uid.clone(), Change::Remove)],
        tombstones: vec![(uid.clone(), Change::Remove)],
        ..Batch::default()
    };
    local.write(removal).await.unwrap();
    drop(local);

    let (_local, loaded) = reopen(dir.path());
    assert!(loaded.tombstones.is_empty() && loaded.memories.is_empty());
    assert_eq!(loaded.applied.revision, Revision(7));
}

#[tokio::test]
async fn its_file_is_its_owners_only_also_one_of_before() {
    use std::{
        fs::{Permissions, metadata, set_permissions},
        os::unix::fs::PermissionsExt as _,
    };
    let dir = tempfile::tempdir().unwrap();
    let mode = || metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777;
    drop(Local::open(dir.path(), (&seal(), &Arc::default())).unwrap());
    assert_eq!(mode(), 0o600);
    set_permissions(dir.path().join(FILE), Permissions::from_mode(0o644)).unwrap();
    drop(reopen(dir.path()));
    assert_eq!(mode(), 0o600);
}

/// The file's bytes, free pages included.
fn says(dir: &Path, value: &[u8]) -> bool {
    std::fs::read(dir.join(FILE)).unwrap().windows(value.len()).any(|bytes| bytes == value)
}

#[tokio::test]
async fn a_secret_never_lies_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let (local, _) = Local::open(dir.path(), (&seal(), &Arc::default())).unwrap();
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let object = |kind, value: &[u8]| ConfigObject { kind, data: vec![("k".to_owned(), value.to_vec())] };
    let put = |id, kind, value: &[u8]| (id, Change::Put(object(kind, value).into()));
    let objects =
        vec![put(one, ConfigKind::Secret, b"hunter2"), put(two, ConfigKind::ConfigMap, b"well known")];
    local.write(Batch { objects, ..Batch::default() }).await.unwrap();
    drop(local);
    let (_local, loaded) = reopen(dir.path());
    assert!(!says(dir.path(), b"hunter2") && says(dir.path(), b"well known"));
    assert_eq!(contents(&loaded).open(&one).as_deref(), Ok(&object(ConfigKind::Secret, b"hunter2")));
    assert_eq!(contents(&loaded).open(&two).as_deref(), Ok(&object(ConfigKind::ConfigMap, b"well known")));
}

#[tokio::test]
async fn secrets_of_an_earlier_version_are_sealed_and_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (local, _) = Local::open(dir.path(), (&seal(), &Arc::default())).unwrap();
    let uid = PodUid::new("u1");
    let batch = Batch {
        applied: Some(AppliedRecord { revision: Revision(7), restore_generation: 0 }),
        tombstones: vec![(uid.clone(), Change::Put(tombstone("u1")))],
        ..Batch::default()
    };
    local.write(batch).await.unwrap();
    drop(local);
    drop(reopen(dir.path()));
    let id = Digest::of(b"1");
    let object = ConfigObject { kind: ConfigKind::Secret, data: vec![("k".to_owned(), b"hunter2".to_vec())] };
    tables::tests::put_as_version_1(&dir.path().join(FILE), &id, &object);
    assert!(says(dir.path(), b"hunter2"));
    // What a crash in the middle of an earlier attempt leaves.
    std::fs::write(dir.path().join("node.new"), b"half").unwrap();

    for starts in [3, 4] {
        let (local, loaded) = reopen(dir.path());
        assert!(!says(dir.path(), b"hunter2"));
        assert_eq!((loaded.starts, loaded.applied.revision), (starts, Revision(7)));
        assert_eq!(loaded.tombstones[&uid], tombstone("u1"));
        assert_eq!(contents(&loaded).open(&id).as_deref(), Ok(&object));
        drop(local);
    }
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [FILE, "node.reserve"]);
}

#[tokio::test]
async fn a_state_whose_key_is_gone_opens_without_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let (local, _) = Local::open(dir.path(), (&seal(), &Arc::default())).unwrap();
    let id = Digest::of(b"1");
    let object = ConfigObject { kind: ConfigKind::Secret, data: vec![("k".to_owned(), b"hunter2".to_vec())] };
    let objects = vec![(id, Change::Put(object.into()))];
    local.write(Batch { objects, ..Batch::default() }).await.unwrap();
    drop(local);
    drop(reopen(dir.path()));
    let other = SealingKey::generate(&mut StdRng::seed_from_u64(6));
    let seal = Arc::new(Seal { key: other, place: seal().place.clone() });
    let (_local, loaded) = loop {
        match Local::open(dir.path(), (&seal, &Arc::default())) {
            Err(OpenError::InUse { .. }) => thread::sleep(std::time::Duration::from_millis(10)),
            opened => break opened.unwrap(),
        }
    };
    let contents = Contents::new(seal, loaded.objects);
    assert_eq!(contents.open(&id), Err(NoContent::Closed));
    assert!(contents.lacks_any());
}

#[test]
fn a_state_that_is_not_ours_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), b"something else entirely, and long enough to be looked at")
        .unwrap();
    let error = Local::open(dir.path(), (&seal(), &Arc::default())).unwrap_err();
    assert!(error.to_string().contains(FILE), "{error}");
}

/// The writer thread of a dropped store lets go of the file a moment later.
fn reopen(dir: &Path) -> (Local, Loaded) {
    for _ in 0..500 {
        match Local::open(dir, (&seal(), &Arc::default())) {
            Ok(opened) => return opened,
            Err(OpenError::InUse { .. }) => thread::sleep(std::time::Duration::from_millis(10)),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the state stayed locked");
}
