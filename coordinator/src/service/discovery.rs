//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form.

use dunlin_api::{Kind, kind};
use serde_json::{Value, json};

/// Answers a discovery path, when it is one. `accept` chooses the form of `/api` and `/apis`.
pub(super) fn discover(path: &str, accept: &str) -> Option<(String, Value)> {
    let plain = |value| Some(("application/json".to_owned(), value));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version"] => plain(version()),
        ["api"] => Some(
            aggregated(accept, &[""]).unwrap_or_else(|| ("application/json".to_owned(), legacy_versions())),
        ),
        ["apis"] => {
            let groups = groups();
            Some(
                aggregated(accept, &groups)
                    .unwrap_or_else(|| ("application/json".to_owned(), group_list(&groups))),
            )
        }
        ["api", version] => plain(resources("", version)?),
        ["apis", group] => plain(api_group(group)?),
        ["apis", group, version] => plain(resources(group, version)?),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": concat!("v1.36.2+dunlin-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }),
    })
}

fn legacy_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// Groups other than the core group, each once.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = Vec::new();
    for kind in kind::all().filter(|kind| !kind.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

fn group_list(groups: &[&str]) -> Value {
    let groups: Vec<Value> = groups.iter().filter_map(|group| described_group(group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn api_group(group: &str) -> Option<Value> {
    let mut described = described_group(group)?;
    described["kind"] = "APIGroup".into();
    described["apiVersion"] = "v1".into();
    Some(described)
}

fn described_group(group: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(group)
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().filter(|_| !group.is_empty())?.clone();
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

fn versions(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&str> =
        kind::all().filter(|kind| kind.group == group).map(|kind| kind.version).collect();
    versions.dedup();
    versions
}

fn kinds_of(group: &str, version: &str) -> impl Iterator<Item = &'static Kind> {
    kind::all().filter(move |kind| kind.group == group && kind.version == version)
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds_of(group, version) {
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for subresource in kind.subresources {
            resources.push(json!({
                "name": format!("{}/{}", kind.plural, subresource.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": subresource.group_version_kind(kind).2,
                "verbs": subresource.verbs,
            }));
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty())
        .then(|| json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}))
}

/// The aggregated form, when the caller knows it: all groups in one answer.
fn aggregated(accept: &str, groups: &[&str]) -> Option<(String, Value)> {
    let version = accept.split(',').find_map(|clause| {
        let media = super::media::MediaType::parse(clause);
        let is_discovery = media.parameter("g") == Some("apidiscovery.k8s.io")
            && media.parameter("as") == Some("APIGroupDiscoveryList");
        match media.parameter("v") {
            Some("v2") if is_discovery => Some("v2"),
            Some("v2beta1") if is_discovery => Some("v2beta1"),
            _ => None,
        }
    })?;
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(group)).collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    Some((format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"), list))
}

fn aggregated_group(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .iter()
        .map(|version| {
            let resources: Vec<Value> = kinds_of(group, version).map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
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
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|subresource| {
            let (group, version, kind) = subresource.group_version_kind(kind);
            json!({
                "subresource": subresource.name,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "verbs": subresource.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}
