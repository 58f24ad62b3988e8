//! What was committed is there after reopening, and nothing else.

mod damage;

use dunlin_edge_node_core::{
    memory::PodMemory,
    node::{AppliedRecord, Change},
};
use dunlin_link::{
    Digest, PodUid, Revision, UnixMillis,
    assignment::Tombstone,
    pod::{ConfigKind, ConfigObject},
};

use super::*;

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
    let (local, loaded) = Local::open(dir.path()).unwrap();
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
    assert_eq!(*loaded.objects[&digest], object);
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

#[test]
fn a_state_that_is_not_ours_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), b"something else entirely, and long enough to be looked at")
        .unwrap();
    let error = Local::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains(FILE), "{error}");
}

/// The writer thread of a dropped store lets go of the file a moment later.
fn reopen(dir: &Path) -> (Local, Loaded) {
    for _ in 0..500 {
        match Local::open(dir) {
            Ok(opened) => return opened,
            Err(OpenError::InUse { .. }) => thread::sleep(std::time::Duration::from_millis(10)),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the state stayed locked");
}
