//! OpenAPI over the service: the index, its links and what is behind them.

use dunlin_link::rpc::Method;
use serde_json::Value;

use super::{Fixture, Request};
use crate::service::Response;

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let found = response.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

fn get(path: &str) -> Request {
    Request::new(Method::Get, path)
}

fn with_hash(path: &str, hash: &str) -> Request {
    let mut request = get(path);
    request.query = vec![("hash".to_owned(), hash.to_owned())];
    request
}

async fn value(response: Response) -> Value {
    serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn links_of_the_index_lead_to_documents_that_may_be_kept() {
    let fixture = Fixture::start().await;
    let index = fixture.get("/openapi/v3").await;
    let paths = index["paths"].as_object().unwrap();
    for path in ["api", "api/v1", "apis", "version"] {
        let link = paths[path]["serverRelativeURL"].as_str().unwrap();
        let (place, hash) = link.split_once("?hash=").unwrap();
        assert_eq!(place, format!("/openapi/v3/{path}"));
        assert!(
            hash.len() == 128 && hash.chars().all(|digit| matches!(digit, '0'..='9' | 'A'..='F')),
            "{hash}"
        );
        let response = fixture.send(with_hash(place, hash)).await;
        assert_eq!(response.head.status, 200);
        assert_eq!(header(&response, "etag"), format!("\"{hash}\""));
        assert_eq!(header(&response, "cache-control"), "public, immutable");
        assert!(header(&response, "expires").ends_with("GMT"), "{}", header(&response, "expires"));
        assert_eq!(value(response).await["openapi"], "3.0.0");
    }
}

#[tokio::test]
async fn an_old_link_leads_to_the_new_one() {
    let fixture = Fixture::start().await;
    let response = fixture.send(with_hash("/openapi/v3/api/v1", "0BAD")).await;
    assert_eq!(response.head.status, 301);
    let index = fixture.get("/openapi/v3").await;
    assert_eq!(
        header(&response, "location"),
        index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap()
    );
    let response = fixture.send(get("/openapi/v3/api/v1")).await;
    assert_eq!((response.head.status, header(&response, "cache-control")), (200, ""));
    assert_eq!(fixture.send(get("/openapi/v3/apis/nothing/v1")).await.head.status, 404);
}

#[tokio::test]
async fn every_definition_is_described() {
    let fixture = Fixture::start().await;
    let document = fixture.get("/openapi/v2").await;
    for (name, definition) in document["definitions"].as_object().unwrap() {
        let own = name.starts_with("io.k8s.") && !name.contains(".metrics.") && !name.ends_with("List");
        assert!(!own || definition["description"].is_string(), "{name}");
    }
    let spec = &document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"];
    let described = |field: &Value| field["description"].is_string();
    assert!(spec.as_object().unwrap().values().all(described), "{spec}");
}

#[tokio::test]
async fn version_2_is_json_or_protobuf_as_asked() {
    let fixture = Fixture::start().await;
    let mut tags = Vec::new();
    for (accept, media, first) in [
        ("", "application/json", &b"{\"swagger\":\"2.0\""[..]),
        (
            "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            b"\x0a\x032.0",
        ),
    ] {
        let mut request = get("/openapi/v2");
        request.accept = accept.to_owned();
        let response = fixture.send(request).await;
        assert_eq!(response.head.content_type, media);
        tags.push(header(&response, "etag").to_owned());
        assert!(response.into_bytes().await.unwrap().starts_with(first), "{media}");
    }
    assert_eq!(tags[0], tags[1]);
    let mut request = get("/openapi/v2");
    request.accept = "text/html".to_owned();
    assert_eq!(fixture.send(request).await.head.status, 406);
}
