//! Verbs of the Kubernetes API over a [`Client`]: paths, pages, watches, refusals and warnings.

use std::{collections::HashSet, sync::Arc, sync::Mutex};

use anyhow::{Context as _, Result};
use dunlin_link::rpc::{Method, RequestHead, ResponseHead, SWITCHING_PROTOCOLS};
use serde_json::{Value, json};
use tokio::{fs::File, io::Take};

use self::watch::Watch;
use crate::{
    client::{Body, Client, Conversation, Progress, Response},
    failure::ServerError,
    resource::Kind,
    terminal,
};

mod watch;

/// Handle to the API; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    /// Warnings already shown: one is enough for a person.
    warned: Mutex<HashSet<String>>,
}

/// Query parameters.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

impl Api {
    /// An API over one connection.
    pub(crate) fn new(client: Client) -> Self {
        Self { shared: Arc::new(Shared { client, warned: Mutex::default() }) }
    }

    /// Ends the connection, if no other handle is left.
    pub(crate) async fn close(self) {
        if let Some(shared) = Arc::into_inner(self.shared) {
            shared.client.close().await;
        }
    }

    /// Reads JSON.
    pub(crate) async fn get(&self, path: &str, query: Query<'_>) -> Result<Value> {
        self.json(head(Method::Get, path, query), Body::Empty).await
    }

    /// Which groups, versions and resources there are: those of the core group, and all others.
    pub(crate) async fn discovery(&self) -> Result<(Value, Value)> {
        let read = |path| {
            let mut head = head(Method::Get, path, &[]);
            DISCOVERY.clone_into(&mut head.accept);
            self.json(head, Body::Empty)
        };
        Ok((read("/api").await?, read("/apis").await?))
    }

    /// Reads an object or a list as a table, rendered by the server.
    pub(crate) async fn table(&self, path: &str, query: Query<'_>) -> Result<Value> {
        let mut head = head(Method::Get, path, query);
        TABLE.clone_into(&mut head.accept);
        self.json(head, Body::Empty).await
    }

    /// Reads a list, page by page, as one list.
    pub(crate) async fn list(&self, path: &str, query: Query<'_>) -> Result<Value> {
        self.pages(path, query, "items", Accept::Objects).await
    }

    /// Reads a list, page by page, as one table.
    pub(crate) async fn list_table(&self, path: &str, query: Query<'_>) -> Result<Value> {
        self.pages(path, query, "rows", Accept::Table).await
    }

    /// Opens a watch; its events are lines of JSON.
    pub(crate) async fn watch(&self, path: &str, query: Query<'_>, accept: Accept) -> Result<Watch> {
        let mut head = head(Method::Get, path, query);
        head.query.push(("watch".to_owned(), "true".to_owned()));
        accept.media_type().clone_into(&mut head.accept);
        Ok(Watch::new(self.send(head, Body::Empty).await?))
    }

    /// Creates an object.
    pub(crate) async fn create(&self, path: &str, query: Query<'_>, object: &Value) -> Result<Value> {
        self.write(Method::Post, path, query, "application/json", object).await
    }

    /// Replaces an object.
    pub(crate) async fn replace(&self, path: &str, query: Query<'_>, object: &Value) -> Result<Value> {
        self.write(Method::Put, path, query, "application/json", object).await
    }

    /// Changes an object.
    pub(crate) async fn patch(
        &self,
        path: &str,
        query: Query<'_>,
        how: Patch,
        patch: &Value,
    ) -> Result<Value> {
        self.write(Method::Patch, path, query, how.media_type(), patch).await
    }

    /// Deletes an object; `options` are `metav1.DeleteOptions`.
    pub(crate) async fn delete(&self, path: &str, query: Query<'_>, options: &Value) -> Result<Value> {
        self.write(Method::Delete, path, query, "application/json", options).await
    }

    /// Opens a stream of text, for instance a log.
    pub(crate) async fn stream(&self, path: &str, query: Query<'_>) -> Result<Response> {
        let mut head = head(Method::Get, path, query);
        "*/*".clone_into(&mut head.accept);
        self.send(head, Body::Empty).await
    }

    /// Opens a stream into a pod.
    pub(crate) async fn converse(&self, path: &str, query: Query<'_>) -> Result<Conversation> {
        let conversation = self.shared.client.converse(&head(Method::Post, path, query)).await?;
        self.warn(conversation.head());
        match conversation.head().status {
            SWITCHING_PROTOCOLS => Ok(conversation),
            _ => Err(refused(conversation.into_response()).await?.into()),
        }
    }

    /// Sends a module's bytes by PUT.
    pub(crate) async fn upload_module(
        &self,
        path: &str,
        query: Query<'_>,
        (file, progress): (&mut Take<File>, &dyn Progress),
    ) -> Result<Value> {
        let mut head = head(Method::Put, path, query);
        "application/wasm".clone_into(&mut head.content_type);
        self.json(head, Body::File(file, progress)).await
    }

