//! A store whose files were damaged serves exactly what was acknowledged, or refuses to open; it never serves anything else.

use std::{fs, path::Path};

use dunlin_link::Revision;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{all, commit, delete, put};
use crate::store::{Absent, KeyValue, OpenError, Rebuild, Store, StoreOptions};

/// Small, so that there are many checkpoints, and several pages of each table.
fn options(folder: &Path) -> StoreOptions {
    StoreOptions { log_bytes: 256 << 10, history_bytes: 64 << 10, ..StoreOptions::new(folder) }
}

/// A store's files as they were at some moment, and what it had acknowledged then.
struct Copy {
    database: Vec<u8>,
    log: Vec<u8>,
    acknowledged: State,
    /// Before the last write, whose record nothing follows.
    before: State,
}

type State = (Revision, Vec<KeyValue>);

async fn state(store: &Store) -> State {
    (store.revision(), store.list(all("/")).await.unwrap().items)
}

impl Copy {
    fn of(folder: &Path, acknowledged: State, before: State) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        Self { database: read("store.redb"), log: read("store.log"), acknowledged, before }
    }
}

/// A store of some age: once as a crash leaves it, once as an orderly end does.
async fn copies(folder: &Path) -> [Copy; 2] {
    let mut chance = StdRng::seed_from_u64(1);
    let store = Store::open(&options(folder)).unwrap();
    for step in 0..600 {
        let key = format!("/k/{}", chance.random_range(0..250));
        let value = format!("{step} {}", "x".repeat(chance.random_range(0..3000)));
        let exists = store.get(&key).await.unwrap().is_some();
        let txn = if exists && step % 9 == 0 { delete(&key) } else { put(&key, &value) };
        commit(&store, txn).await;
    }
    let before = state(&store).await;
    commit(&store, put("/last", "one")).await;
    let crashed = Copy::of(folder, state(&store).await, before);
    let acknowledged = state(&store).await;
    store.close().await;
    let closed = Copy::of(folder, acknowledged.clone(), acknowledged);
    [crashed, closed]
}

/// Damages one place; answers what it did.
fn damage(bytes: &mut Vec<u8>, chance: &mut StdRng) -> String {
    let pages = bytes.len() / PAGE;
    let page = chance.random_range(0..pages);
    match chance.random_range(0..4) {
        0 => {
            let length = chance.random_range(0..bytes.len());
            bytes.truncate(length);
            format!("cut off at {length}")
        }
        1 => {
            let at = chance.random_range(0..bytes.len());
            bytes[at] ^= 1 << chance.random_range(0..8);
            format!("a bit of {at} flipped")
        }
        2 => {
            bytes[page * PAGE..][..PAGE].fill(0);
            format!("page {page} zeroed")
        }
        _ => {
            let other = chance.random_range(0..pages);
            let copy = bytes[page * PAGE..][..PAGE].to_vec();
            bytes.copy_within(other * PAGE..(other + 1) * PAGE, page * PAGE);
            bytes[other * PAGE..][..PAGE].copy_from_slice(&copy);
            format!("pages {page} and {other} swapped")
        }
    }
}

