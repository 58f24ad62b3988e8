//! OpenAPI documents over the wire: an index with a hash for each document of version 3, the documents, and version 2.
//!
//! No document is kept: each is made while it is sent, a part at a time. What is kept is the hash of each, made when somebody first
//! asks for it and as long as the kinds are the same.

mod hashes;

use std::{mem, time::Duration};

use dunlin_api::{
    Kind, Status, kind,
    openapi::{Descriptions, Document, Topic},
};
use futures_util::stream;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::{Map, json};

pub(super) use self::hashes::Hashes;
use self::hashes::Subject;
use super::{
    ApiService,
    discovery::GIT_VERSION,
    entity_tag::{EntityTag, entity_tag},
    media::MediaType,
    query::Query,
    response::{ByteStream, JSON, Response},
};

impl ApiService {
    /// Answers a path of OpenAPI; `None` when it is another.
    pub(super) async fn openapi(
        &self,
        path: &str,
        accept: &str,
        query: &Query,
    ) -> Option<Result<Response, Status>> {
        let kinds: Vec<&'static Kind> = kind::all().collect();
        match path.trim_end_matches('/').strip_prefix("/openapi/")? {
            "v2" => Some(self.version_2(kinds, accept).await),
            "v3" => Some(self.index(&kinds).await),
            below => {
                let wanted = below.strip_prefix("v3/")?;
                let topic = Topic::all(&kinds).into_iter().find(|topic| topic.path() == wanted)?;
                Some(self.version_3(topic, kinds, accept, query.text("hash")).await)
            }
        }
    }

    async fn index(&self, kinds: &[&'static Kind]) -> Result<Response, Status> {
        let mut paths = Map::new();
        for topic in Topic::all(kinds) {
            let tag = self.tag(Subject::Topic(topic), kinds).await?;
            paths.insert(topic.path(), json!({"serverRelativeURL": link(topic, &tag)}));
        }
        let body = json!({"paths": paths}).to_string();
        let tag = entity_tag([body.as_bytes()]);
        Ok(Response::bytes(200, JSON, body).with_header("etag", tag.quoted()))
    }

    async fn version_3(
        &self,
        topic: Topic,
        kinds: Vec<&'static Kind>,
        accept: &str,
        hash: &str,
    ) -> Result<Response, Status> {
        if Encoding::asked(accept, &[]) != Some(Encoding::Json) {
            return Ok(not_acceptable());
        }
        let tag = self.tag(Subject::Topic(topic), &kinds).await?;
        if !hash.is_empty() && hash != tag.as_str() {
            // Whoever has an old index learns the new link.
            return Ok(Response::bytes(301, JSON, "").with_header("location", link(topic, &tag)));
        }
        let response = sent(JSON, Document::v3(&topic, &kinds, GIT_VERSION, descriptions()), &tag);
        if hash.is_empty() {
            return Ok(response);
        }
        // The link changes with the document, so that what is behind one never does.
        let expires = http_date(self.clock().now() + CACHED_FOR);
        Ok(response.with_header("cache-control", "public, immutable").with_header("expires", expires))
    }

    async fn version_2(&self, kinds: Vec<&'static Kind>, accept: &str) -> Result<Response, Status> {
        let encoding = Encoding::asked(accept, &[V2_PROTOBUF, V2_PROTOBUF_OLD]);
        let tag = self.tag(Subject::Version2, &kinds).await?;
        Ok(match encoding {
            Some(Encoding::Json) => sent(JSON, Document::v2(&kinds, GIT_VERSION, descriptions()), &tag),
            Some(Encoding::Protobuf) => {
                sent(V2_PROTOBUF, Document::v2_protobuf(&kinds, GIT_VERSION, descriptions()), &tag)
            }
            None => not_acceptable(),
        })
    }

    async fn tag(&self, subject: Subject, kinds: &[&'static Kind]) -> Result<EntityTag, Status> {
        self.inner.openapi.tag(subject, kinds).await
    }
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    /// The first that is asked for; `protobuf` are the names of the protobuf form, if there is one.
    fn asked(accept: &str, protobuf: &[&str]) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Self::Json);
        }
        accept.split(',').find_map(|clause| match MediaType::parse(clause).essence() {
            "*/*" | "application/*" | JSON => Some(Self::Json),
            other => protobuf.contains(&other).then_some(Self::Protobuf),
        })
    }
}

/// What the build script made of the descriptions of k8s-openapi.
pub(super) fn descriptions() -> Descriptions {
    Descriptions::new(include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.bin")))
}

fn link(topic: Topic, tag: &EntityTag) -> String {
    format!("/openapi/v3/{}?hash={}", topic.path(), tag.as_str())
}

/// An answer that is made while it is sent.
fn sent(media: &str, document: Document, tag: &EntityTag) -> Response {
    let chunks = stream::iter(Chunks { document }.map(|chunk| Ok(chunk.into())));
    Response::parts(media, ByteStream::new(chunks))
        .with_header("etag", tag.quoted())
        .with_header("vary", "Accept")
}

/// The parts of a document, gathered into fewer.
struct Chunks {
    document: Document,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = self.document.next()?;
        while chunk.len() < CHUNK_BYTES
            && let Some(part) = self.document.next()
        {
            chunk.extend(part);
        }
        Some(mem::take(&mut chunk))
    }
}

fn not_acceptable() -> Response {
    Response::bytes(406, JSON, "")
}

fn http_date(time: Timestamp) -> String {
    // Fails for years that have not four digits.
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default()
}

/// Sent at once; a part that is larger goes by itself.
const CHUNK_BYTES: usize = 16 << 10;
/// How long a document may be kept by whoever has its link.
const CACHED_FOR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The protobuf form of version 2.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The same as clients used to ask for it; `@` is not allowed in a media type.
const V2_PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
