//! The store as its users see it: values, conflicts, pages, watches, history and its end.

mod damage;
pub(crate) mod disk;
mod faults;
mod killed;
mod model;

use std::time::Duration;

use bytes::Bytes;
use dunlin_link::Revision;

use crate::{
    folders::tests::synced,
    store::{
        Compare, KeyValue, ListOptions, OpenError, Page, Store, StoreError, StoreOptions, Txn, TxnOutcome,
        Watch, WatchEvent, Write,
    },
};

fn put(key: &str, value: &str) -> Txn {
    Txn { compares: Vec::new(), writes: vec![Write::Put(key.to_owned(), Bytes::from(value.to_owned()))] }
}

fn delete(key: &str) -> Txn {
    Txn { compares: Vec::new(), writes: vec![Write::Delete(key.to_owned())] }
}

/// Commits what cannot conflict.
async fn commit(store: &Store, txn: Txn) -> Revision {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Committed(revision) => revision,
        outcome @ TxnOutcome::Conflict(..) => panic!("{outcome:?}"),
    }
}

fn all(prefix: &str) -> ListOptions {
    ListOptions { prefix: prefix.to_owned(), after: None, limit: None, at: None }
}

fn keys(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.as_str()).collect()
}

/// The next changes of a watch, as `key=value` and `-key`.
async fn next(watch: &mut Watch) -> Vec<String> {
    let next = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
    let events = next.expect("a change within ten seconds").expect("the store is open").unwrap();
    let text = |WatchEvent { key, value, .. }| match value {
        Some(value) => format!("{key}={}", String::from_utf8_lossy(&value)),
        None => format!("-{key}"),
    };
    events.into_iter().map(text).collect()
}

#[tokio::test]
async fn values_conflicts_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(folder.path().join("store"));
    let store = Store::open(&options).unwrap();
    // What is acknowledged lasts as long as the names of the files, and of the folder that they are in.
    let flushed = synced();
    assert!(flushed.ends_with(&[options.path.clone(), folder.path().to_owned()]), "{flushed:?}");
    assert_eq!(store.revision(), Revision(0));
    let first = commit(&store, put("/a", "1")).await;
    let held = KeyValue { key: "/a".to_owned(), value: Bytes::from_static(b"1"), mod_revision: first };
    assert_eq!(store.get("/a").await.unwrap(), Some(held.clone()));

    let create = Txn { compares: vec![Compare::Absent("/a".to_owned())], ..put("/a", "2") };
    assert_eq!(store.txn(create).await.unwrap(), TxnOutcome::Conflict(0, Some(held)));
    let update = Txn { compares: vec![Compare::ModRevision("/a".to_owned(), first)], ..put("/a", "2") };
    assert_eq!(store.txn(update.clone()).await.unwrap(), TxnOutcome::Committed(Revision(2)));
    assert!(matches!(store.txn(update).await.unwrap(), TxnOutcome::Conflict(0, Some(_))));
    assert!(matches!(store.txn(delete("/b")).await, Err(StoreError::Malformed(_))));
    assert_eq!(store.revision(), Revision(2));
    assert_eq!(store.next_term().await.unwrap(), 1);

    store.close().await;
    assert!(matches!(store.txn(put("/c", "")).await, Err(StoreError::Closed)));
    assert!(matches!(store.get("/a").await, Err(StoreError::Closed)));

    let store = Store::open(&options).unwrap();
    assert!(synced().is_empty());
    assert_eq!(store.revision(), Revision(3));
    assert_eq!(store.next_term().await.unwrap(), 2);
    assert_eq!(commit(&store, delete("/a")).await, Revision(5));
    assert_eq!(store.get("/a").await.unwrap(), None);
}

#[tokio::test]
async fn a_folder_is_opened_once_and_after_a_first_open_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.redb.new"), "half a database").unwrap();
    let options = StoreOptions::new(folder.path());
    let store = Store::open(&options).unwrap();
    assert!(matches!(Store::open(&options), Err(OpenError::InUse { .. })));
    commit(&store, put("/a", "1")).await;
    store.close().await;
    std::fs::write(folder.path().join("store.redb"), "not a database").unwrap();
    let refused = Store::open(&options);
    assert!(matches!(refused, Err(OpenError::Damaged { .. } | OpenError::Database { .. })), "{refused:?}");
}

