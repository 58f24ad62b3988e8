//! The service as a whole, through [`ApiService::handle`], on a real store.

mod access;
mod applies;
mod approvals;

mod content;
mod core_dump;
mod distribution;
mod evictions;
mod exec;
mod golden;
mod health;
mod hostile;
mod large;
mod limits;
mod lists;
mod metrics;
mod nodes;
mod openapi;
mod pages;
mod pods;
mod port_forward;
mod proxy;
mod refusals;
mod reviews;
mod services;
mod versions;
mod warnings;
mod watches;

use dunlin_link::rpc::{Method, RequestHead};
use jiff::Timestamp;
use serde_json::{Value, json};
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
        Self::start_with(|_| {}).await
    }

    /// A service that is told more before it makes its first objects.
    async fn start_with(attach: impl FnOnce(&ApiService)) -> Self {
        Self::start_on(|_| {}, attach).await
    }

    /// The same on another store.
    async fn start_on(change: impl FnOnce(&mut StoreOptions), attach: impl FnOnce(&ApiService)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(folder.path());
        options.log_bytes = 1 << 20;
        change(&mut options);
        let store = Store::open(&options).unwrap();
        let service = ApiService::new(store, Clock::new(|| NOW));
        attach(&service);
        service.bootstrap().await.unwrap();
        let admin = User::new("admin", ["system:masters".to_owned()]);
        Self { service, admin, _folder: folder }
    }

    /// Creates an object and answers it.
    async fn create(&self, path: &str, object: &Value) -> Value {
        self.expect(201, Request::new(Method::Post, path).with_body(object)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.expect(200, Request::new(Method::Get, path)).await
    }

    /// The JSON answer to a request that is answered with this status.
    async fn expect(&self, status: u16, request: Request) -> Value {
        self.expect_as(status, &self.admin, request).await
    }

    async fn expect_as(&self, status: u16, user: &User, request: Request) -> Value {
        let response = self.send_as(user, request).await;
        let found = response.head.status;
        let body = response.into_bytes().await.unwrap();
        assert_eq!(found, status, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
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

    fn of_type(mut self, content_type: &str) -> Self {
        content_type.clone_into(&mut self.content_type);
        self
    }

    fn with_body(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self
    }
}

/// A pod of one container.
fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "dunlin.local/hello"}]}})
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The time in all tests: ages that are shown do not depend on how fast they run.
const NOW: Timestamp = Timestamp::constant(1_780_000_000, 0);