    /// Whether there is something under a path that is answered with its content, of which nothing is read.
    pub(crate) async fn is_there(&self, path: &str) -> Result<bool> {
        match self.stream(path, &[]).await {
            Ok(_) => Ok(true),
            Err(error) if error.downcast_ref::<ServerError>().is_some_and(|error| error.code() == 404) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the bytes of a blob to the coordinator's registry.
    pub(crate) async fn upload_blob(
        &self,
        path: &str,
        query: Query<'_>,
        (file, progress): (&mut Take<File>, &dyn Progress),
    ) -> Result<()> {
        self.send(head(Method::Post, path, query), Body::File(file, progress)).await.map(drop)
    }

    /// Sends a manifest there.
    pub(crate) async fn put_manifest(&self, path: &str, media_type: &str, text: &[u8]) -> Result<()> {
        let mut head = head(Method::Put, path, &[]);
        media_type.clone_into(&mut head.content_type);
        self.send(head, Body::Bytes(text)).await.map(drop)
    }

    async fn pages(&self, path: &str, query: Query<'_>, items: &str, accept: Accept) -> Result<Value> {
        let mut whole: Option<Value> = None;
        let mut next = String::new();
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE_ITEMS));
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let mut head = head(Method::Get, path, &query);
            accept.media_type().clone_into(&mut head.accept);
            let mut page = self.json(head, Body::Empty).await?;
            let token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            match &mut whole {
                None => whole = Some(page),
                Some(whole) => {
                    let more = page[items].as_array_mut().map(std::mem::take).unwrap_or_default();
                    if let Some(all) = whole[items].as_array_mut() {
                        all.extend(more);
                    }
                }
            }
            next = token;
            if next.is_empty() {
                return Ok(whole.unwrap_or_default());
            }
        }
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        content_type: &str,
        body: &Value,
    ) -> Result<Value> {
        let mut head = head(method, path, query);
        content_type.clone_into(&mut head.content_type);
        let body = serde_json::to_vec(body).context("cannot encode the request")?;
        self.json(head, Body::Bytes(&body)).await
    }

    async fn json(&self, head: RequestHead, body: Body<'_>) -> Result<Value> {
        let bytes = self.send(head, body).await?.bytes().await?;
        serde_json::from_slice(&bytes).context("the server's answer is not JSON")
    }

    /// Sends a request, shows its warnings, and turns a refusal into an error.
    async fn send(&self, head: RequestHead, body: Body<'_>) -> Result<Response> {
        let response = self.shared.client.request(&head, body).await?;
        self.warn(&response.head);
        if (200..300).contains(&response.head.status) {
            return Ok(response);
        }
        Err(refused(response).await?.into())
    }

    fn warn(&self, head: &ResponseHead) {
        for warning in &head.warnings {
            let mut warned = self.shared.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if warned.insert(warning.clone()) {
                terminal::warn(warning);
            }
        }
    }
}

/// The refusal that an answer is.
async fn refused(response: Response) -> Result<ServerError> {
    let code = response.head.status;
    let body = response.bytes().await?;
    let mut status: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| json!({"code": code, "message": String::from_utf8_lossy(&body)}));
    // The registry has its own form.
    if let Some(first) = status["errors"].get(0) {
        status = json!({"code": code, "reason": first["code"], "message": first["message"]});
    }
    Ok(ServerError::new(status))
}

/// How a patch is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Patch {
    /// Maps are merged, and lists as the schema says.
    Strategic,
    /// Maps are merged (RFC 7396).
    Merge,
    /// A list of operations (RFC 6902).
    Json,
    /// A configuration to be applied.
    #[value(skip)]
    Apply,
}

impl Patch {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            // JSON is YAML.
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// How objects are to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// As they are.
    Objects,
    /// As rows of a table.
    Table,
}

impl Accept {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Objects => "application/json",
            Self::Table => TABLE,
        }
    }
}

/// The path of a kind's objects: in a namespace, or in all of them.
pub(crate) fn collection(kind: &Kind, namespace: Option<&str>) -> String {
    let base = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    match namespace {
        Some(namespace) if kind.namespaced => format!("{base}/namespaces/{namespace}/{}", kind.plural),
        _ => format!("{base}/{}", kind.plural),
    }
}

/// The path of one object.
pub(crate) fn object(kind: &Kind, namespace: &str, name: &str) -> String {
    format!("{}/{name}", collection(kind, Some(namespace)))
}

fn head(method: Method, path: &str, query: Query<'_>) -> RequestHead {
    RequestHead {
        method,
        path: path.to_owned(),
        query: query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        content_type: String::new(),
        accept: "application/json".to_owned(),
        user_agent: concat!("dunlin/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// As kubectl's, so that a long list neither stalls the server nor fills its memory.
const PAGE_ITEMS: &str = "500";
