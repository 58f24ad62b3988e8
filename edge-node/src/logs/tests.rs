//! Reading logs as `kubectl logs` asks.

use std::{fs::OpenOptions, io::Write, time::Duration};

use dunlin_link::{
    PodUid, UnixMillis,
    logs::{LogRequest, LogStreams},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
    time::timeout,
};

use super::*;

fn request() -> LogRequest {
    LogRequest {
        uid: PodUid::new("u1"),
        container: "c".to_owned(),
        follow: false,
        previous: false,
        since: None,
        tail_lines: None,
        timestamps: false,
        limit_bytes: None,
    }
}

/// Appends lines with the seconds of a day as their time.
fn append(path: &Path, lines: &[(u32, &str)]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for (second, line) in lines {
        writeln!(file, "2027-01-15T08:00:{second:02}.000000000Z stdout {line}").unwrap();
    }
}

async fn all(path: &Path, request: LogRequest) -> String {
    let mut text = String::new();
    open(path.to_owned(), (&request, LogStreams::All), None)
        .await
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    text
}

#[tokio::test]
async fn options_choose_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    append(&rotated(&path, 2), &[(1, "F one")]);
    append(&rotated(&path, 1), &[(2, "F two")]);
    append(&path, &[(3, "P thr"), (3, "F ee"), (4, "F "), (5, "F five")]);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2027-01-15T08:00:0").unwrap();

    assert_eq!(all(&path, request()).await, "one\ntwo\nthree\n\nfive\n");
    assert_eq!(all(&path, LogRequest { tail_lines: Some(3), ..request() }).await, "ee\n\nfive\n");
    assert_eq!(all(&path, LogRequest { tail_lines: Some(0), ..request() }).await, "");
    assert_eq!(all(&path, LogRequest { limit_bytes: Some(6), ..request() }).await, "one\ntw");
    let since = "2027-01-15T08:00:04Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let late = LogRequest { since: Some(UnixMillis(since)), timestamps: true, ..request() };
    assert_eq!(
        all(&path, late).await,
        "2027-01-15T08:00:04.000000000Z \n2027-01-15T08:00:05.000000000Z five\n"
    );
    assert!(open(dir.path().join("1.log"), (&request(), LogStreams::All), None).await.is_err());
    assert_eq!(termination_message(&path), "three\n\nfive");
}

#[tokio::test]
async fn lines_of_one_stream_alone_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let lines = "2027-01-15T08:00:01.000000000Z stdout F one\n2027-01-15T08:00:02.000000000Z stderr F two\n";
    fs::write(&path, lines).unwrap();
    let check = async |streams, expected: &str| {
        let mut text = String::new();
        let mut reader = open(path.clone(), (&request(), streams), None).await.unwrap();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, expected);
    };
    check(LogStreams::All, "one\ntwo\n").await;
    check(LogStreams::Stdout, "one\n").await;
    check(LogStreams::Stderr, "two\n").await;
}

#[tokio::test]
async fn a_followed_log_goes_on_through_rotations_until_the_run_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    append(&path, &[(1, "F one")]);
    let (end, ended) = watch::channel(false);
    let follow = LogRequest { follow: true, ..request() };
    let mut reader = open(path.clone(), (&follow, LogStreams::All), Some(ended)).await.unwrap();
    assert_eq!(next(&mut reader, 4).await, "one\n");
    append(&path, &[(2, "F two")]);
    fs::rename(&path, rotated(&path, 1)).unwrap();
    append(&path, &[(3, "F three")]);
    assert_eq!(next(&mut reader, 10).await, "two\nthree\n");
    append(&path, &[(4, "F four")]);
    end.send(true).unwrap();
    let mut rest = String::new();
    timeout(PATIENCE, reader.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, "four\n");
}

#[tokio::test]
async fn a_reader_that_leaves_a_quiet_log_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    append(&path, &[(1, "F one")]);
    let (end, ended) = watch::channel(false);
    let follow = LogRequest { follow: true, ..request() };
    let mut reader = open(path, (&follow, LogStreams::All), Some(ended)).await.unwrap();
    assert_eq!(next(&mut reader, 4).await, "one\n");
    drop(reader);
    timeout(PATIENCE, end.closed()).await.unwrap();
}

async fn next(reader: &mut (impl AsyncRead + Unpin), count: usize) -> String {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, reader.read_exact(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(10);
