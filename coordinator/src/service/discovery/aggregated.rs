//! The aggregated form of discovery: everything in two answers.

use dunlin_api::kind::Kind;
use serde_json::{Value, json};

use super::{
    super::{entity_tag::entity_tag, media::MediaType, response::Response},
    groups::{kinds, versions},
};

/// A version of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    V2,
    V2Beta1,
}

/// The form that is asked for, unless something else is preferred that there is.
pub(super) fn asked(accept: &str) -> Option<Form> {
    for clause in accept.split(',') {
        let media = MediaType::parse(clause);
        let is_list = media.parameter("g") == Some("apidiscovery.k8s.io")
            && media.parameter("as") == Some("APIGroupDiscoveryList");
        match (media.essence(), media.parameter("v")) {
            ("application/json", Some("v2")) if is_list => return Some(Form::V2),
            ("application/json", Some("v2beta1")) if is_list => return Some(Form::V2Beta1),
            ("application/json" | "application/yaml" | "*/*", _) if media.parameter("as").is_none() => {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The answer about these groups.
pub(super) fn answer(form: Form, groups: &[&str]) -> Response {
    let version = match form {
        Form::V2 => "v2",
        Form::V2Beta1 => "v2beta1",
    };
    let groups: Vec<Value> = groups.iter().map(|group| described(group)).collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    });
    let body = list.to_string();
    let tag = entity_tag([body.as_bytes()]);
    let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    Response::bytes(200, &media, body)
        .with_header("etag", tag.quoted())
        .with_header("vary", "Accept")
        .with_header("cache-control", "public")
}

fn described(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .iter()
        .map(|version| {
            let resources: Vec<Value> = kinds(group, version).into_iter().map(resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(kind: &'static Kind) -> Value {
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": response_kind(kind, (kind.group, kind.version, kind.kind)),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let parts = kind.subresources.iter().map(|subresource| {
        json!({
            "subresource": subresource.name,
            "responseKind": response_kind(kind, subresource.group_version_kind(kind)),
            "verbs": subresource.verbs,
        })
    });
    let parts: Vec<Value> = parts.collect();
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}

/// What a resource answers with; group and version are left out where they are the resource's own.
fn response_kind(owner: &Kind, (group, version, kind): (&str, &str, &str)) -> Value {
    if (group, version) == (owner.group, owner.version) {
        json!({"group": "", "version": "", "kind": kind})
    } else {
        json!({"group": group, "version": version, "kind": kind})
    }
}