/// Opens a damaged copy; answers whether it could be opened.
async fn check(copy: &Copy, seed: u64) -> bool {
    let mut chance = StdRng::seed_from_u64(seed);
    let (mut database, mut log) = (copy.database.clone(), copy.log.clone());
    let is_log = chance.random_bool(0.4);
    // Most of the log is not in use, or of no use any more; what is in use is at its start.
    let what = if is_log {
        let mut start = log[..log.len() / 4].to_vec();
        let what = damage(&mut start, &mut chance);
        if what.starts_with("cut") {
            log = start;
        } else {
            log[..start.len()].copy_from_slice(&start);
        }
        format!("log: {what}")
    } else {
        format!("database: {}", damage(&mut database, &mut chance))
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.redb"), database).unwrap();
    fs::write(folder.path().join("store.log"), log).unwrap();
    match Store::open(&options(folder.path())) {
        Ok(store) => {
            let found = state(&store).await;
            // Damage to the last record looks like a write that a power cut tore, which was not acknowledged.
            let is_right = found == copy.acknowledged || (is_log && found == copy.before);
            assert!(is_right, "seed {seed}: {what}: revision {} of {}", found.0, copy.acknowledged.0);
            commit(&store, put("/after", "")).await;
            store.close().await;
            true
        }
        Err(OpenError::Damaged { .. } | OpenError::Database { .. } | OpenError::File { .. }) => false,
        Err(error) => panic!("seed {seed}: {what}: {error:?}"),
    }
}

#[tokio::test]
async fn damaged_files_are_served_right_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let copies = copies(folder.path()).await;
    let mut opened = 0;
    for seed in 0..200 {
        opened += usize::from(check(&copies[usize::try_from(seed % 2).unwrap()], seed).await);
    }
    println!("{opened} of 200 damaged stores could be opened");
    assert!(opened > 10 && opened < 190, "{opened}: damage should matter sometimes and not always");
}

/// Opens a copy after `lose` did something to its folder; it must be refused, no database made, and nothing logged.
#[track_caller]
fn check_refused(copy: &Copy, absent: Absent, lose: impl Fn(&Path), expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("store.redb"), &copy.database).unwrap();
    fs::write(path.join("store.log"), &copy.log).unwrap();
    lose(&path);
    // redb repairs what it opens; one that was lost must stay lost.
    let is_empty = || fs::metadata(path.join("store.redb")).ok().map(|file| file.len() == 0);
    let log = || fs::read(path.join("store.log")).unwrap_or_default();
    let before = (is_empty(), log());
    let refused = Store::open(&StoreOptions { absent, ..options(&path) });
    let Err(OpenError::Damaged { what, .. }) = &refused else { panic!("{expected}: {refused:?}") };
    assert_eq!(what, expected);
    assert!((is_empty(), log()) == before, "{expected}: something was written");
}

/// What a power cut makes of files that were just written, and a hand of any: no file, or nothing in it.
#[tokio::test]
async fn lost_files_are_refused_and_never_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    for copy in &copies(folder.path()).await {
        for absent in [Absent::Make, Absent::Refuse] {
            let empty = |name: &'static str| move |path: &Path| fs::write(path.join(name), "").unwrap();
            let gone = |name: &'static str| move |path: &Path| fs::remove_file(path.join(name)).unwrap();
            check_refused(copy, absent, empty("store.redb"), "its database is empty");
            check_refused(copy, absent, empty("store.log"), "the log is not as long as it was");
            check_refused(copy, absent, gone("store.log"), "the log is not as long as it was");
        }
        let no_database = |path: &Path| fs::remove_file(path.join("store.redb")).unwrap();
        check_refused(copy, Absent::Make, no_database, "its database is missing, and its log is not");
        check_refused(copy, Absent::Refuse, no_database, "its database is missing");
        check_refused(
            copy,
            Absent::Refuse,
            |path| fs::remove_dir_all(path).unwrap(),
            "its database is missing",
        );
    }
}

/// Wherever a first open is cut off, the next one goes on.
#[tokio::test]
async fn a_first_open_that_was_cut_off_is_not_taken_for_a_loss() {
    let lock = |path: &Path| fs::write(path.join("store.log"), "").unwrap();
    let half = |path: &Path| {
        lock(path);
        fs::write(path.join("store.redb.new"), "half").unwrap();
    };
    let database = |path: &Path| {
        Rebuild::create(path).unwrap().finish(Revision(0)).unwrap();
        lock(path);
    };
    let stages: [&dyn Fn(&Path); 3] = [&lock, &half, &database];
    for (stage, prepare) in stages.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let store = Store::open(&options(folder.path())).unwrap();
        commit(&store, put("/a", "1")).await;
        store.close().await;
        let store = Store::open(&StoreOptions { absent: Absent::Refuse, ..options(folder.path()) }).unwrap();
        assert_eq!(store.revision(), Revision(1), "stage {stage}");
        store.close().await;
    }
}

const PAGE: usize = 4096;
