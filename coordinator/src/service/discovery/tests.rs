//! Discovery against what a Kubernetes API server said, as far as the kinds exist here, and by itself.

use std::{env, fs, path::PathBuf};

use serde_json::Value;

use super::{aggregated, groups::group_names, paths, plain};

/// Names another folder for the facts.
const FOLDER_VARIABLE: &str = "DUNLIN_KUBERNETES_FACTS";
/// Relative to this crate.
const FOLDER: &str = "../../shared/data/k8s-1.36";

/// The facts live beside the repository; where they are absent a test says so and checks nothing.
fn facts() -> Option<Value> {
    let folder = env::var_os(FOLDER_VARIABLE)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FOLDER), PathBuf::from);
    let Ok(text) = fs::read_to_string(folder.join("discovery.json")) else {
        eprintln!("skipped: there is no discovery.json in {}", folder.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

async fn aggregated(groups: &[&str]) -> Value {
    let response = aggregated::answer(aggregated::Form::V2, groups);
    serde_json::from_slice(&response.into_bytes().await.unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Checks each of our resources, and tells those of ours that Kubernetes does not have.
fn check_resources(ours: &Value, facts: &[Value], key: &str) {
    for resource in list(ours, "resources") {
        let fact = facts.iter().find(|fact| fact[key] == resource[key]);
        let Some(fact) = fact else { panic!("{} is no resource of Kubernetes", resource[key]) };
        let mut fact = fact.clone();
        // Subresources that are not served yet are left out, and no other.
        let served = |part: &&Value| {
            list(resource, "subresources").iter().any(|ours| ours["subresource"] == part["subresource"])
        };
        let parts: Vec<Value> = list(&fact, "subresources").iter().filter(served).cloned().collect();
        if parts.is_empty() {
            fact.as_object_mut().unwrap().remove("subresources");
        } else {
            fact["subresources"] = parts.into();
        }
        assert_eq!(*resource, fact);
    }
}

#[tokio::test]
async fn aggregated_resources_are_those_of_kubernetes() {
    let Some(facts) = facts() else { return };
    let groups = group_names();
    for (ours, facts) in
        [(aggregated(&[""]).await, &facts["api"]), (aggregated(&groups).await, &facts["apis"])]
    {
        assert_eq!(ours["apiVersion"], facts["apiVersion"]);
        for group in list(&ours, "items") {
            let Some(fact) = list(facts, "items").iter().find(|fact| fact["metadata"] == group["metadata"])
            else {
                let name = group["metadata"]["name"].as_str().unwrap();
                assert!(name == "metrics.k8s.io" || name.ends_with(".dunlin.dev"), "{name}");
                continue;
            };
            for version in list(group, "versions") {
                let fact =
                    list(fact, "versions").iter().find(|fact| fact["version"] == version["version"]).unwrap();
                check_resources(version, list(fact, "resources"), "resource");
            }
        }
    }
}

#[tokio::test]
async fn groups_come_in_the_order_of_kubernetes() {
    let Some(facts) = facts() else { return };
    let of = |list: &[Value]| -> Vec<String> {
        list.iter().filter_map(|group| group["name"].as_str()).map(str::to_owned).collect()
    };
    let facts_names = of(list(&facts["legacyApis"], "groups"));
    let ours = plain::groups();
    let ours_names: Vec<_> =
        of(list(&ours, "groups")).into_iter().filter(|name| facts_names.contains(name)).collect();
    let expected: Vec<_> = facts_names.into_iter().filter(|name| ours_names.contains(name)).collect();
    assert_eq!(ours_names, expected);
    for group in list(&ours, "groups") {
        let fact = list(&facts["legacyApis"], "groups").iter().find(|fact| fact["name"] == group["name"]);
        assert!(fact.is_none_or(|fact| fact == group), "{group}");
    }
}

#[test]
fn plain_resources_are_those_of_kubernetes() {
    let Some(facts) = facts() else { return };
    for (path, fact) in facts["legacyResourceList"].as_object().unwrap() {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version) = match segments.as_slice() {
            ["apis", group, version] => (*group, *version),
            _ => ("", "v1"),
        };
        let Some(mut ours) = plain::resources(group, version) else { continue };
        let names: Vec<_> =
            list(&ours, "resources").iter().map(|resource| resource["name"].clone()).collect();
        let mut fact = fact.clone();
        let kept = list(&fact, "resources").iter().filter(|resource| names.contains(&resource["name"]));
        fact["resources"] = kept.cloned().collect();
        ours.as_object_mut().unwrap().remove("apiVersion");
        fact.as_object_mut().unwrap().remove("apiVersion");
        assert_eq!(ours, fact, "{path}");
    }
}

#[test]
fn the_root_lists_what_leads_somewhere() {
    let paths = paths();
    for path in ["/api", "/api/v1", "/apis", "/livez", "/openapi/v2", "/openapi/v3", "/version"] {
        assert!(paths.iter().any(|known| known == path), "{path}: {paths:?}");
    }
    assert!(paths.is_sorted());
}

#[test]
fn the_form_that_comes_first_is_taken() {
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    for (accept, expected) in [
        (format!("{v2},{beta},application/json"), Some(aggregated::Form::V2)),
        (format!("{beta},application/json"), Some(aggregated::Form::V2Beta1)),
        (format!("application/json, {v2}"), None),
        (format!("application/vnd.kubernetes.protobuf,{v2}"), Some(aggregated::Form::V2)),
        (v2.replace("v=v2", "v=v3"), None),
        (String::new(), None),
    ] {
        assert_eq!(aggregated::asked(&accept), expected, "{accept}");
    }
}
