//! Buckets over restarts, at their bounds, and next to each other.

use std::path::Path;

use dunlin_wasm_host::More;

use super::*;

fn buckets(folder: &Path, namespace: &str) -> Arc<dyn Buckets> {
    KeyValues::new(None).buckets(folder.join("keyvalue.redb"), namespace)
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

async fn set(buckets: &Arc<dyn Buckets>, bucket: &str, key: &str, value: &[u8]) -> Outcome {
    buckets.call(bucket, Operation::Set(vec![(key.to_owned(), value.to_vec())])).await
}

async fn get(buckets: &Arc<dyn Buckets>, bucket: &str, keys: &[&str]) -> Vec<Option<String>> {
    let answer = buckets.call(bucket, Operation::Get(texts(keys))).await.unwrap();
    let Answer::Values(values) = answer else { panic!("{answer:?}") };
    values.into_iter().map(|value| value.map(|value| String::from_utf8(value).unwrap())).collect()
}

async fn keys(
    buckets: &Arc<dyn Buckets>,
    bucket: &str,
    after: Option<&str>,
    skip: u64,
) -> (Vec<String>, More) {
    let after = after.map(str::to_owned);
    let answer = buckets.call(bucket, Operation::List { after, skip }).await.unwrap();
    let Answer::Keys(keys, more) = answer else { panic!("{answer:?}") };
    (keys, more)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_process_was() {
    let folder = tempfile::tempdir().unwrap();
    let first = buckets(folder.path(), "ns");
    assert_eq!(get(&first, "b", &["k"]).await, [None]);
    assert_eq!(keys(&first, "b", None, 0).await, (Vec::new(), More::No));
    set(&first, "b", "k", b"v").await.unwrap();
    // As a process that was killed leaves it: nothing of it is closed.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("keyvalue.redb"), copy.path().join("keyvalue.redb")).unwrap();
    assert_eq!(get(&buckets(copy.path(), "ns"), "b", &["k", "l"]).await, [some("v"), None]);
    // Only one process has it open at a time; the next has what the last one left.
    let refused = buckets(folder.path(), "ns").call("b", Operation::Get(texts(&["k"]))).await.unwrap_err();
    assert!(refused.0.contains("already open"), "{refused}");
    drop(first);
    let reopened = buckets(folder.path(), "ns");
    let opened = async {
        while reopened.call("b", Operation::Get(texts(&["k"]))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), opened).await.expect("the file is closed");
    assert_eq!(get(&reopened, "b", &["k"]).await, [some("v")]);
}

#[tokio::test]
async fn namespaces_and_buckets_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let files = KeyValues::new(None);
    let of = |namespace| files.buckets(folder.path().join("keyvalue.redb"), namespace);
    let (one, other) = (of("one"), of("other"));
    set(&one, "a", "k", b"1").await.unwrap();
    set(&one, "b", "k", b"2").await.unwrap();
    set(&other, "a", "k", b"3").await.unwrap();
    assert_eq!(get(&one, "a", &["k"]).await, [some("1")]);
    assert_eq!(get(&other, "a", &["k"]).await, [some("3")]);
    assert_eq!(keys(&one, "b", None, 0).await, (texts(&["k"]), More::No));
    one.call("a", Operation::Delete(texts(&["k", "none"]))).await.unwrap();
    assert_eq!(get(&one, "a", &["k"]).await, [None]);
    assert_eq!(get(&one, "b", &["k"]).await, [some("2")]);
}

#[tokio::test]
async fn pages_hold_all_keys_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = buckets(folder.path(), "ns");
    let all: Vec<String> = (0..2001).map(|number| format!("{number:04}")).collect();
    for part in all.chunks(1000) {
        let pairs = part.iter().map(|key| (key.clone(), Vec::new())).collect();
        buckets.call("b", Operation::Set(pairs)).await.unwrap();
    }
    let (first, more) = keys(&buckets, "b", None, 0).await;
    assert_eq!((first.len(), more), (1000, More::Yes));
    let (second, _) = keys(&buckets, "b", first.last().map(String::as_str), 0).await;
    let (third, more) = keys(&buckets, "b", None, 2000).await;
    assert_eq!(more, More::No);
    assert_eq!([first, second, third].concat(), all);
}

