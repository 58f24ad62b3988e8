//! Whether the watches told what was written.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{
    connection::Opened,
    record::{self, Change, Sequence, Written},
    scope::Scope,
    tenants::Tenants,
};

/// All changes, once the watch of everything has told them and agrees with the writers' notes.
pub(super) async fn changes(watches: &[Opened], written: &[Vec<Written>]) -> Result<Vec<Change>> {
    let reference = watches.iter().find(|watch| watch.scope == Scope::All);
    let Some(reference) = reference else { bail!("there is no watch of everything") };
    let count = written.iter().map(Vec::len).sum();
    let told = wait_until(|| reference.seen.with(|seen| seen.told >= count || seen.end.is_some())).await;
    let list = reference.seen.with(|seen| seen.list.clone()).unwrap_or_default();
    ensure!(told, "the watch of everything told {} of {count} changes", list.len());
    record::changes(written, &list).map_err(anyhow::Error::msg)
}

/// What each watch that did not tell exactly what was written did instead.
pub(super) async fn faults(tenants: &Tenants, watches: &[Opened], changes: &[Change]) -> Vec<String> {
    let mut expected: HashMap<Scope, Sequence> = HashMap::new();
    for watch in watches {
        expected.entry(watch.scope).or_insert_with(|| tenants.expected(watch.scope, changes));
    }
    let has_all =
        |watch: &Opened| watch.seen.with(|seen| seen.sequence.count >= expected[&watch.scope].count);
    wait_until(|| watches.iter().all(has_all)).await;
    // What is told twice may come later.
    tokio::time::sleep(SETTLE).await;
    let fault = |watch: &Opened| {
        let expected = expected[&watch.scope];
        watch.seen.with(|seen| {
            let what = match (&seen.fault, &seen.end) {
                (Some(fault), _) => fault.clone(),
                (None, Some(end)) => format!("it ended: {end:?}"),
                (None, None) if seen.sequence == expected => return None,
                (None, None) => {
                    format!("it told {} events of {}", seen.sequence.count, expected.count)
                }
            };
            Some(format!("{:?} over {}: {what}", watch.scope, watch.transport))
        })
    };
    watches.iter().filter_map(fault).collect()
}

/// Whether `done` became true in time.
pub(super) async fn wait_until(done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > WAIT_MAX {
            return false;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    true
}

const WAIT_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_millis(500);
