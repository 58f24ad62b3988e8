//! HTTP/2, by hyper's own client.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use super::{CONFIG_MAPS, Fixture, Version, config_map};
use crate::pki::Peer;

struct Client {
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(site: &Fixture, peer: Option<Peer>) -> Self {
        let (stream, _) = site.connect(Version::Http2, peer);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    async fn ask(&mut self, request: http::request::Builder, body: &str) -> (u16, Bytes) {
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://x{path}"))
}

#[tokio::test]
async fn requests_are_answered_side_by_side() {
    let site = Fixture::start().await;
    let mut client = Client::connect(&site, Some(site.admin())).await;
    let (status, _) = client.ask(request("POST", CONFIG_MAPS), &config_map("a", "1")).await;
    assert_eq!(status, 201);
    let asks = (0..50).map(|_| {
        let mut client = Client { sender: client.sender.clone() };
        async move { client.ask(request("GET", &format!("{CONFIG_MAPS}/a")), "").await }
    });
    for (status, body) in futures_util::future::join_all(asks).await {
        let object: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, object["data"]["key"].as_str()), (200, Some("1")));
    }
}

#[tokio::test]
async fn images_are_asked_for_as_whoever_is_impersonated() {
    let site = Fixture::start().await;
    let mut client = Client::connect(&site, Some(site.admin())).await;
    let tags = || request("GET", "/v2/team/app/tags/list");
    let (own, _) = client.ask(tags(), "").await;
    let (other, _) = client.ask(tags().header("impersonate-user", "joe"), "").await;
    assert_ne!(own, 403);
    assert_eq!(other, 403);
}

#[tokio::test]
async fn a_head_is_answered_without_a_body() {
    let site = Fixture::start().await;
    let mut client = Client::connect(&site, Some(site.admin())).await;
    let (status, body) = client.ask(request("HEAD", "/livez"), "").await;
    assert_eq!((status, body.len()), (405, 0));
}

#[tokio::test]
async fn a_connection_ends_after_a_bad_token() {
    let site = Fixture::start().await;
    let mut client = Client::connect(&site, None).await;
    let asked = request("GET", "/livez").header("authorization", "Bearer x");
    let (status, _) = client.ask(asked, "").await;
    assert_eq!(status, 401);
    while client.sender.ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn heads_have_bounds() {
    let site = Fixture::start().await;
    let mut client = Client::connect(&site, Some(site.admin())).await;
    let mut many = request("GET", "/livez");
    for _ in 0..120 {
        many = many.header("x", "y");
    }
    assert_eq!(client.ask(many, "").await.0, 431);
    let large = request("GET", "/livez").header("x", "x".repeat(70 << 10));
    let refused = client.sender.send_request(large.body(Full::default()).unwrap()).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 431));
}
