//! HTTP handlers by the version that their client speaks.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::tests::handlers::serve;

async fn http2(stream: TcpStream) -> SendRequest<Full<Bytes>> {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &SendRequest<Full<Bytes>>, path: &str, body: &str) -> (StatusCode, String) {
    let uri = format!("http://a.example{path}");
    let request = Request::post(uri).body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let answer = timeout(PATIENCE, sender.clone().send_request(request)).await.unwrap().unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn http_2_is_spoken_with_who_begins_with_it() {
    let (running, address) = serve(&workload("http-hello"), guest()).await;
    let sender = http2(TcpStream::connect(address).await.unwrap()).await;
    let asked = (0..50).map(|number| {
        let sender = sender.clone();
        tokio::spawn(async move { ask(&sender, &format!("/{number}"), "some body").await })
    });
    for (number, answer) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        let (status, text) = answer.await.unwrap();
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.contains(&format!("POST /{number}")) && text.contains("some body"), "{text}");
    }
    assert_eq!(ask(&sender, "/trap", "").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    // It ends with the connection open, and says so to the client.
    running.stop.request(Duration::from_secs(60));
    let asked = Instant::now();
    assert_eq!(running.end().await.cause, Cause::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(sender.is_closed());
}

#[tokio::test]
async fn requests_of_http_2_that_never_end_are_cut_off_with_the_grace() {
    let (running, address) = serve(&workload("http-hello"), guest()).await;
    let sender = http2(TcpStream::connect(address).await.unwrap()).await;
    let request = Request::get("http://a.example/spin").body(Full::default()).unwrap();
    let spinning = tokio::spawn(sender.clone().send_request(request));
    assert_eq!(ask(&sender, "/", "").await.0, StatusCode::OK);
    running.stop.request(Duration::from_millis(200));
    assert_eq!(running.end().await.cause, Cause::Killed);
    assert!(timeout(PATIENCE, spinning).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn the_beginning_of_http_2_may_come_in_pieces() {
    let (running, address) = serve(&workload("http-hello"), guest()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PR").await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    // The rest of the preface, and empty settings.
    stream.write_all(b"I * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "settings: {frame:?}");
    running.stop.request(Duration::ZERO);
    running.end().await;
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let (running, address) = serve(&workload("http-hello"), guest()).await;
    for (version, status) in [("1.0", "HTTP/1.0 200 OK"), ("1.1", "HTTP/1.1 400 ")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/{version}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with(status), "{answer}");
    }
    running.stop.request(Duration::ZERO);
    running.end().await;
}
