//! One request from head to answer: bounds, timeouts and panics here; what it asks is read and handed to its verb.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use dunlin_api::Status;
use dunlin_link::rpc::{Method, RequestHead};
use futures_util::FutureExt as _;
use tokio::{io::AsyncRead, time::timeout};
use tracing::Instrument as _;

use super::{
    ApiService, Offer, User,
    authorize::Grant,
    body::Source,
    encode::refusal,
    event::EventShape,
    exec,
    figures::Asked,
    media::{self, Answer},
    options::WatchRequest,
    path::{self, ResourceRequest, Target, Verb},
    port_forward, proxy,
    query::Query,
    response::{Body, Response},
    routes::{self, Call},
    seats::{Seat, Work},
    serve::Admitted,
    shape::{self, include_object},
};

impl ApiService {
    /// Answers one request of the wire. `body` is read only as far as the request needs it and its bound allows.
    pub async fn handle(
        &self,
        user: &User,
        head: RequestHead,
        body: impl AsyncRead + Send + Unpin,
    ) -> Response {
        self.handle_offer(user, head, Offer::none(), body).await
    }

    /// The same for a request that may offer to leave HTTP; an answer may take up what is offered.
    pub async fn handle_offer(
        &self,
        user: &User,
        head: RequestHead,
        offer: Offer,
        mut body: impl AsyncRead + Send + Unpin,
    ) -> Response {
        let span = tracing::debug_span!(
            "request", method = ?head.method, path = %head.path, user = %user.name, user_agent = %head.user_agent,
            upgrade = offer.protocol()
        );
        let errors = media::error_encoding(&head.accept);
        let mut asked = Asked::other(head.method, "");
        let started = Instant::now();
        let answer = self.answer(user, head, &offer, &mut asked, &mut body);
        let answered = AssertUnwindSafe(answer).catch_unwind().instrument(span);
        let response = match answered.await {
            Ok(Ok(Response { body: Body::Upgrade(_), .. })) if offer.protocol().is_none() => {
                Status::internal("a request that offers no upgrade was answered with one").into()
            }
            Ok(Ok(response)) => response,
            Ok(Err(status)) => status.into(),
            Err(_panic) => {
                tracing::error!("a request panicked");
                self.inner.figures.panicked();
                Status::internal("the request panicked").into()
            }
        };
        self.inner.figures.answered(asked, response.head.status, started.elapsed());
        refusal(errors, response)
    }

