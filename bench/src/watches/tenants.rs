//! Namespaces for the objects, and service accounts for the watches: no single user may have as many as there are.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Plan,
    connection::{Http2, Identity, Quic},
    record::{Change, Sequence},
    scope::{self, Scope},
};
use crate::access::Access;

/// What was made before the first watch; cheap to clone.
#[derive(Clone)]
pub(super) struct Tenants {
    access: Access,
    plan: Plan,
    tokens: Arc<Vec<String>>,
    /// Watches tell what comes after this.
    revision: String,
}

impl Tenants {
    /// Makes namespaces and accounts.
    pub(super) async fn make(access: &Access, plan: &Plan) -> Result<Self> {
        let client = Http2::connect(access, None).await?;
        for namespace in 0..plan.namespaces {
            let object = json!({"metadata": {"name": scope::namespace_name(namespace)}});
            post(&client, "/api/v1/namespaces", &object).await?;
        }
        let subjects: Vec<Value> = (0..ACCOUNTS)
            .map(|account| json!({"kind": "ServiceAccount", "name": name(account), "namespace": "default"}))
            .collect();
        let binding = json!({
            "metadata": {"name": "bench-watchers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": subjects,
        });
        post(&client, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
        let mut tokens = Vec::new();
        for account in 0..ACCOUNTS {
            post(&client, SERVICE_ACCOUNTS, &json!({"metadata": {"name": name(account)}})).await?;
            let path = format!("{SERVICE_ACCOUNTS}/{}/token", name(account));
            let answer = post(&client, &path, &json!({"spec": {"expirationSeconds": 7200}})).await?;
            tokens.push(answer["status"]["token"].as_str().context("no token")?.to_owned());
        }
        wait_for_companions(&client, plan.namespaces).await?;
        let list = client.send("GET", "/api/v1/configmaps?limit=1", Bytes::new()).await?;
        let list: Value = serde_json::from_slice(&list)?;
        let revision = list["metadata"]["resourceVersion"].as_str().context("no revision")?.to_owned();
        Ok(Self { access: access.clone(), plan: plan.clone(), tokens: Arc::new(tokens), revision })
    }

    /// Who has the connection of this number.
    pub(super) const fn identity(&self, connection: usize) -> Identity {
        match connection % (ACCOUNTS + 1) {
            0 => Identity::Administrator,
            account => Identity::Account(account - 1),
        }
    }

    /// A new connection.
    pub(super) async fn http2(&self, identity: Identity) -> Result<Http2> {
        let token = match identity {
            Identity::Administrator => None,
            Identity::Account(account) => self.tokens.get(account),
        };
        Http2::connect(&self.access, token.map(String::as_str)).await
    }

    /// A new connection, as the administrator.
    pub(super) async fn quic(&self) -> Result<Quic> {
        Quic::connect(&self.access).await
    }

    /// What a watch of this scope must tell.
    pub(super) fn expected(&self, scope: Scope, changes: &[Change]) -> Sequence {
        scope.expected(&self.plan, changes)
    }

    /// Path and query of a watch.
    pub(super) fn watch_request(&self, scope: Scope) -> (String, Vec<(&'static str, String)>) {
        let (path, mut query) = scope.request(&self.plan);
        query.push(("watch", "true".to_owned()));
        query.push(("resourceVersion", self.revision.clone()));
        (path, query)
    }

    /// The same in one text.
    pub(super) fn watch_path(&self, scope: Scope) -> String {
        let (path, query) = self.watch_request(scope);
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        format!("{path}?{}", query.join("&"))
    }
}

/// Each new namespace gets a ConfigMap by itself, of which no watch shall tell.
async fn wait_for_companions(client: &Http2, namespaces: usize) -> Result<()> {
    loop {
        let list = client.send("GET", "/api/v1/configmaps", Bytes::new()).await?;
        let list: Value = serde_json::from_slice(&list)?;
        let is_companion = |item: &&Value| {
            let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
            namespace.starts_with("bench-")
        };
        let made = list["items"].as_array().map_or(0, |items| items.iter().filter(is_companion).count());
        if made >= namespaces {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn post(client: &Http2, path: &str, object: &Value) -> Result<Value> {
    let answer = client.send("POST", path, object.to_string().into()).await?;
    Ok(serde_json::from_slice(&answer)?)
}

fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn name(account: usize) -> String {
    format!("watcher-{account}")
}

/// All that are not the system may have 7,500 watches together, and the administrator 5,000.
const ACCOUNTS: usize = 3;
const SERVICE_ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
