//! A request with a body of 10 GiB, to a handler that reads all of it and to one beside it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use dunlin_wasm_host::Cause;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::process::Growth;

async fn serve(program: &Arc<Program>) -> (Running, SocketAddr) {
    // Free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (guest, _) = guest(&["http-hello"]);
    let mut running = start(program, Guest { listen: vec![Listening::tcp(address)], ..guest });
    (&mut running.started).await.expect("the listener opens");
    (running, address)
}

/// Sends a body until it ends or is not taken any more; answers the response and how much was sent. Nobody who listens is no response.
async fn send(address: SocketAddr, length: u64) -> (String, u64) {
    let Ok(stream) = TcpStream::connect(address).await else { return (String::new(), 0) };
    let (mut from, mut to) = stream.into_split();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let chunk = vec![b'x'; 1 << 20];
        let mut taken = to.write_all(head.as_bytes()).await;
        while taken.is_ok() && counted.load(Ordering::Relaxed) < length {
            taken = to.write_all(&chunk).await;
            counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        // A client that closes its side has left, and is not answered.
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    // A connection that breaks while its body is sent may take the answer with it.
    drop(timeout(PATIENCE, from.read_to_end(&mut answer)).await.expect("an answer, or the end"));
    sending.abort();
    (String::from_utf8_lossy(&answer).into_owned(), sent.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_body_of_10_gib_is_its_own_request_s_end() {
    let _alone = alone().await;
    let program = workload("http-hello");
    let ((taker, address), (neighbour, other)) = (serve(&program).await, serve(&program).await);
    let growth = Growth::watch();
    for _ in 0..3 {
        let (answer, sent) = send(address, 10 << 30).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(sent < 1 << 30, "{sent} bytes were taken");
        let (answer, _) = send(other, 0).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    assert!(growth.most() < MEMORY_BYTES + SLACK_BYTES, "{} MiB", growth.most() >> 20);
    // Again and again it is what the container ends of.
    let mut tries = 0;
    while !taker.ended.is_finished() && tries < 20 {
        send(address, 10 << 30).await;
        tries += 1;
    }
    let ended = taker.end().await;
    assert_eq!(ended.cause, Cause::OutOfMemory, "{}", ended.message);
    assert!(ended.message.contains("10 requests failed"), "{}", ended.message);
    let (answer, _) = send(other, 0).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    neighbour.stop.request(Duration::ZERO);
    neighbour.end().await;
}