#[tokio::test]
async fn numbers_and_swaps_are_atomic() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = buckets(folder.path(), "ns");
    let add = |delta| {
        let range = (0, i128::from(u64::MAX));
        buckets.call("b", Operation::Increment { key: "n".to_owned(), delta, range })
    };
    let adding: Vec<_> = (0..50).map(|_| tokio::spawn(add(2))).collect();
    for added in adding {
        added.await.unwrap().unwrap();
    }
    assert_eq!(get(&buckets, "b", &["n"]).await, [some("100")]);
    assert!(add(i128::from(u64::MAX)).await.unwrap_err().0.contains("range"));
    assert_eq!(add(-100).await.unwrap(), Answer::Number(0));
    set(&buckets, "b", "n", b"x").await.unwrap();
    assert!(add(1).await.unwrap_err().0.contains("no number"));
    let swap = |expected: Option<&str>, value: &str| {
        let (expected, value) = (expected.map(|text| text.as_bytes().to_vec()), value.as_bytes().to_vec());
        buckets.call("b", Operation::Swap { key: "s".to_owned(), expected, value })
    };
    assert_eq!(swap(Some("a"), "b").await.unwrap(), Answer::Swapped(Err(None)));
    assert_eq!(swap(None, "a").await.unwrap(), Answer::Swapped(Ok(())));
    assert_eq!(swap(None, "b").await.unwrap(), Answer::Swapped(Err(Some(b"a".to_vec()))));
}

#[tokio::test]
async fn what_is_too_much_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = buckets(folder.path(), "ns");
    let large = vec![0; 1 << 20];
    let error = async |key: &str, value: &[u8]| set(&buckets, "b", key, value).await.unwrap_err().0;
    assert_eq!(error("", b"").await, "a key has 1 to 1024 bytes");
    assert_eq!(error(&"k".repeat(1025), b"").await, "a key has 1 to 1024 bytes");
    assert!(error("k", &[large.as_slice(), b"x"].concat()).await.starts_with("a value has at most"));
    let mut kept = 0;
    let full = loop {
        let pairs = (0..4).map(|number| (format!("{kept}-{number}"), large.clone())).collect();
        match buckets.call("b", Operation::Set(pairs)).await {
            Ok(_) => kept += 1,
            Err(error) => break error.0,
        }
    };
    assert!(full.starts_with("the key-value store of namespace ns is full: "), "{full}");
    assert_eq!(kept, 15);
    // Nothing of what did not fit is there, and what takes no more room is let in.
    assert_eq!(keys(&buckets, "b", None, 0).await.0.len(), 60);
    set(&buckets, "b", "0-0", &large).await.unwrap();
    buckets.call("b", Operation::Delete(texts(&["0-0", "0-1", "0-2", "0-3"]))).await.unwrap();
    for number in 0..7 {
        set(&buckets, "b", &format!("new-{number}"), &large).await.unwrap();
    }
    assert!(set(&buckets, "b", "new-7", &large).await.is_err());
}

#[tokio::test]
async fn a_quota_is_what_the_node_says() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = KeyValues::new(Some(1000)).buckets(folder.path().join("keyvalue.redb"), "ns");
    set(&buckets, "b", "k", &[0; 500]).await.unwrap();
    let full = set(&buckets, "b", "l", &[0; 500]).await.unwrap_err().0;
    assert!(full.ends_with(" of 1000 bytes"), "{full}");
}

#[tokio::test]
async fn changes_on_their_way_are_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = Arc::new(File::new(folder.path().join("keyvalue.redb"), u64::MAX));
    let set = |bytes: usize| {
        let place = Place { namespace: "ns".to_owned(), bucket: "b".to_owned() };
        Arc::clone(&file).write(place, Operation::Set(vec![("k".to_owned(), vec![0; bytes])]))
    };
    let taken = u32::try_from(CHANGES_BYTES_MAX - 1000).unwrap();
    let taken = Arc::clone(&file.room).acquire_many_owned(taken).await.unwrap();
    set(900).await.unwrap();
    let mut waiting = std::pin::pin!(set(1000));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(file.room.available_permits(), 0, "it waits for more than is left");
    drop(taken);
    waiting.await.unwrap();
    // More than there is room for has all of it.
    set(CHANGES_BYTES_MAX).await.unwrap();
}
