//! Any sequence of operations does what it does to a map that remembers every revision.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use dunlin_link::Revision;
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest},
};

use super::disk::Disk;
use crate::store::{
    Compare, KeyValue, ListOptions, Store, StoreOptions, Txn, TxnOutcome, Watch, WatchEvent, Write,
};

/// Values with their revisions.
type Map = BTreeMap<String, (Bytes, Revision)>;

/// The contents at every revision, the newest last.
struct Model(Vec<Map>);

#[derive(Clone, Debug)]
enum Step {
    Txn { compares: Vec<(u8, bool)>, writes: BTreeMap<u8, Option<u16>> },
    Get(u8),
    List { prefix: String, after: Option<u8>, limit: Option<usize>, back: Option<u64> },
    Watch { prefix: String, back: u64 },
    Reopen,
}

fn key(number: u8) -> String {
    ["/a", "/a/b", "/a/c", "/a/\u{e9}", "/ab", "/b/c", "/b/cc", "/c"][usize::from(number % 8)].to_owned()
}

fn prefix() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "/a", "/a/", "/b/c", "/c", "/d"]).prop_map(str::to_owned)
}

fn step() -> impl Strategy<Value = Step> {
    let compares = vec((0..8_u8, any::<bool>()), 0..2);
    let writes = prop::collection::btree_map(0..8_u8, prop::option::weighted(0.7, any::<u16>()), 0..4);
    let limit = prop::option::of(1..4_usize);
    prop_oneof![
        6 => (compares, writes).prop_map(|(compares, writes)| Step::Txn { compares, writes }),
        1 => (0..8_u8).prop_map(Step::Get),
        3 => (prefix(), prop::option::of(0..8_u8), limit, prop::option::of(0..20_u64))
            .prop_map(|(prefix, after, limit, back)| Step::List { prefix, after, limit, back }),
        2 => (prefix(), 0..20_u64).prop_map(|(prefix, back)| Step::Watch { prefix, back }),
        1 => Just(Step::Reopen),
    ]
}

impl Model {
    fn newest(&self) -> &Map {
        self.0.last().unwrap()
    }

    fn revision(&self) -> Revision {
        Revision(self.0.len() as u64 - 1)
    }

    fn back(&self, back: u64) -> Revision {
        Revision(self.revision().0.saturating_sub(back))
    }

    fn at(&self, revision: Revision) -> &Map {
        &self.0[usize::try_from(revision.0).unwrap()]
    }

    /// A transaction whose compares hold or not as `compares` says, and that deletes only what is there.
    fn txn(&self, compares: &[(u8, bool)], writes: &BTreeMap<u8, Option<u16>>) -> Txn {
        let compare = |(number, holds): &(u8, bool)| match (self.newest().get(&key(*number)), holds) {
            (Some((_, revision)), true) => Compare::ModRevision(key(*number), *revision),
            (Some((_, revision)), false) => Compare::ModRevision(key(*number), Revision(revision.0 + 1)),
            (None, true) => Compare::Absent(key(*number)),
            (None, false) => Compare::ModRevision(key(*number), Revision(1)),
        };
        let write = |(number, value): (&u8, &Option<u16>)| match value {
            Some(value) => Some(Write::Put(key(*number), Bytes::from(vec![b'v'; usize::from(*value % 600)]))),
            None if self.newest().contains_key(&key(*number)) => Some(Write::Delete(key(*number))),
            None => None,
        };
        Txn {
            compares: compares.iter().map(compare).collect(),
            writes: writes.iter().filter_map(write).collect(),
        }
    }

    fn apply(&mut self, txn: &Txn) {
        let mut next = self.newest().clone();
        let revision = Revision(self.0.len() as u64);
        for write in &txn.writes {
            match write {
                Write::Put(key, value) => next.insert(key.clone(), (value.clone(), revision)),
                Write::Delete(key) => next.remove(key),
            };
        }
        self.0.push(next);
    }

