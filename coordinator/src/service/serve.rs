//! What a request that was let in asks for: its options and its body are read, and it is handed to its verb.

use dunlin_api::{
    Status,
    decode::Format,
    kind::{EVICTION, Storage},
    pipeline::{self, Accepted as AcceptedObject},
    status::OptionsKind,
};
use serde_json::{Value, json};

use super::{
    ApiService, User,
    authorize::Grant,
    body::{self, Source},
    components, delete,
    delete_options::DeleteOptions,
    handle::reads_log,
    media::{self, Answer, Encoding},
    metrics,
    options::{ApplyOptions, ListRequest, WriteOptions},
    patch,
    path::{ResourceRequest, Verb},
    query::Query,
    response::Response,
    shape::{Shaper, include_object},
    stored,
};

/// A request for objects that its user may make.
#[derive(Clone, Copy)]
pub(super) struct Admitted<'a> {
    pub(super) user: &'a User,
    pub(super) grant: &'a Grant,
    pub(super) query: &'a Query,
    pub(super) accept: &'a str,
    pub(super) content_type: &'a str,
}

impl ApiService {
    /// Everything that ends by itself.
    pub(super) async fn serve(
        &self,
        admitted: &Admitted<'_>,
        request: ResourceRequest,
        source: Source<'_>,
    ) -> Result<Response, Status> {
        let Admitted { user, grant, query, accept, content_type } = *admitted;
        if reads_log(&request) {
            return self.serve_log(user, grant, &request, query).await;
        }
        let answer = if matches!(request.verb, Verb::List) { Answer::List } else { Answer::Object };
        let accepted = media::negotiate(accept, answer)?;
        let now = self.clock().now();
        let shaper = Shaper { kind: request.kind, accepted, include: include_object(query)?, now };
        shaper.check()?;
        if components::is_about(request.kind) {
            return self.serve_components(&request, query, &shaper).await;
        }
        if metrics::is_about(request.kind) {
            return self.serve_metrics(admitted, &request, &shaper).await;
        }
        if request.subresource == "scale" && request.kind.scale.is_some() {
            return self.serve_scale(admitted, &request, source, &shaper).await;
        }
        match request.verb {
            Verb::Get => {
                check_readable(&request)?;
                self.check_get_version(query)?;
                let object = self.get_granted(user, &request, grant).await?;
                shaper.object(200, AcceptedObject { object, warnings: Vec::new() })
            }
            Verb::List => {
                let prefix = stored::prefix(request.kind, &request.namespace);
                let list = ListRequest::parse(request.kind, &prefix, query)?;
                grant.check_list(user, &request, |field| list.selection.fields.exact(field))?;
                match (list.limit, accepted.encoding) {
                    (None, Encoding::Protobuf) => self.list_whole_protobuf(&request, list, &shaper).await,
                    (None, _) => self.list_whole(request, list, shaper).await,
                    (Some(_), _) => shaper.list(&self.find(&request, &list).await?),
                }
            }
            Verb::Create => self.serve_create(admitted, &request, source, &shaper).await,
            Verb::Update => self.serve_update(admitted, &request, source, &shaper).await,
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
        admitted: &Admitted<'_>,
        request: &ResourceRequest,
        source: Source<'_>,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        let Admitted { user, grant, query, content_type, .. } = *admitted;
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
                shaper.object(201, self.create_token_for(user, request, grant, asked).await?)
            }
            "" => {
                let decoded = pipeline::decode(request.kind, &body, format, options.validation)?;
                let created = self.create_with(user, request, grant, decoded.object, &options).await;
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
                let evicted = self.evict_with(user, request, grant, &decoded.object, &options).await;
                let response = evicted.and_then(|()| shaper.plain(201, &success(201)));
                Ok(response.unwrap_or_else(Response::from).with_warnings_first(decoded.warnings))
            }
            stored if request.kind.has_subresource(stored) => Err(Status::method_not_allowed()),
            _ => Err(Status::no_such_resource()),
        }
    }

    async fn serve_update(
        &self,
        admitted: &Admitted<'_>,
        request: &ResourceRequest,
        source: Source<'_>,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        let Admitted { user, query, content_type, .. } = *admitted;
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

fn check_readable(request: &ResourceRequest) -> Result<(), Status> {
    match request.subresource.as_str() {
        "" => Ok(()),
        part @ ("status" | "approval" | "ephemeralcontainers") if request.kind.has_subresource(part) => {
            Ok(())
        }
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
