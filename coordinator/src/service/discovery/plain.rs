//! The plain form of discovery: an answer for each group and each version.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunlin_api::kind::{Kind, Storage, Subresource};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::groups::{group_names, kinds, versions};

/// Versions of the core group, and where this server is.
pub(super) fn core_versions(addresses: &[String]) -> Value {
    let addresses =
        addresses.first().map(|address| json!({"clientCIDR": "0.0.0.0/0", "serverAddress": address}));
    json!({
        "kind": "APIVersions",
        "versions": versions(""),
        "serverAddressByClientCIDRs": addresses.into_iter().collect::<Vec<_>>(),
    })
}

/// All other groups.
pub(super) fn groups() -> Value {
    let groups: Vec<Value> = group_names().into_iter().filter_map(described).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// One group other than the core group.
pub(super) fn group(name: &str) -> Option<Value> {
    let mut described = described(name)?;
    described["kind"] = "APIGroup".into();
    described["apiVersion"] = "v1".into();
    Some(described)
}

fn described(group: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(group)
        .iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().filter(|_| !group.is_empty())?.clone();
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

/// The resources of one version of a group.
pub(super) fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds = kinds(group, version);
    let group_version = kinds.first()?.api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|subresource| part(kind, subresource)));
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn resource(kind: &'static Kind) -> Value {
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
    if !matches!(kind.storage, Storage::None) {
        resource["storageVersionHash"] = storage_version_hash(kind.stored_as()).into();
    }
    resource
}

fn part(kind: &Kind, subresource: &Subresource) -> Value {
    let (group, version, name) = subresource.group_version_kind(kind);
    let mut part = json!({
        "name": format!("{}/{}", kind.plural, subresource.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": name,
        "verbs": subresource.verbs,
    });
    if (group, version) != (kind.group, kind.version) {
        part["group"] = group.into();
        part["version"] = version.into();
    }
    part
}

/// Changes when objects are stored as another version; clients that migrate them look at it.
fn storage_version_hash(stored: &Kind) -> String {
    let name = format!("{}/{}/{}", stored.group, stored.version, stored.kind);
    STANDARD.encode(&Sha256::digest(name)[..HASH_BYTES])
}

/// Of the digest, what Kubernetes shows.
const HASH_BYTES: usize = 8;
