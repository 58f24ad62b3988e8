//! Kinds that the server has and this program does not know: those of a newer version, and of others.

use anyhow::Result;
use dunlin_api::kind::{self, Described};
use serde_json::Value;

use crate::{
    api::Api,
    document::{items, text},
};

/// Makes all kinds that the server serves be found by their names.
///
/// # Errors
/// When it cannot be asked.
pub(super) async fn kinds(api: &Api) -> Result<()> {
    let (core, groups) = api.discovery().await?;
    for group in [core, groups].iter().flat_map(|list| items(list, &["items"])) {
        for described in described(group) {
            if kind::by_resource(&described.group, &described.version, &described.plural).is_none() {
                // One too many, or of a name that another has: it is not found then, which is told where it is looked for.
                let _ = kind::add(described.into());
            }
        }
    }
    Ok(())
}

/// The kinds of a group, those of its preferred version first.
fn described(group: &Value) -> Vec<Described> {
    let mut all = Vec::new();
    for version in items(group, &["versions"]) {
        let of_version =
            items(version, &["resources"]).iter().filter(|resource| !items(resource, &["verbs"]).is_empty());
        all.extend(of_version.map(|resource| Described {
            group: text(group, &["metadata", "name"]).to_owned(),
            version: text(version, &["version"]).to_owned(),
            kind: text(resource, &["responseKind", "kind"]).to_owned(),
            plural: text(resource, &["resource"]).to_owned(),
            singular: text(resource, &["singularResource"]).to_owned(),
            short_names: list(resource, "shortNames"),
            categories: list(resource, "categories"),
            namespaced: text(resource, &["scope"]) == "Namespaced",
            verbs: list(resource, "verbs"),
        }));
    }
    all
}

fn list(resource: &Value, key: &str) -> Vec<String> {
    items(resource, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::described;

    #[test]
    fn discovery_tells_names_and_scope() {
        let resource = json!({
            "resource": "foos", "singularResource": "foo", "scope": "Cluster", "shortNames": ["f"], "verbs": ["get"],
            "responseKind": {"group": "", "version": "", "kind": "Foo"},
        });
        let only_parts = json!({"resource": "bars", "scope": "Namespaced", "responseKind": {"kind": "Bar"}});
        let group = json!({
            "metadata": {"name": "x.example"},
            "versions": [{"version": "v1", "resources": [resource, only_parts]}],
        });
        let [foo] = described(&group).try_into().unwrap();
        assert_eq!((foo.group.as_str(), foo.kind.as_str(), foo.namespaced), ("x.example", "Foo", false));
        assert_eq!((foo.singular.as_str(), foo.short_names), ("foo", vec!["f".to_owned()]));
    }
}
