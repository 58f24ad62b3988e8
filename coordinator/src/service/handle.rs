//! One request from head to answer: bounds, timeouts and panics here; what it asks is read and handed to its verb.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use dunlin_api::{
    Status,
    decode::Format,
    kind::{EVICTION, Storage},
    pipeline::{self, Accepted as AcceptedObject},
    status::OptionsKind,
};
use dunlin_link::rpc::{Method, RequestHead};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::{io::AsyncRead, time::timeout};
use tracing::Instrument as _;

use super::{
    ApiService, Offer, User,
    body::{self, Source},
    components, delete,
    delete_options::DeleteOptions,
    encode::refusal,
    event::EventShape,
    exec,
    figures::Asked,
    media::{self, Answer, Encoding},
    metrics,
    options::{ApplyOptions, ListRequest, WatchRequest, WriteOptions},
    patch,
    path::{self, ResourceRequest, Target, Verb},
    proxy,
    query::Query,
    response::{Body, Response},
    routes::{self, Call},
    seats::{Seat, Work},
    shape::{self, Shaper, include_object},
    stored,
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
        if target.is_err() && user.is_anonymous() {
            // What is served here is told to nobody in particular.
            routes::authorize(self, user, head.method, &head.path).await?;
        }
        match target? {
            Target::Resource(request) if is_long(&request, &query) => {
                let seat = self.inner.seats.take(Work::Long, user).await?;
                let lasting = self.inner.figures.lasting(*asked);
                let warnings = request.kind.deprecation.map(str::to_owned).into_iter().collect();
                let followed = self.follow(user, request, &query, &head.accept, seat).await;
                followed.map(|response| response.with_warnings(warnings).holding(lasting))
            }
            Target::Resource(request) if request.subresource == proxy::NAME => {
                let lasting = self.inner.figures.lasting(*asked);
                let served = self.serve_proxy(user, &request, (&head, &query), offer, body).await;
                served.map(|response| response.holding(lasting))
            }
            Target::Resource(request) if exec::is_stream(&request) => {
                let seat = self.inner.seats.take(Work::Long, user).await?;
                let lasting = self.inner.figures.lasting(*asked);
                let served = in_time(self.serve_exec(user, &request, &query, offer));
                served.await.map(|response| response.holding((seat, lasting)))
            }
            Target::Resource(request) => {
                let work = if request.verb.is_mutating() { Work::Mutating } else { Work::Reading };
                let seat = self.inner.seats.take(work, user).await?;
                // What writes an object tells its warnings itself.
                let reads = !matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch);
                let deprecation = request.kind.deprecation.filter(|_| reads);
                let (accept, content_type) = (&head.accept, &head.content_type);
                let served = in_time(self.serve(user, request, &query, accept, content_type, body));
                // An answer that is still being told counts on.
                served.await.map(|response| {
                    response.with_warnings(deprecation.map(str::to_owned).into_iter().collect()).holding(seat)
                })
            }
            Target::Other => {
                let seat = if routes::is_open(&head.path) {
                    // Whether the coordinator is well must be known above all when it has much to do.
                    None
                } else {
                    let work = if head.method == Method::Get { Work::Reading } else { Work::Mutating };
                    Some(self.inner.seats.take(work, user).await?)
                };
                routes::authorize(self, user, head.method, &head.path).await?;
                if head.method == Method::Get
                    && let Some(answer) = self.describe(&head.path, &head.accept, &query).await
                {
                    return answer.map(|response| response.holding(seat));
                }
                let call = Call {
                    user,
                    method: head.method,
                    path: &head.path,
                    query: &query,
                    body,
                    captures: Vec::new(),
                };
                routes::route(self, call).await
            }
        }
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
        mut request: ResourceRequest,
        query: &Query,
        accept: &str,
        seat: Seat,
    ) -> Result<Response, Status> {
        if request.verb != Verb::Watch {
            return Ok(self.serve_log(user, &request, query).await?.holding(seat));
        }
        let grant = self.authorize(user, &request).await?;
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

    /// Everything that ends by itself.
    async fn serve(
        &self,
        user: &User,
        request: ResourceRequest,
        query: &Query,
        accept: &str,
        content_type: &str,
        source: Source<'_>,
    ) -> Result<Response, Status> {
        if reads_log(&request) {
            return self.serve_log(user, &request, query).await;
        }
        let answer = if matches!(request.verb, Verb::List) { Answer::List } else { Answer::Object };
        let accepted = media::negotiate(accept, answer)?;
        let now = self.clock().now();
        let shaper = Shaper { kind: request.kind, accepted, include: include_object(query)?, now };
        shaper.check()?;
        if components::is_about(request.kind) {
            return self.serve_components(user, &request, query, &shaper).await;
        }
        if metrics::is_about(request.kind) {
            return self.serve_metrics(user, &request, query, &shaper).await;
        }
        if request.subresource == "scale" && request.kind.scale.is_some() {
            return self.serve_scale(user, &request, query, content_type, source, &shaper).await;
        }
        match request.verb {
            Verb::Get => {
                check_readable(&request)?;
                let grant = self.authorize(user, &request).await?;
                self.check_get_version(query)?;
                let object = self.get_granted(user, &request, &grant).await?;
                shaper.object(200, AcceptedObject { object, warnings: Vec::new() })
            }
            Verb::List => {
                let grant = self.authorize(user, &request).await?;
                let prefix = stored::prefix(request.kind, &request.namespace);
                let list = ListRequest::parse(request.kind, &prefix, query)?;
                grant.check_list(user, &request, |field| list.selection.fields.exact(field))?;
                match (list.limit, accepted.encoding) {
                    (None, Encoding::Protobuf) => self.list_whole_protobuf(&request, list, &shaper).await,
                    (None, _) => self.list_whole(request, list, shaper).await,
                    (Some(_), _) => shaper.list(&self.find(&request, &list).await?),
                }
            }
            Verb::Create => self.serve_create(user, &request, query, content_type, source, &shaper).await,
            Verb::Update => self.serve_update(user, &request, query, content_type, source, &shaper).await,
            Verb::Patch if patch::is_apply(content_type) => {
                let options = ApplyOptions::parse(query)?;
                let body = body::read(source).await?;
                let (code, applied) = self.apply_with(user, &request, &body, &options).await?;
                shaper.object(code, applied)
            }
            Verb::Patch => {
                let options = WriteOptions::parse(OptionsKind::Patch, query)?;
                let kind = patch::kind_of(content_type)?;
                let body = body::read(source).await?;
                shaper.object(200, self.patch_with(user, &request, kind, &body, &options).await?)
            }
            Verb::Delete => {
                let options = delete_options(query, content_type, source).await?;
                let deleted = self.delete_with(user, &request, &options).await;
                let response = deleted.and_then(|deleted| shaper.deleted(deleted));
                let warnings = delete::warnings(request.kind, &options);
                Ok(response.unwrap_or_else(Response::from).with_warnings_first(warnings))
            }
            Verb::DeleteCollection => {
                let options = delete_options(query, content_type, source).await?;
                let prefix = stored::prefix(request.kind, &request.namespace);
                let list = ListRequest::parse(request.kind, &prefix, query)?;
                let found = self.delete_collection(user, &request, &list, &options).await?;
                Ok(shaper.list(&found)?.with_warnings_first(delete::warnings(request.kind, &options)))
            }
            Verb::Watch => Err(Status::method_not_allowed()),
        }
    }

    async fn serve_create(
        &self,
        user: &User,
        request: &ResourceRequest,
        query: &Query,
        content_type: &str,
        source: Source<'_>,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        let grant = self.authorize(user, request).await?;
        let options = WriteOptions::parse(OptionsKind::Create, query)?;
        let format = format_of(content_type)?;
        let body = body::read(source).await?;
        match request.subresource.as_str() {
            "" if request.kind.kind == "Binding" => {
                let binding = plain_object(&body, format)?;
                self.bind_named(request, &binding, &options).await?;
                shaper.plain(201, &success(201))
            }
            "" if matches!(request.kind.storage, Storage::None) => {
                let decoded = pipeline::decode(request.kind, &body, format, options.validation)?;
                let reviewed = self.review(user, request, decoded.object).await;
                let response = reviewed.and_then(|reviewed| shaper.object(201, reviewed));
                Ok(response.unwrap_or_else(Response::from).with_warnings_first(decoded.warnings))
            }
            "token" if request.kind.kind == "ServiceAccount" => {
                let asked = token_request(&body, format)?;
                shaper.object(201, self.create_token_for(user, request, &grant, asked).await?)
            }
            "" => {
                let decoded = pipeline::decode(request.kind, &body, format, options.validation)?;
                let created = self.create_with(user, request, &grant, decoded.object, &options).await;
                let response = created.and_then(|created| shaper.object(201, created));
                Ok(response.unwrap_or_else(Response::from).with_warnings_first(decoded.warnings))
            }
            "binding" if request.kind.kind == "Pod" => {
                let binding = plain_object(&body, format)?;
                self.bind_with(user, request, &binding, &options).await?;
                shaper.plain(201, &success(201))
            }
            "eviction" if request.kind.kind == "Pod" => {
                let decoded = pipeline::decode(&EVICTION, &body, format, options.validation)?;
                let evicted = self.evict_with(user, request, &grant, &decoded.object, &options).await;
                let response = evicted.and_then(|()| shaper.plain(201, &success(201)));
                Ok(response.unwrap_or_else(Response::from).with_warnings_first(decoded.warnings))
            }
            stored if request.kind.has_subresource(stored) => Err(Status::method_not_allowed()),
            _ => Err(Status::no_such_resource()),
        }
    }

    async fn serve_update(
        &self,
        user: &User,
        request: &ResourceRequest,
        query: &Query,
        content_type: &str,
        source: Source<'_>,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        self.authorize(user, request).await?;
        let options = WriteOptions::parse(OptionsKind::Update, query)?;
        let format = format_of(content_type)?;
        let body = body::read(source).await?;
        let decoded = pipeline::decode(request.kind, &body, format, options.validation)?;
        let updated = if request.subresource == "finalize" {
            let finalized = self.finalize_with(user, request, &decoded.object, &options).await;
            finalized.map(|object| AcceptedObject { object, warnings: Vec::new() })
        } else {
            self.update_with(user, request, decoded.object, &options).await
        };
        let response = updated.and_then(|updated| shaper.object(200, updated));
        Ok(response.unwrap_or_else(Response::from).with_warnings_first(decoded.warnings))
    }

    /// A read may name a version that it must not be older than; the newest is read, so that only the future is refused.
    pub(super) fn check_get_version(&self, query: &Query) -> Result<(), Status> {
        let version = super::options::parse_revision(query.text("resourceVersion"))
            .map_err(|error| Status::failure(500, "", error))?;
        version.map_or(Ok(()), |version| self.check_reached(version))
    }
}

