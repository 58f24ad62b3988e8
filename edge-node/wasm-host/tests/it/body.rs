//! A request with a body of 10 GiB, to a handler that reads all of it and to one beside it.

use std::net::SocketAddr;

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
    let mut running = start(program, Guest { listen: vec![address], ..guest });
    (&mut running.started).await.expect("the listener opens");
    (running, address)
}

/// Sends a body until it ends or is not taken any more; answers the response and how much was sent.
async fn send(address: SocketAddr, length: u64) -> (String, u64) {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    to.write_all(head.as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let (chunk, mut sent) = (vec![b'x'; 1 << 20], 0);
        while sent < length && to.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
        }
        sent
    });
    let mut answer = Vec::new();
    // A connection that breaks while its body is sent may take the answer with it.
    drop(timeout(PATIENCE, from.read_to_end(&mut answer)).await.expect("an answer, or the end"));
    drop(from);
    sending.abort();
    (String::from_utf8_lossy(&answer).into_owned(), sending.await.unwrap_or(0))
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
        assert!(send(other, 0).await.0.starts_with("HTTP/1.1 200 OK"));
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
    assert!(send(other, 0).await.0.starts_with("HTTP/1.1 200 OK"));
    neighbour.stop.request(Duration::ZERO);
    neighbour.end().await;
}
