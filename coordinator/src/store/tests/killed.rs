//! A process killed in the middle of a storm of writes loses none that it acknowledged.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rand::Rng as _;

use super::{all, commit, put};
use crate::store::{Store, StoreOptions};

/// Small, so that kills also meet the moments in which the log begins again.
fn options(folder: &Path) -> StoreOptions {
    StoreOptions { log_bytes: 256 << 10, ..StoreOptions::new(folder) }
}

/// Run in a process of its own, which is killed: writes for ever, and names each key once it is acknowledged.
async fn storm(folder: &Path) {
    let store = Store::open(&options(folder)).unwrap();
    let start = store.revision();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0_u64.. {
                let key = format!("/storm/{start}/{writer}/{number}");
                commit(&store, put(&key, &format!("{number:0700}"))).await;
                // The test harness captures what `println!` prints.
                writeln!(std::io::stdout().lock(), "{ACKNOWLEDGED}{key}").unwrap();
            }
        });
    }
    writers.join_all().await;
}

/// Runs a storm in a child process, kills it, and answers what it had acknowledged.
fn killed_storm(folder: &Path) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::tests::killed::a_killed_writer_loses_nothing_acknowledged", "--nocapture"])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let life = Duration::from_millis(rand::rng().random_range(20..400));
    let mut killer = None;
    let mut acknowledged = Vec::new();
    // The pipe keeps what was written before the kill, so reading to its end finds every acknowledgement.
    for line in lines.map_while(Result::ok) {
        if let Some((_, key)) = line.split_once(ACKNOWLEDGED) {
            acknowledged.push(key.to_owned());
            killer.get_or_insert_with(|| {
                let pid = child.id().to_string();
                std::thread::spawn(move || {
                    std::thread::sleep(life);
                    Command::new("kill").args(["-9", &pid]).status().unwrap()
                })
            });
        }
    }
    child.wait().unwrap();
    assert!(killer.unwrap().join().unwrap().success());
    acknowledged
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_acknowledged() {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        return storm(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..4 {
        let path = folder.path().to_owned();
        acknowledged.extend(tokio::task::spawn_blocking(move || killed_storm(&path)).await.unwrap());
        let store = Store::open(&options(folder.path())).unwrap();
        let page = store.list(all("/storm/")).await.unwrap();
        let found = |key: &String| page.items.binary_search_by(|item| item.key.cmp(key)).is_ok();
        let lost: Vec<_> = acknowledged.iter().filter(|key| !found(key)).collect();
        assert!(lost.is_empty(), "{lost:?} of {}", acknowledged.len());
        store.close().await;
    }
    assert!(acknowledged.len() > 4 * WRITERS, "{}", acknowledged.len());
}

const WRITERS: usize = 16;
const FOLDER_VARIABLE: &str = "DUNLIN_TEST_STORM_FOLDER";
const ACKNOWLEDGED: &str = "acknowledged ";
