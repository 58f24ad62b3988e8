//! Long answers come compressed to who asks for that, and say the same.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use super::{CONFIG_MAPS, Fixture, Version, config_map};

impl Fixture {
    /// What the administrator is answered on a connection of its own.
    async fn fetch(&self, version: Version, request: http::request::Builder) -> http::Response<Bytes> {
        let (stream, _) = self.connect(version, Some(self.admin()));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let answer = match version {
            Version::Http1 => {
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
            Version::Http2 => {
                let stream = TokioIo::new(stream);
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
        };
        let (head, body) = answer.into_parts();
        http::Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn create(&self, name: &str, bytes: usize) {
        let object = config_map(name, &"x\u{e4}".repeat(bytes / 3));
        let post = format!("POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ");
        let answer = self.say(format!("{post}{}\r\n\r\n{object}", object.len())).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
}

fn get(path: &str, coding: Option<&str>) -> http::request::Builder {
    let request = Request::get(format!("https://x{path}")).header("host", "x");
    match coding {
        Some(coding) => request.header("accept-encoding", coding),
        None => request,
    }
}

fn coding(answer: &http::Response<Bytes>) -> Option<&str> {
    answer.headers().get("content-encoding").map(|value| value.to_str().unwrap())
}

fn inflated(answer: &http::Response<Bytes>) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(&answer.body()[..]).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn long_answers_come_compressed_and_say_the_same() {
    let site = Fixture::start().await;
    site.create("long", 700 << 10).await;
    site.create("short", 100 << 10).await;
    let long = &format!("{CONFIG_MAPS}/long");
    for version in [Version::Http1, Version::Http2] {
        for path in [long.as_str(), CONFIG_MAPS, "/openapi/v2"] {
            let plain = site.fetch(version, get(path, None)).await;
            assert_eq!((plain.status().as_u16(), coding(&plain)), (200, None), "{path}");
            let packed = site.fetch(version, get(path, Some("br, gzip"))).await;
            assert_eq!((packed.status().as_u16(), coding(&packed)), (200, Some("gzip")), "{path}");
            let vary: Vec<_> = packed.headers().get_all("vary").iter().collect();
            assert!(vary.iter().any(|value| *value == "Accept-Encoding"), "{path}: {vary:?}");
            assert_eq!(packed.headers()["content-type"], plain.headers()["content-type"]);
            assert!(!packed.headers().contains_key("content-length"));
            assert!(packed.body().len() < plain.body().len() / 3, "{path}: {}", packed.body().len());
            assert!(inflated(&packed) == *plain.body(), "{path}");
        }
    }
}

#[tokio::test]
async fn short_answers_and_who_does_not_ask_get_them_plain() {
    let site = Fixture::start().await;
    site.create("long", 200 << 10).await;
    site.create("short", 100 << 10).await;
    let (long, short) = (&format!("{CONFIG_MAPS}/long"), &format!("{CONFIG_MAPS}/short"));
    let watch = &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1");
    for (path, asked) in [
        (short, Some("gzip")),
        (watch, Some("gzip")),
        (long, None),
        (long, Some("identity")),
        (long, Some("gzip;q=0")),
        (long, Some("deflate, br")),
    ] {
        let answer = site.fetch(Version::Http2, get(path, asked)).await;
        assert_eq!((answer.status().as_u16(), coding(&answer)), (200, None), "{path} {asked:?}");
        assert!(!answer.headers().contains_key("vary"));
    }
    let delete = Request::delete(format!("https://x{CONFIG_MAPS}")).header("accept-encoding", "gzip");
    let answer = site.fetch(Version::Http2, delete).await;
    assert_eq!((answer.status().as_u16(), coding(&answer)), (200, None));
}

#[tokio::test]
async fn lists_are_compressed_while_they_are_told() {
    let site = Fixture::start().await;
    // So many at once that none is refused.
    for start in (0..1200).step_by(50) {
        let creates = (start..start + 50).map(|number| {
            let site = &site;
            async move { site.create(&format!("object-{number:04}"), 300).await }
        });
        futures_util::future::join_all(creates).await;
    }
    let packed = site.fetch(Version::Http2, get(CONFIG_MAPS, Some("gzip"))).await;
    assert_eq!(coding(&packed), Some("gzip"));
    let plain = inflated(&packed);
    assert!(plain == *site.fetch(Version::Http1, get(CONFIG_MAPS, None)).await.body());
    let list: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1200);
}
