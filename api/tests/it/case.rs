//! Cases, and the requests they hold.

use std::collections::BTreeMap;

use dunlin_api::{Kind, kind};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// A case or a step of one.
#[derive(Deserialize)]
pub(crate) struct Case {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default)]
    query: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "contentType")]
    pub(crate) content_type: Option<String>,
    pub(crate) body: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    #[serde(default)]
    pub(crate) response: Value,
    #[serde(default)]
    steps: Vec<Self>,
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub(crate) struct Address<'p> {
    pub(crate) kind: &'static Kind,
    /// Empty outside namespaces.
    pub(crate) namespace: &'p str,
    /// Empty for a collection.
    pub(crate) name: &'p str,
    /// Empty for the object itself.
    pub(crate) subresource: &'p str,
}

impl Case {
    /// The cases of a file.
    pub(crate) fn parse_all(json: &str) -> Vec<Self> {
        serde_json::from_str(json).expect("cases are JSON")
    }

    /// The requests of the case, in order.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &Self> {
        let steps = if self.steps.is_empty() { std::slice::from_ref(self) } else { &self.steps };
        steps.iter().filter(|step| !step.method.is_empty())
    }

    /// Where the request goes; `None` when no kind is served there.
    pub(crate) fn address(&self) -> Option<Address<'_>> {
        let parts: Vec<&str> = self.path.split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["", "api", version, rest @ ..] => ("", *version, rest),
            ["", "apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if rest.first().is_some_and(|name| !["status", "finalize"].contains(name)) =>
            {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let kind = kind::by_resource(group, version, rest.first()?)?;
        let part = |position: usize| rest.get(position).copied().unwrap_or_default();
        Some(Address { kind, namespace, name: part(1), subresource: part(2) })
    }

    /// A parameter of the query; empty when it is not there.
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.as_ref().and_then(|query| query.get(name)).map_or("", String::as_str)
    }

    /// Whether it is a server-side apply.
    pub(crate) fn applies(&self) -> bool {
        self.content_type.as_deref().is_some_and(|content| content.starts_with("application/apply-patch"))
    }

    /// The body as it was sent.
    pub(crate) fn body(&self) -> String {
        let body = self.body.as_ref().map_or("", |body| body.get());
        // A body given as a string is sent as that text.
        serde_json::from_str::<String>(body).unwrap_or_else(|_| body.to_owned())
    }

    /// The word for what was answered; empty for an object.
    pub(crate) fn reason(&self) -> &str {
        self.response["reason"].as_str().unwrap_or_default()
    }

    /// The message of a refusal.
    pub(crate) fn message(&self) -> &str {
        self.response["message"].as_str().unwrap_or_default()
    }
}
