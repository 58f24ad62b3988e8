//! What a user may not do is refused before anything else of the request is looked at.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use dunlin_link::rpc::{Method, RequestHead};
use serde_json::Value;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Fixture, Request};
use crate::service::User;

/// A body that nobody may read.
struct Untouchable;

impl AsyncRead for Untouchable {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        panic!("the body is read");
    }
}

async fn refusal(fixture: &Fixture, user: &User, request: Request) -> Value {
    let Request { method, path, query, content_type, accept, .. } = request;
    let case = format!("{method:?} {path}");
    let head = RequestHead { method, path, query, content_type, accept, user_agent: String::new() };
    let response = fixture.service.handle(user, head, Untouchable).await;
    assert_eq!(response.head.status, 403, "{case}");
    serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn rights_come_before_everything_else() {
    let fixture = Fixture::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = "/api/v1/namespaces/default/configmaps/c";
    let in_namespace = "in API group \"\" in the namespace \"default\"";
    let cluster = "at the cluster scope";
    let cases = [
        (Method::Patch, map, format!("patch resource \"configmaps\" {in_namespace}")),
        (Method::Put, map, format!("update resource \"configmaps\" {in_namespace}")),
        (Method::Delete, map, format!("delete resource \"configmaps\" {in_namespace}")),
        (Method::Delete, maps, format!("deletecollection resource \"configmaps\" {in_namespace}")),
        (Method::Get, maps, format!("list resource \"configmaps\" {in_namespace}")),
        (Method::Post, maps, format!("create resource \"configmaps\" {in_namespace}")),
        (Method::Get, "/api/v1/foos", format!("list resource \"foos\" in API group \"\" {cluster}")),
        (Method::Put, "/api/v1/pods", format!("update resource \"pods\" in API group \"\" {cluster}")),
        (
            Method::Post,
            "/apis/no.such/v1/foos",
            format!("create resource \"foos\" in API group \"no.such\" {cluster}"),
        ),
        (
            Method::Get,
            "/apis/no.such/v1/foos",
            format!("list resource \"foos\" in API group \"no.such\" {cluster}"),
        ),
        (
            Method::Put,
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            "update resource \"deployments/scale\" in API group \"apps\" in the namespace \"default\""
                .to_owned(),
        ),
    ];
    for user in [User::new("mallory", []).authenticated(), User::anonymous()] {
        for (method, path, asked) in &cases {
            let request = Request::new(*method, path).of_type("text/x").with_query("limit", "x");
            let request = Request { accept: "text/plain".to_owned(), ..request };
            let refused = refusal(&fixture, &user, request).await;
            let told = format!("User \"{}\" cannot {asked}", user.name);
            assert!(refused["message"].as_str().unwrap().ends_with(&told), "{refused}");
        }
    }
}

#[tokio::test]
async fn whoever_may_is_told_what_is_not_there() {
    let fixture = Fixture::start().await;
    fixture.expect(404, Request::new(Method::Get, "/api/v1/foos")).await;
    fixture.expect(405, Request::new(Method::Put, "/api/v1/pods")).await;
    let unserved = fixture.send(Request::new(Method::Get, "/apis/no.such/v1/foos")).await;
    assert_eq!(unserved.head.status, 404);
}
