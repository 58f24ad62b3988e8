//! A store whose files were damaged serves exactly what was acknowledged, or refuses to open; it never serves anything else.

use std::{fs, path::Path};

use dunlin_link::Revision;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{all, commit, delete, put};
use crate::store::{KeyValue, OpenError, Store, StoreOptions};

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

const PAGE: usize = 4096;
