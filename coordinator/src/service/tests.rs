//! The service as a whole, through [`ApiService::handle`], on a real store.

mod golden;

use dunlin_link::rpc::{Method, RequestHead};
use serde_json::Value;
use tempfile::TempDir;

use super::{ApiService, Clock, Response, User};
use crate::store::{Store, StoreOptions};

/// A service with its system namespaces, on a store of its own.
struct Fixture {
    service: ApiService,
    admin: User,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(folder.path());
        options.log_bytes = 1 << 20;
        let store = Store::open(&options).unwrap();
        let service = ApiService::new(store, Clock::system());
        service.bootstrap().await.unwrap();
        let admin = User { name: "admin".to_owned(), groups: vec!["system:masters".to_owned()] };
        Self { service, admin, _folder: folder }
    }

    async fn send(&self, request: Request) -> Response {
        self.send_as(&self.admin, request).await
    }

    async fn send_as(&self, user: &User, request: Request) -> Response {
        let Request { method, path, query, content_type, accept, body } = request;
        let head =
            RequestHead { method, path, query, content_type, accept, user_agent: "golden/1.0".to_owned() };
        self.service.handle(user, head, body.as_slice()).await
    }
}

/// A request with everything that a case may say about it.
struct Request {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    content_type: String,
    accept: String,
    body: Vec<u8>,
}

impl Request {
    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: Vec::new(),
            content_type: String::new(),
            accept: String::new(),
            body: Vec::new(),
        }
    }

    fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with_body(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self
    }
}
