//! Disks that fail: nothing of what failed is found later, and the writer goes on.

use std::sync::atomic::{AtomicI64, Ordering};

use redb::{Database, StorageBackend, backends::FileBackend};

use super::*;
use crate::local::tables::Undo;

/// A disk that is full after so many more operations.
#[derive(Debug)]
struct Filling(FileBackend, Arc<AtomicI64>);

impl Filling {
    fn operate(&self) -> io::Result<()> {
        let left = self.1.fetch_sub(1, Ordering::Relaxed);
        if left > 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

impl StorageBackend for Filling {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate()?;
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate()?;
        self.0.write(offset, data)
    }
}

fn object(text: &str) -> (Digest, Change<dunlin_link::sealed::Content>) {
    let data = vec![("k".to_owned(), text.as_bytes().to_vec())];
    let object = ConfigObject { kind: ConfigKind::ConfigMap, data };
    (Digest::of(text.as_bytes()), Change::Put(object.into()))
}

fn applied(revision: u64) -> Option<AppliedRecord> {
    Some(AppliedRecord { revision: Revision(revision), restore_generation: 0 })
}

/// A writer over a state that holds revision 1 and the object `one`, and its disk's patience.
fn writer(path: &Path) -> (Writer, Arc<AtomicI64>) {
    let (database, ..) = tables::open(path, CACHE_BYTES).unwrap();
    let first = Batch { applied: applied(1), objects: vec![object("one")], ..Batch::default() };
    let mut undo = Undo::default();
    tables::commit(&database, [first].iter(), (&seal(), None), &mut undo).unwrap();
    drop(database);
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let disk = Filling(FileBackend::new(file).unwrap(), Arc::clone(&left));
    let database = Database::builder().create_with_backend(disk).unwrap();
    (Writer::new(database, path.to_owned(), (seal(), Arc::default())), left)
}

fn load(path: &Path) -> Loaded {
    tables::open(path, CACHE_BYTES).unwrap().1
}

#[test]
fn what_failed_at_any_step_is_never_found_and_the_next_batch_is_written() {
    let mut torn = 0;
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let (mut writer, left) = writer(&path);
        left.store(operations, Ordering::Relaxed);
        let mut objects = vec![object("two")];
        objects.push((Digest::of(b"one"), Change::Remove));
        let change = Batch { applied: applied(2), objects, ..Batch::default() };
        let result = writer.write(&[change]).remove(0);
        let Err(error) = result else {
            drop(writer);
            assert_eq!(load(&path).applied.revision, Revision(2));
            assert!(operations > 4 && torn > 0, "{operations} operations, {torn} torn");
            return;
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "the cause, not that there was one: {error}");
        let copy = dir.path().join("copy.redb");
        std::fs::copy(&path, &copy).unwrap();
        torn += u64::from(load(&copy).applied.revision == Revision(2));

        let memories = vec![(PodUid::new("u"), Change::Put(PodMemory::default()))];
        writer.write(&[Batch { memories, ..Batch::default() }]).remove(0).unwrap();
        drop(writer);
        let loaded = load(&path);
        assert_eq!(loaded.applied.revision, Revision(1), "after {operations} operations");
        assert_eq!(loaded.objects.keys().collect::<Vec<_>>(), [&Digest::of(b"one")]);
        assert!(loaded.memories.contains_key(&PodUid::new("u")));
    }
}

#[test]
fn orders_to_stop_have_a_reserve_and_nothing_else_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let reserve = dir.path().join("node.reserve");
    let bury = |uid: &str| {
        let tombstones = vec![(PodUid::new(uid), Change::Put(tombstone(uid)))];
        Batch { tombstones, ..Batch::default() }
    };
    let (mut writer, left) = writer(&path);
    let held = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap()) * 512;
    assert!(held(&path) >= std::fs::metadata(&path).unwrap().len(), "the state does not own its blocks");
    assert!(held(&reserve) >= 256 << 10);
    left.store(0, Ordering::Relaxed);
    writer.write(&[bury("u1")]).remove(0).unwrap();
    assert!(reserve.exists(), "it is taken again when there is room");
    drop(writer);
    assert!(load(&path).tombstones.contains_key(&PodUid::new("u1")));

    std::fs::remove_file(&path).unwrap();
    let (mut writer, left) = self::writer(&path);
    left.store(0, Ordering::Relaxed);
    // Beside an order that goes through, what is not one fails alone.
    let change = Batch { applied: applied(2), objects: vec![object("two")], ..Batch::default() };
    std::fs::remove_file(&reserve).unwrap();
    let results = writer.write(&[change, bury("u2")]);
    assert!(results.iter().all(Result::is_ok), "one at a time, with the file opened again: {results:?}");
}