    fn events(&self, prefix: &str, from: Revision) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        for revision in from.0 + 1..=self.revision().0 {
            let (before, after) = (self.at(Revision(revision - 1)), self.at(Revision(revision)));
            let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let is_changed =
                |key: &&&String| key.starts_with(prefix) && before.get(**key) != after.get(**key);
            events.extend(keys.iter().filter(is_changed).map(|key| WatchEvent {
                key: (*key).clone(),
                revision: Revision(revision),
                value: after.get(*key).map(|(value, _)| value.clone()),
                previous: before.get(*key).cloned(),
            }));
        }
        events
    }
}

fn key_value((key, (value, revision)): (&String, &(Bytes, Revision))) -> KeyValue {
    KeyValue { key: key.clone(), value: value.clone(), mod_revision: *revision }
}

fn open(disk: &Disk) -> Store {
    let (database, log) = disk.files();
    let options = StoreOptions { recent_bytes: 2 << 10, log_bytes: 32 << 10, ..StoreOptions::new("disk") };
    Store::open_with_backend(&options, database, log).unwrap()
}

/// Everything a watch has to tell up to `revision`.
async fn drain(watch: &mut Watch, revision: Revision) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while watch.position() < revision {
        assert!(Instant::now() < deadline, "stuck at {}", watch.position());
        // With nothing left to tell the watch only moves its position.
        if let Ok(next) = tokio::time::timeout(Duration::from_millis(2), watch.next()).await {
            events.extend(next.unwrap().unwrap());
        }
    }
    events
}

async fn check(steps: Vec<Step>) {
    let disk = Disk::default();
    let mut store = open(&disk);
    let mut model = Model(vec![Map::new()]);
    for step in steps {
        match step {
            Step::Txn { compares, writes } => check_txn(&store, &mut model, &compares, &writes).await,
            Step::Get(number) => {
                let expected = model.newest().get_key_value(&key(number)).map(key_value);
                assert_eq!(store.get(&key(number)).await.unwrap(), expected);
            }
            Step::List { prefix, after, limit, back } => {
                let at = back.map(|back| model.back(back));
                check_list(&store, &model, ListOptions { prefix, after: after.map(key), limit, at }).await;
            }
            Step::Watch { prefix, back } => {
                let mut watch = store.watch(&prefix, model.back(back)).await.unwrap();
                let events = drain(&mut watch, model.revision()).await;
                assert_eq!(events, model.events(&prefix, model.back(back)));
            }
            Step::Reopen => {
                store.close().await;
                store = open(&disk);
            }
        }
        assert_eq!(store.revision(), model.revision());
    }
}

async fn check_txn(
    store: &Store,
    model: &mut Model,
    compares: &[(u8, bool)],
    writes: &BTreeMap<u8, Option<u16>>,
) {
    let txn = model.txn(compares, writes);
    let outcome = store.txn(txn.clone()).await.unwrap();
    match compares.iter().position(|(_, holds)| !holds) {
        Some(index) => {
            let current = model.newest().get_key_value(&key(compares[index].0)).map(key_value);
            assert_eq!(outcome, TxnOutcome::Conflict(index, current));
        }
        None => {
            if !txn.writes.is_empty() {
                model.apply(&txn);
            }
            assert_eq!(outcome, TxnOutcome::Committed(model.revision()));
        }
    }
}

async fn check_list(store: &Store, model: &Model, options: ListOptions) {
    let page = store.list(options.clone()).await.unwrap();
    let at = options.at.unwrap_or_else(|| model.revision());
    let is_listed = |(key, _): &(&String, _)| {
        key.starts_with(&options.prefix) && options.after.as_ref().is_none_or(|after| *key > after)
    };
    let expected: Vec<_> = model.at(at).iter().filter(is_listed).map(key_value).collect();
    let length = expected.len().min(options.limit.unwrap_or(usize::MAX));
    assert_eq!(page.items, expected[..length]);
    assert_eq!((page.revision, page.more), (at, length < expected.len()));
    assert_eq!(page.remaining, Some((expected.len() - length) as u64));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_that_remembers(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(steps));
    }
}
