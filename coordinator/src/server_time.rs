//! The coordinator's clock over its starts: a machine whose clock battery is dead comes up in 1970, and would issue certificates that
//! ended long ago and refuse every node that has a newer one.
//!
//! The newest time that the coordinator acted on is in the store, written along with what is written anyway: its start, and every
//! certificate of a node. Its clock is not believed below that.

use bytes::Bytes;
use dunlin_link::{UnixMillis, session::clock::RELEASED_AT_SECONDS};
use jiff::Timestamp;

use crate::{
    service::Clock,
    store::{Store, StoreError, Txn, Write},
};

/// The clock to go by, never behind the release or what the store knows; its time is recorded.
///
/// # Errors
/// When the store fails, or holds something else than a time.
pub async fn clock(store: &Store) -> Result<Clock, StoreError> {
    let known = match store.get(TIME_KEY).await? {
        None => UnixMillis::default(),
        Some(found) => parse(&found.value).ok_or(StoreError::Malformed("the stored time is not a number"))?,
    };
    let machine = Timestamp::now();
    let clock = Clock::not_before(floor(known));
    if machine < floor(known) {
        let (newest, machine) = (floor(known), machine);
        tracing::warn!(
            %machine, %newest,
            "this machine's clock is behind what this cluster has seen; going on from there (set the clock, `timedatectl set-ntp true`)"
        );
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
        let first = clock(&store).await.unwrap();
        assert!(first.now_millis().0 >= i64::try_from(RELEASED_AT_SECONDS).unwrap() * 1000);
        let future = UnixMillis(4_000_000_000_000);
        store.txn(Txn { compares: Vec::new(), writes: vec![record(future)] }).await.unwrap();
        let second = clock(&store).await.unwrap();
        let now = second.now_millis();
        assert!(now >= future && now.0 < future.0 + 60_000, "{now:?}");
        assert!(second.now_millis() >= now);
        store
            .txn(Txn { compares: Vec::new(), writes: vec![Write::Put(TIME_KEY.into(), "x".into())] })
            .await
            .unwrap();
        assert!(matches!(clock(&store).await, Err(StoreError::Malformed(_))));
    }
}
