//! One request and its answer.

use std::sync::PoisonError;

use dunlin_api::Status;
use http::{Method, Request, Version, request::Parts};
use hyper::body::{Body as _, Incoming};
use tokio::io::{Empty, empty};
use tokio_util::either::Either;
use tracing::debug;

use super::{
    answer::{AnswerBody, answer, without_body},
    body::BodyReader,
    conditional::unless_known,
    connection::{HEADERS_MAX, Shared},
    figures::Attempt,
    gzip::Coding,
    request,
};
use crate::{
    authn::{Shown, Unauthenticated},
    service::{
        Offer, Response, User,
        distribution::{self, Asked},
        proxy::{Passed, PassedBody, is_passed_on},
    },
    tokens::KeyError,
};

impl Shared {
    pub(super) async fn answer(&self, mut request: Request<Incoming>) -> http::Response<AnswerBody> {
        let exchange = self.vitals.begin();
        // HTTP/2 has no upgrades.
        let upgraded = (request.version() == Version::HTTP_11).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let offer = upgraded.as_ref().map_or_else(Offer::none, |_| Offer::read(&parts.headers));
        let response = self.respond(&parts, offer, body).await;
        let (answer, upgrade) = answer(unless_known(&parts, response), Coding::asked(&parts), exchange);
        if let Some(leaving) = upgraded.zip(upgrade) {
            *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaving);
        }
        // Over HTTP/2 nobody else takes the body away.
        if parts.method == Method::HEAD { without_body(answer) } else { answer }
    }

    async fn respond(&self, parts: &Parts, offer: Offer, body: Incoming) -> Response {
        if parts.headers.len() > HEADERS_MAX {
            return Status::failure(431, "", format!("the request has more than {HEADERS_MAX} headers"))
                .into();
        }
        let is_distribution = distribution::is_distribution(parts.uri.path());
        let password = if is_distribution { request::password(&parts.headers) } else { None };
        let bearer = password.as_deref().or_else(|| request::bearer(&parts.headers));
        let shown = Shown { certificate: self.peer.as_ref(), bearer };
        let user = match self.front.authenticator.user(shown).await {
            Ok(user) => {
                let attempt = if user.is_anonymous() { Attempt::Anonymous } else { Attempt::Success };
                self.front.figures.attempted(attempt);
                user
            }
            Err(error) => {
                self.front.figures.attempted(Attempt::Failure);
                debug!(%error, "refused a request");
                // Whoever guesses tokens needs a handshake for each few.
                self.vitals.part();
                return if is_distribution { distribution::unauthorized() } else { refused(&error) };
            }
        };
        if is_distribution {
            return match request::impersonation(parts) {
                Ok(None) => self.distribute(&user, parts, body).await,
                Ok(Some(other)) => {
                    match self.front.api.impersonate(&user, &other, "application/json").await {
                        Ok(user) => self.distribute(&user, parts, body).await,
                        Err(refused) => refused,
                    }
                }
                Err(refused) => refused,
            };
        }
        let head = match request::head(parts) {
            Ok(head) => head,
            Err(status) => return status.into(),
        };
        let (offer, body) = with_request(parts, offer, body);
        match request::impersonation(parts) {
            Ok(None) => self.front.api.handle_offer(&user, head, offer, body).await,
            Ok(Some(other)) => match self.front.api.impersonate(&user, &other, &head.accept).await {
                Ok(user) => self.front.api.handle_offer(&user, head, offer, body).await,
                Err(refused) => refused,
            },
            Err(refused) => refused,
        }
    }
}

impl Shared {
    /// Answers a tool that pushes or pulls images.
    async fn distribute(&self, user: &User, parts: &Parts, body: Incoming) -> Response {
        let (path, query) = match request::place(parts) {
            Ok(place) => place,
            Err(status) => return status.into(),
        };
        let asked = Asked { method: &parts.method, path: &path, query: &query, headers: &parts.headers };
        self.front.api.handle_distribution(user, asked, &mut BodyReader::new(body)).await
    }
}

/// Hands the whole request over where it is to be passed on; the API itself then finds no body.
fn with_request(parts: &Parts, offer: Offer, body: Incoming) -> (Offer, Either<BodyReader, Empty>) {
    if !is_passed_on(parts.uri.path()) {
        return (offer, Either::Left(BodyReader::new(body)));
    }
    let passed = Passed {
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body: (!body.is_end_stream()).then(|| PassedBody::new(BodyReader::new(body))),
    };
    (offer.with_request(passed), Either::Right(empty()))
}

/// The answer to whoever showed what is not good.
fn refused(error: &Unauthenticated) -> Response {
    match error {
        Unauthenticated::Key(KeyError::LookUp(_)) => Status::service_unavailable(error.to_string()).into(),
        _ => Status::unauthorized().into(),
    }
}
