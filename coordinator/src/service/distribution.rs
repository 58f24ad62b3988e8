//! The OCI distribution protocol under `/v2/`, for any tool that pushes and pulls images: a front of [`Artifacts`].
//!
//! Who may do what is a matter of roles, as for every path: `get`, `put` and `delete` of `/v2/REPOSITORY`. Tools show a token of a
//! service account, as a bearer token or as the password of any user name, or the certificate of their connection.

mod blobs;
mod manifests;
mod referrers;
mod refusal;
mod route;

use std::panic::AssertUnwindSafe;

use dunlin_api::Status;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method};
use serde_json::json;

use self::{
    refusal::{Code, Refusal},
    route::{Place, Route},
};
use super::{ApiService, User, body::Source, response::Response};
use crate::artifacts::Artifacts;

/// A request of the protocol.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What to do.
    pub method: &'a Method,
    /// Decoded.
    pub path: &'a str,
    /// Decoded.
    pub query: &'a [(String, String)],
    /// All of them.
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether a path is of the protocol.
pub fn is_distribution(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// The answer to whoever shows credentials that are not good.
pub fn unauthorized() -> Response {
    Refusal::new(Code::Unauthorized, "the credentials are not valid").into()
}

impl ApiService {
    /// Answers a request of the protocol.
    pub async fn handle_distribution(&self, user: &User, asked: Asked<'_>, body: Source<'_>) -> Response {
        let answered = AssertUnwindSafe(self.distribute(user, &asked, body)).catch_unwind().await;
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => refusal.into(),
            Err(_panic) => {
                tracing::error!("a request panicked");
                Refusal::new(Code::Unknown, "the request panicked").into()
            }
        }
    }

    async fn distribute(
        &self,
        user: &User,
        asked: &Asked<'_>,
        body: Source<'_>,
    ) -> Result<Response, Refusal> {
        let route = Route::parse(asked.path)?;
        let Some(Place { repository, what }) = route.place() else {
            // Where tools find out whether their credentials are good.
            return if user.is_authenticated() {
                Ok(Response::json(200, &json!({})))
            } else {
                Err(refused())
            };
        };
        let verb = match *asked.method {
            Method::GET | Method::HEAD => "get",
            Method::PUT | Method::POST | Method::PATCH => "put",
            Method::DELETE => "delete",
            _ => return Err(Refusal::new(Code::Unsupported, "no such method")),
        };
        self.may(user, verb, repository).await?;
        let artifacts = self.inner.attached.artifacts.get();
        let artifacts = artifacts.ok_or_else(|| Refusal::new(Code::Unsupported, "there is no registry"))?;
        let desk = Desk { service: self, artifacts, user, repository };
        match what {
            route::What::Tags => desk.tags(asked).await,
            route::What::Manifest(reference) => desk.manifest(asked, reference, body).await,
            route::What::Referrers(digest) => desk.referrers(asked, digest).await,
            route::What::Blob(digest) => desk.blob(asked, digest).await,
            route::What::Uploads => desk.begin(asked, body).await,
            route::What::Upload(id) => desk.upload(asked, id, body).await,
        }
    }

    async fn may(&self, user: &User, verb: &str, repository: &str) -> Result<(), Refusal> {
        let path = format!("/v2/{repository}");
        let decided = self.authorize_path(user, verb, &path).await;
        decided.map_err(|status| denied(user, &status))
    }
}

/// What the requests of one repository work with.
struct Desk<'a> {
    service: &'a ApiService,
    artifacts: &'a Artifacts,
    user: &'a User,
    repository: &'a str,
}

/// Who is nobody has to say who they are; everybody else may not.
fn denied(user: &User, status: &Status) -> Refusal {
    match status.code() {
        403 if user.is_authenticated() => Refusal::new(Code::Denied, status.message()),
        403 => refused(),
        _ => Refusal::new(Code::Unavailable, status.message()),
    }
}

fn refused() -> Refusal {
    Refusal::new(Code::Unauthorized, "authentication required")
}