#[tokio::test]
async fn pages_are_consistent_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreOptions::new(folder.path())).unwrap();
    for key in ["/p/a", "/p/b", "/p/c", "/p/d", "/q/a"] {
        commit(&store, put(key, "old")).await;
    }
    let first = store.list(ListOptions { limit: Some(2), ..all("/p/") }).await.unwrap();
    assert_eq!(keys(&first), ["/p/a", "/p/b"]);
    assert_eq!((first.more, first.remaining, first.revision), (true, Some(2), Revision(5)));

    commit(&store, delete("/p/c")).await;
    commit(&store, put("/p/d", "new")).await;
    commit(&store, put("/p/cc", "new")).await;
    let rest = ListOptions { after: Some("/p/b".to_owned()), at: Some(first.revision), ..all("/p/") };
    let rest = store.list(rest).await.unwrap();
    assert_eq!(keys(&rest), ["/p/c", "/p/d"]);
    assert!(rest.items.iter().all(|item| &*item.value == b"old"));
    assert_eq!((rest.more, rest.revision), (false, Revision(5)));
    assert_eq!(keys(&store.list(all("/p/")).await.unwrap()), ["/p/a", "/p/b", "/p/cc", "/p/d"]);

    let future = ListOptions { at: Some(Revision(99)), ..all("/p/") };
    assert!(matches!(store.list(future).await, Err(StoreError::Future { .. })));
}

#[tokio::test]
async fn its_files_are_their_owners_only_also_those_of_before() {
    use std::{
        fs::{Permissions, metadata, set_permissions},
        os::unix::fs::PermissionsExt as _,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let modes = || {
        let names = ["", "store.redb", "store.log"];
        names.map(|name| metadata(path.join(name)).unwrap().permissions().mode() & 0o777)
    };
    let open = || Store::open(&StoreOptions::new(&path)).unwrap();
    open().close().await;
    assert_eq!(modes(), [0o700, 0o600, 0o600]);
    for name in ["store.redb", "store.log"] {
        set_permissions(path.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    open().close().await;
    assert_eq!(modes(), [0o700, 0o600, 0o600]);
}

#[tokio::test]
async fn a_watch_resumes_from_memory_and_from_history() {
    let folder = tempfile::tempdir().unwrap();
    for recent_bytes in [0, 1 << 20] {
        let path = folder.path().join(recent_bytes.to_string());
        let store = Store::open(&StoreOptions { recent_bytes, ..StoreOptions::new(path) }).unwrap();
        commit(&store, put("/p/a", "1")).await;
        let mut live = store.watch("/p/", store.revision()).await.unwrap();
        commit(&store, put("/q/a", "1")).await;
        commit(&store, put("/p/a", "2")).await;
        assert_eq!(next(&mut live).await, ["/p/a=2"]);
        commit(&store, delete("/p/a")).await;
        assert_eq!(next(&mut live).await, ["-/p/a"]);
        assert_eq!(live.position(), store.revision());

        let mut resumed = store.watch("/p/", Revision(1)).await.unwrap();
        assert_eq!(next(&mut resumed).await, ["/p/a=2", "-/p/a"]);
        assert!(matches!(store.watch("/", Revision(9)).await, Err(StoreError::Future { .. })));
        store.close().await;
        assert_eq!(live.next().await, None);
    }
}

#[tokio::test]
async fn history_is_bounded_by_bytes_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let small =
        StoreOptions { recent_bytes: 0, history_bytes: 2000, ..StoreOptions::new(folder.path().join("a")) };
    let store = Store::open(&small).unwrap();
    let mut slow = store.watch("/", Revision(0)).await.unwrap();
    for index in 0..100 {
        commit(&store, put("/a", &format!("{index:0100}"))).await;
    }
    let oldest = store.oldest_revision();
    assert!(oldest > Revision(80) && oldest < Revision(100), "{oldest}");
    assert!(matches!(slow.next().await, Some(Err(StoreError::Compacted { .. }))));
    assert_eq!(slow.next().await, None);
    let past = |at| ListOptions { at: Some(at), ..all("/") };
    assert!(matches!(store.list(past(Revision(oldest.0 - 1))).await, Err(StoreError::Compacted { .. })));
    assert_eq!(store.list(past(oldest)).await.unwrap().items[0].mod_revision, oldest);

    let short = StoreOptions {
        recent_bytes: 0,
        history_age: Duration::from_millis(1),
        ..StoreOptions::new(folder.path().join("b"))
    };
    let store = Store::open(&short).unwrap();
    commit(&store, put("/a", "1")).await;
    commit(&store, put("/a", "2")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.oldest_revision(), Revision(2));
    assert!(matches!(store.list(past(Revision(1))).await, Err(StoreError::Compacted { .. })));
    assert!(store.list(past(Revision(2))).await.is_ok());
}
