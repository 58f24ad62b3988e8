//! What a fresh cluster has is held against what a fresh Kubernetes 1.36 has (`bootstrap.json` of the shared data). What differs is
//! listed in `docs/kubernetes-compat.md` by its resource.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    client::Client,
    golden::{data, listed_differences, report},
    matching::Bindings,
};
use crate::{cluster::wait_until, site::Site};

type Objects = BTreeMap<String, Value>;

#[test]
fn a_fresh_cluster_has_what_a_fresh_kubernetes_has() {
    let Some(folder) = data() else {
        println!("SKIPPED: what a fresh Kubernetes has is not there; DUNLIN_K8S_DATA can name its folder");
        return;
    };
    let text = std::fs::read_to_string(folder.join("../bootstrap.json")).unwrap();
    let facts: BTreeMap<String, Vec<Value>> = serde_json::from_str(&text).unwrap();
    // The recorded server had this range; an address of documentation stands for its own.
    let site = Site::start_with(&["--service-cidr", "10.96.0.0/16", "--advertise", "192.0.2.1:6443"]);
    let mut client = Client::new(&site.config(), &site.address());
    await_controllers(&mut client);
    let (_, port) =
        site.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let known = listed_differences(&["bootstrap"]);
    let (mut differing, mut told) = (BTreeSet::new(), String::new());
    for (resource, expected) in &facts {
        let expected = expected.iter().filter(|object| !VENDOR.contains(&name(object).as_str())).cloned();
        let found = fetch(&mut client, resource, &port);
        let differences = compare(&by_name(expected), &by_name(found));
        if !differences.is_empty() {
            told.push_str(&format!("## bootstrap: {resource}\n{}\n", differences.join("\n")));
            differing.insert(format!("bootstrap: {resource}"));
        }
    }
    report("bootstrap", &told);
    println!("{} resources compared, {} differ", facts.len(), differing.len());
    assert_eq!(differing, known, "those that differ are not those that are listed:\n{told}");
}

/// Every namespace has its certificate once the controllers have come round.
fn await_controllers(client: &mut Client) {
    wait_until("the certificate in every namespace", || {
        let found = fetch(client, "v1/configmaps", "-");
        let count = found.iter().filter(|map| map["metadata"]["name"] == "kube-root-ca.crt").count();
        if count == 4 { Ok(()) } else { Err(format!("{count} of 4")) }
    });
}

/// The objects of a resource, none where it is not served; the coordinator's port as that of the recorded server.
fn fetch(client: &mut Client, resource: &str, port: &str) -> Vec<Value> {
    let (version, plural) = resource.rsplit_once('/').unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let answer = client.send("GET", &format!("/{root}/{version}/{plural}"), &[], b"");
    let text = String::from_utf8_lossy(&answer.body).replace(&format!(":{port}"), ":6443");
    let list: Value = serde_json::from_str(&text).unwrap_or_default();
    list["items"].as_array().cloned().unwrap_or_default()
}

fn compare(expected: &Objects, found: &Objects) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, object) in expected {
        match found.get(name) {
            None => differences.push(format!("- {name}: missing")),
            Some(found) => {
                let told = Bindings::default().compare(object, found);
                differences.extend(told.into_iter().map(|difference| format!("- {name}: {difference}")));
            }
        }
    }
    differences.extend(
        found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("- {name}: extra")),
    );
    differences
}

fn by_name(objects: impl IntoIterator<Item = Value>) -> Objects {
    objects.into_iter().map(|object| (name(&object), as_told(object))).collect()
}

fn name(object: &Value) -> String {
    let metadata = &object["metadata"];
    let part = |key: &str| metadata[key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name")).trim_start_matches('/').to_owned()
}

/// An object without what the facts leave out.
fn as_told(mut object: Value) -> Value {
    for field in ["uid", "creationTimestamp", "resourceVersion", "generation", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    for field in ["apiVersion", "kind"] {
        object.as_object_mut().unwrap().remove(field);
    }
    object
}

/// What the recorded server's vendor added.
const VENDOR: [&str; 1] = ["system:controller:service-ca-cert-publisher"];