    async fn answer(
        &self,
        user: &User,
        mut head: RequestHead,
        offer: &Offer,
        asked: &mut Asked,
        body: Source<'_>,
    ) -> Result<Response, Status> {
        let query = Query::new(std::mem::take(&mut head.query)).sent_by(head.user_agent.clone());
        let target = path::parse(head.method, &head.path, &query);
        *asked = match &target {
            Ok(Target::Resource(request)) => Asked::resource(request, &head.content_type),
            Ok(Target::Other) => Asked::other(head.method, routes::figure(&head.path)),
            Err(_) => *asked,
        };
        let seat = match work_of(&target, &head, &query) {
            Some(work) => Some(self.inner.seats.take(work, user).await?),
            None => None,
        };
        let grant = in_time(self.admit(user, &target, &head, &query)).await?;
        match target? {
            Target::Resource(request) if is_long(&request, &query) => {
                let lasting = self.inner.figures.lasting(*asked);
                let warnings = request.kind.deprecation.map(str::to_owned).into_iter().collect();
                let followed = self.follow(user, &grant, request, &query, &head.accept, seat).await;
                followed.map(|response| response.with_warnings(warnings).holding(lasting))
            }
            Target::Resource(request) if request.subresource == proxy::NAME => {
                let lasting = self.inner.figures.lasting(*asked);
                let served = self.serve_proxy(&request, (&head, &query), offer, body).await;
                served.map(|response| response.holding((seat, lasting)))
            }
            Target::Resource(request) if port_forward::is_meant(&request) => {
                let lasting = self.inner.figures.lasting(*asked);
                let served = in_time(self.serve_port_forward(user, &grant, &request, &query, offer));
                served.await.map(|response| response.holding((seat, lasting)))
            }
            Target::Resource(request) if exec::is_stream(&request) => {
                let lasting = self.inner.figures.lasting(*asked);
                let served = in_time(self.serve_exec(user, &grant, &request, &query, offer));
                served.await.map(|response| response.holding((seat, lasting)))
            }
            Target::Resource(request) => {
                // What writes an object tells its warnings itself.
                let reads = !matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch);
                let deprecation = request.kind.deprecation.filter(|_| reads);
                let (accept, content_type) = (&head.accept, &head.content_type);
                let admitted = Admitted { user, grant: &grant, query: &query, accept, content_type };
                let served = in_time(self.serve(&admitted, request, body));
                // An answer that is still being told counts on.
                served.await.map(|response| {
                    response.with_warnings(deprecation.map(str::to_owned).into_iter().collect()).holding(seat)
                })
            }
            Target::Other => self.serve_other(user, &head, &query, body, seat).await,
        }
    }

    /// The one gate of all requests: whether the user may do what the path asks for, before anything else of the request is looked
    /// at. What is not served is asked for like everything else, so that refusals tell nobody what there is.
    async fn admit(
        &self,
        user: &User,
        target: &Result<Target, Status>,
        head: &RequestHead,
        query: &Query,
    ) -> Result<Grant, Status> {
        if let Ok(Target::Resource(request)) = target {
            return self.authorize(user, request).await;
        }
        match path::attributes(head.method, &head.path, query) {
            Some(asked) => self.authorize_unserved(user, asked).await,
            None => routes::authorize(self, user, head.method, &head.path).await,
        }?;
        Ok(Grant::FULL)
    }

    /// What is no object.
    async fn serve_other(
        &self,
        user: &User,
        head: &RequestHead,
        query: &Query,
        body: Source<'_>,
        seat: Option<Seat>,
    ) -> Result<Response, Status> {
        if head.method == Method::Get
            && let Some(answer) = self.describe(&head.path, &head.accept, query).await
        {
            return answer.map(|response| response.holding(seat));
        }
        let call = Call { user, method: head.method, path: &head.path, query, body, captures: Vec::new() };
        routes::route(self, call).await
    }

    /// What the server tells of its API; `None` for other paths.
    async fn describe(&self, path: &str, accept: &str, query: &Query) -> Option<Result<Response, Status>> {
        match self.discover(path, accept) {
            None => self.openapi(path, accept, query).await,
            found => found,
        }
    }

    /// Watches and followed logs: they hold their seat as long as they last.
    async fn follow(
        &self,
        user: &User,
        grant: &Grant,
        mut request: ResourceRequest,
        query: &Query,
        accept: &str,
        seat: Option<Seat>,
    ) -> Result<Response, Status> {
        if request.verb != Verb::Watch {
            return Ok(self.serve_log(user, grant, &request, query).await?.holding(seat));
        }
        let accepted = media::negotiate(accept, Answer::Watch)?;
        shape::check(accepted, request.kind)?;
        let shape = EventShape::new(accepted, include_object(query)?);
        let mut options = WatchRequest::parse(request.kind, query)?;
        grant.check_list(user, &request, |field| options.selection.fields.exact(field))?;
        // The old way to watch one object: its name is in the path.
        let name = std::mem::take(&mut request.name);
        if !name.is_empty() {
            options.selection.fields = options.selection.fields.and_name(&name);
        }
        let events = self.watch(request, options, shape, seat).await?;
        Ok(Response::stream(shape.media_type(), events))
    }
}

/// What a request takes up while it is served. Whether the coordinator is well must be known above all when it has much to do.
fn work_of(target: &Result<Target, Status>, head: &RequestHead, query: &Query) -> Option<Work> {
    match target {
        Ok(Target::Resource(request)) => {
            let lasts = is_long(request, query)
                || request.subresource == proxy::NAME
                || port_forward::is_meant(request)
                || exec::is_stream(request);
            Some(match request.verb.is_mutating() {
                _ if lasts => Work::Long,
                true => Work::Mutating,
                false => Work::Reading,
            })
        }
        Ok(Target::Other) if routes::is_open(&head.path) => None,
        Ok(Target::Other) | Err(_) if head.method == Method::Get => Some(Work::Reading),
        Ok(Target::Other) | Err(_) => Some(Work::Mutating),
    }
}

/// Watches and followed logs last as long as their clients like.
fn is_long(request: &ResourceRequest, query: &Query) -> bool {
    request.verb == Verb::Watch || (reads_log(request) && query.flag("follow"))
}

pub(super) fn reads_log(request: &ResourceRequest) -> bool {
    request.subresource == "log" && request.verb == Verb::Get && request.kind.kind == "Pod"
}

/// Refuses work that takes too long.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = "request did not complete within the allotted timeout";
    timeout(REQUEST_TIMEOUT, work).await.unwrap_or_else(|_| Err(Status::timeout(late, 0)))
}

/// Kubernetes' own bound on requests that are no watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
