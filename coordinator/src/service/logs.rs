//! `pods/log`: which container's log is meant, and whether there is one; the lines come from the pod's node.

mod container;

use std::fmt;

use dunlin_api::{
    Status,
    field::{FieldError, aggregate},
    time::parse_time,
};
use dunlin_coordinator_core::mirror;
use dunlin_link::{
    NodeName, PodUid, UnixMillis,
    logs::{LogRequest, LogStreams},
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncRead;

pub(super) use self::container::choose_container;
use self::container::{Run, check_started};
use super::{
    ApiService, User,
    authorize::Grant,
    path::ResourceRequest,
    query::Query,
    response::{ByteStream, Response, TEXT},
};
use crate::sessions::{OpenLogError, Sessions};

/// Opens logs on nodes: the sessions.
pub trait LogSource: fmt::Debug + Send + Sync {
    /// Opens a log; the reader ends where the log ends, or never when it is followed.
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        request: LogRequest,
        streams: LogStreams,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncRead + Send + Unpin>, LogError>>;
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The node has no session now.
    #[error("node \"{node}\" is not connected; the log is kept there until it is back")]
    NotConnected {
        /// Which.
        node: NodeName,
    },
    /// The node has no such log, and says why.
    #[error("{0}")]
    Refused(String),
    /// The stream to the node broke.
    #[error("the stream to node \"{node}\" broke: {why}")]
    Broken {
        /// Which.
        node: NodeName,
        /// How.
        why: String,
    },
}

impl LogSource for Sessions {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        request: LogRequest,
        streams: LogStreams,
    ) -> BoxFuture<'a, Result<Box<dyn AsyncRead + Send + Unpin>, LogError>> {
        Box::pin(async move {
            match self.open_log(node, request, streams).await {
                Ok(reader) => Ok(Box::new(reader) as Box<dyn AsyncRead + Send + Unpin>),
                Err(OpenLogError::Refused(why)) => Err(LogError::Refused(why)),
                Err(OpenLogError::NotConnected(node)) => Err(LogError::NotConnected { node }),
                Err(error) => Err(LogError::Broken { node: node.clone(), why: error.to_string() }),
            }
        })
    }
}

impl ApiService {
    pub(super) async fn serve_log(
        &self,
        user: &User,
        grant: &Grant,
        request: &ResourceRequest,
        query: &Query,
    ) -> Result<Response, Status> {
        let pod = self.get_granted(user, request, grant).await?;
        let options = LogOptions::parse(&request.name, query, self.clock().now())?;
        let container = choose_container(&pod, query.text("container"))?;
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            // Nothing has run yet, so nothing was said.
            return Ok(Response::bytes(200, TEXT, ""));
        };
        check_started(&pod, container, options.previous)?;
        let log = LogRequest {
            uid: PodUid::new(mirror::uid_on_node(&pod)),
            container: container.to_owned(),
            follow: options.follow,
            previous: options.previous == Run::Previous,
            since: options.since,
            tail_lines: options.tail_lines,
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
        };
        let source = self.inner.attached.logs.get();
        let source =
            source.ok_or_else(|| Status::service_unavailable("logs are not served by this coordinator"))?;
        let reader =
            source.open(&NodeName::new(node), log, options.streams).await.map_err(|error| match error {
                LogError::Refused(why) => Status::bad_request(why),
                error => Status::service_unavailable(error.to_string()),
            })?;
        Ok(Response::stream(TEXT, ByteStream::from_reader(reader)))
    }
}

/// `PodLogOptions` but for the container.
struct LogOptions {
    follow: bool,
    timestamps: bool,
    previous: Run,
    since: Option<UnixMillis>,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    streams: LogStreams,
}

impl LogOptions {
    fn parse(pod: &str, query: &Query, now: Timestamp) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let mut at_least = |name: &str, least: i64, detail: &str| -> Result<Option<u64>, Status> {
            let value = query.integer(name)?;
            if let Some(value) = value.filter(|value| *value < least) {
                errors.push(FieldError::invalid(name, value, detail));
            }
            Ok(value.and_then(|value| u64::try_from(value).ok()))
        };
        let tail_lines = at_least("tailLines", 0, "must be greater than or equal to 0")?;
        let limit_bytes = at_least("limitBytes", 1, "must be greater than 0")?;
        let since_seconds = at_least("sinceSeconds", 1, "must be greater than 0")?;
        let since_time = match query.value("sinceTime") {
            None => None,
            Some(text) => {
                let time = parse_time(&Value::from(text));
                Some(time.ok_or_else(|| {
                    Status::bad_request(format!("sinceTime: \"{text}\" is no RFC 3339 time"))
                })?)
            }
        };
        if since_seconds.is_some() && since_time.is_some() {
            errors.push(FieldError::forbidden(
                "",
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        let streams = match query.text("stream") {
            "" | "All" => Some(LogStreams::All),
            "Stdout" => Some(LogStreams::Stdout),
            "Stderr" => Some(LogStreams::Stderr),
            other => {
                errors.push(FieldError::not_supported("stream", other, &["All", "Stderr", "Stdout"]));
                None
            }
        };
        if streams != Some(LogStreams::All) && query.value("tailLines").is_some() {
            let why = "`tailLines` and specific `stream` are mutually exclusive for now";
            errors.push(FieldError::forbidden("", why));
        }
        if !errors.is_empty() {
            return Err(invalid(pod, &errors));
        }
        let seconds_ago = since_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let since = since_time.map(Timestamp::as_millisecond).or_else(|| {
            seconds_ago.map(|seconds| now.as_millisecond().saturating_sub(seconds.saturating_mul(1000)))
        });
        Ok(Self {
            follow: query.flag("follow"),
            timestamps: query.flag("timestamps"),
            previous: if query.flag("previous") { Run::Previous } else { Run::Current },
            since: since.map(UnixMillis),
            tail_lines,
            limit_bytes,
            streams: streams.unwrap_or_default(),
        })
    }
}

fn invalid(pod: &str, errors: &[FieldError]) -> Status {
    let message = format!("PodLogOptions \"{pod}\" is invalid: {}", aggregate(errors));
    let mut status = Status::failure(422, "Invalid", message);
    let causes: Vec<Value> = errors.iter().map(FieldError::cause).collect();
    status.0["details"] = json!({"name": pod, "kind": "PodLogOptions", "causes": causes});
    status
}
