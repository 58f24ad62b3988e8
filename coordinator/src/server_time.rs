//! The coordinator's clock over its starts: a machine whose clock battery is dead comes up in 1970, and would issue certificates that
//! ended long ago and refuse every node that has a newer one.
//!
//! The newest time that the coordinator acted on is in the store, written along with what is written anyway: its start, and every
//! certificate of a node. Its clock is not believed below that, unless somebody says so: that time may itself be of a clock that was ahead.

use bytes::Bytes;
use dunlin_link::{UnixMillis, session::clock::RELEASED_AT_SECONDS};
use jiff::Timestamp;

use crate::{
    service::Clock,
    store::{Store, StoreError, Txn, Write},
};

/// What to believe when the machine's clock is behind the newest time that the cluster has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// That time: the machine's clock lost its battery.
    Newest,
    /// The machine's clock: it was ahead before, and was put right.
    Machine,
}

/// The clock to go by, never behind the release or, unless the machine is to be trusted, what the store knows; its time is recorded.
///
/// # Errors
/// When the store fails, or holds something else than a time.
pub async fn clock(store: &Store, trust: ClockTrust) -> Result<Clock, StoreError> {
    let known = match store.get(TIME_KEY).await? {
        None => UnixMillis::default(),
        Some(found) => parse(&found.value).ok_or(StoreError::Malformed("the stored time is not a number"))?,
    };
    let machine = Timestamp::now();
    let newest = floor(known);
    let lowest = match trust {
        ClockTrust::Newest => newest,
        ClockTrust::Machine => floor(UnixMillis::default()),
    };
    let clock = Clock::not_before(lowest);
    if machine < lowest {
        tracing::warn!(
            %machine, %newest,
            "this machine's clock is behind what this cluster has seen; going on from there (set the clock, `timedatectl set-ntp true`; \
             if it is right and was ahead before, start once with --trust-clock)"
        );
    } else if machine < newest {
        tracing::warn!(%machine, %newest, "going by this machine's clock; the cluster has seen a later time");
    }
    let writes = vec![record(clock.now_millis())];
    store.txn(Txn { compares: Vec::new(), writes }).await?;
    Ok(clock)
}

/// The write that records `now` as a time that has passed.
pub(crate) fn record(now: UnixMillis) -> Write {
    Write::Put(TIME_KEY.to_owned(), Bytes::from(now.0.to_string()))
}

fn parse(value: &[u8]) -> Option<UnixMillis> {
    std::str::from_utf8(value).ok()?.parse().ok().map(UnixMillis)
}

fn floor(known: UnixMillis) -> Timestamp {
    let released =
        Timestamp::from_second(i64::try_from(RELEASED_AT_SECONDS).unwrap_or(0)).unwrap_or_default();
    Timestamp::from_millisecond(known.0).map_or(released, |known| known.max(released))
}

/// Decimal milliseconds since 1970.
const TIME_KEY: &str = "/dunlin/time";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreOptions;

    #[tokio::test]
    async fn time_goes_on_from_what_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
        let first = clock(&store, ClockTrust::Newest).await.unwrap();
        assert!(first.now_millis().0 >= i64::try_from(RELEASED_AT_SECONDS).unwrap() * 1000);
        let future = UnixMillis(4_000_000_000_000);
        store.txn(Txn { compares: Vec::new(), writes: vec![record(future)] }).await.unwrap();
        let second = clock(&store, ClockTrust::Newest).await.unwrap();
        let now = second.now_millis();
        assert!(now >= future && now.0 < future.0 + 60_000, "{now:?}");
        assert!(second.now_millis() >= now);
        let third = clock(&store, ClockTrust::Machine).await.unwrap();
        assert!(third.now_millis() < future, "the machine's");
        let fourth = clock(&store, ClockTrust::Newest).await.unwrap();
        assert!(fourth.now_millis() < future, "once is enough");
        store
            .txn(Txn { compares: Vec::new(), writes: vec![Write::Put(TIME_KEY.into(), "x".into())] })
            .await
            .unwrap();
        assert!(matches!(clock(&store, ClockTrust::Newest).await, Err(StoreError::Malformed(_))));
    }
}