/// Watches and followed logs last as long as their clients like.
fn is_long(request: &ResourceRequest, query: &Query) -> bool {
    request.verb == Verb::Watch || (reads_log(request) && query.flag("follow"))
}

fn reads_log(request: &ResourceRequest) -> bool {
    request.subresource == "log" && request.verb == Verb::Get && request.kind.kind == "Pod"
}

fn check_readable(request: &ResourceRequest) -> Result<(), Status> {
    match request.subresource.as_str() {
        "" => Ok(()),
        part @ ("status" | "approval") if request.kind.has_subresource(part) => Ok(()),
        known if request.kind.has_subresource(known) => Err(Status::method_not_allowed()),
        _ => Err(Status::no_such_resource()),
    }
}

async fn delete_options(
    query: &Query,
    content_type: &str,
    source: Source<'_>,
) -> Result<DeleteOptions, Status> {
    let body = body::read(source).await?;
    let body = if body.is_empty() { None } else { Some(plain_object(&body, format_of(content_type)?)?) };
    DeleteOptions::parse(body.as_ref(), query)
}

/// The notation that a content type names; none at all means JSON.
pub(super) fn format_of(content_type: &str) -> Result<Format, Status> {
    match media::MediaType::parse(content_type).essence() {
        "" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(media::BODIES)),
    }
}

/// A body that is an object of no registered kind.
fn plain_object(body: &[u8], format: Format) -> Result<Value, Status> {
    let document = dunlin_api::decode::document(body, format, None);
    let value = document.map_err(|error| Status::bad_request(error.to_string()))?.value;
    if value.is_object() { Ok(value) } else { Err(Status::bad_request("the body is no object")) }
}

/// A body that is a TokenRequest, or an empty object that becomes one.
fn token_request(body: &[u8], format: Format) -> Result<Value, Status> {
    let mut asked = plain_object(body, format)?;
    for (field, expected) in [("apiVersion", "authentication.k8s.io/v1"), ("kind", "TokenRequest")] {
        let given = asked[field].as_str().unwrap_or_default();
        if !given.is_empty() && given != expected {
            return Err(Status::bad_request(format!("{field} must be {expected}, not {given}")));
        }
        asked[field] = expected.into();
    }
    Ok(asked)
}

fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}

/// Refuses work that takes too long.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = "request did not complete within the allotted timeout";
    timeout(REQUEST_TIMEOUT, work).await.unwrap_or_else(|_| Err(Status::timeout(late, 0)))
}

/// Kubernetes' own bound on requests that are no watch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
