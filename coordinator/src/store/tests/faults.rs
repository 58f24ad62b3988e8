//! Nothing acknowledged is lost and nothing refused is seen, whichever operation of the disk fails; and groups share a flush.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use dunlin_link::Revision;

use super::{all, delete, disk::Disk, put};
use crate::store::{Store, StoreError, StoreOptions, Txn, TxnOutcome, Write};

/// Small enough that a test reaches checkpoints, transactions beyond the log, and pruned history.
fn options() -> StoreOptions {
    StoreOptions {
        cache_bytes: 64 << 10,
        recent_bytes: 4 << 10,
        history_bytes: 8 << 10,
        log_bytes: 16 << 10,
        ..StoreOptions::new("disk")
    }
}

fn open(disk: &Disk) -> Result<Store, crate::store::OpenError> {
    let (database, log) = disk.files();
    Store::open_with_backend(&options(), database, log)
}

/// The `step`th transaction of a run: puts and deletes over few keys, now and then one larger than the log.
fn transaction(step: usize, model: &BTreeMap<String, Bytes>) -> Txn {
    let key = format!("/k/{}", step % 7);
    match step % 11 {
        3 if model.contains_key(&key) => delete(&key),
        5 => put(&key, &"x".repeat(20 << 10)),
        8 => Txn {
            compares: Vec::new(),
            writes: (0..4).map(|index| Write::Put(format!("/m/{index}"), step.to_string().into())).collect(),
        },
        _ => put(&key, &format!("{step:0500}")),
    }
}

fn apply(model: &mut BTreeMap<String, Bytes>, txn: &Txn) {
    for write in &txn.writes {
        match write {
            Write::Put(key, value) => model.insert(key.clone(), value.clone()),
            Write::Delete(key) => model.remove(key),
        };
    }
}

async fn contents(store: &Store) -> BTreeMap<String, Bytes> {
    let page = store.list(all("/")).await.unwrap();
    page.items.into_iter().map(|item| (item.key, item.value)).collect()
}

/// Writes until the disk fails at its `nth` operation, cuts the power, and looks at what is there.
async fn check_failure_at(nth: usize) {
    let disk = Disk::default();
    let store = open(&disk).unwrap();
    disk.fail_after(nth);
    let mut acknowledged = BTreeMap::new();
    let mut revision = Revision(0);
    let mut refused = None;
    for step in 0..STEPS {
        let txn = transaction(step, &acknowledged);
        match store.txn(txn.clone()).await {
            Ok(TxnOutcome::Committed(committed)) => {
                apply(&mut acknowledged, &txn);
                revision = committed;
            }
            Err(StoreError::Failed { .. }) => {
                refused = Some(txn);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    if refused.is_some() {
        assert!(matches!(store.txn(put("/k/0", "")).await, Err(StoreError::Failed { .. })), "{nth}");
        assert_eq!(store.revision(), revision, "{nth}");
        if let Ok(page) = store.list(all("/")).await {
            assert_eq!(page.revision, revision, "{nth}");
            assert_eq!(page.items.len(), acknowledged.len(), "{nth}");
        }
    }

    for seed in 0..2 {
        let store = open(&disk.crashed(seed)).unwrap();
        let found = contents(&store).await;
        let mut with_refused = acknowledged.clone();
        if let Some(txn) = &refused {
            apply(&mut with_refused, txn);
        }
        let is_acknowledged = found == acknowledged && store.revision() == revision;
        let is_with_refused = found == with_refused && store.revision().0 == revision.0 + 1;
        assert!(is_acknowledged || is_with_refused, "{nth} {seed}: {} {revision}", store.revision());
        store.txn(put("/k/0", "after")).await.unwrap();
    }
}

#[tokio::test]
async fn no_failing_operation_loses_what_was_acknowledged() {
    let disk = Disk::default();
    let store = open(&disk).unwrap();
    let opened = disk.operations();
    let mut model = BTreeMap::new();
    for step in 0..STEPS {
        let txn = transaction(step, &model);
        store.txn(txn.clone()).await.unwrap();
        apply(&mut model, &txn);
    }
    let operations = disk.operations() - opened;
    assert!(operations > 200, "{operations}");
    for nth in (0..operations).step_by(3) {
        check_failure_at(nth).await;
    }
}

#[tokio::test]
async fn a_recovery_that_was_cut_off_can_be_repeated() {
    let disk = Disk::default();
    let store = open(&disk).unwrap();
    for step in 0..10 {
        store.txn(put(&format!("/k/{step}"), "1")).await.unwrap();
    }
    let crashed = disk.crashed(1);
    let whole = crashed.crashed(2);
    drop(open(&whole).unwrap());
    for nth in 0..whole.operations() {
        let disk = crashed.crashed(2);
        disk.fail_after(nth);
        drop(open(&disk));
        let store = open(&disk.crashed(3)).unwrap();
        assert_eq!(contents(&store).await.len(), 10, "{nth}");
    }
}

#[tokio::test]
async fn writers_at_the_same_time_share_flushes() {
    let disk = Disk::with_flush_time(Duration::from_millis(5));
    let (database, log) = disk.files();
    let store = Store::open_with_backend(&StoreOptions::new("disk"), database, log).unwrap();
    let before = disk.flushes();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..200 {
        let store = store.clone();
        writers.spawn(async move { store.txn(put(&format!("/k/{writer}"), "1")).await.unwrap() });
    }
    writers.join_all().await;
    let flushes = disk.flushes() - before;
    assert!(flushes <= 10, "{flushes} flushes for 200 writes");
    assert_eq!(contents(&store).await.len(), 200);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changes() {
    let disk = Disk::default();
    let (database, log) = disk.files();
    let short = StoreOptions { history_age: Duration::from_millis(1), ..StoreOptions::new("disk") };
    let store = Store::open_with_backend(&short, database, log).unwrap();
    for step in 0..10 {
        store.txn(put("/a", &step.to_string())).await.unwrap();
    }
    let before = disk.operations();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.oldest_revision(), store.revision());
    store.list(all("/")).await.unwrap();
    let absent = Txn { compares: vec![crate::store::Compare::Absent("/a".to_owned())], ..put("/a", "") };
    assert!(matches!(store.txn(absent).await.unwrap(), TxnOutcome::Conflict(..)));
    assert_eq!(disk.operations(), before);
}

const STEPS: usize = 40;
