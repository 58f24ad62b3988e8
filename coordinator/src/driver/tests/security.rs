//! The cluster's certificate in every namespace, roles made of others, bootstrap tokens.

use super::{Cluster, Kind, ObjectRef, Status, Value, admin, eventually, json, kind, kind_of};

const NAME: &str = "kube-root-ca.crt";

fn cluster_role(name: &str) -> ObjectRef<'_> {
    ObjectRef { kind: role_kind("ClusterRole"), namespace: "", name }
}

fn role_kind(name: &str) -> &'static Kind {
    kind::by_kind("rbac.authorization.k8s.io/v1", name).unwrap()
}

async fn rules(cluster: &Cluster, role: &str) -> String {
    cluster.service.get(&admin(), cluster_role(role)).await.unwrap()["rules"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_knows_the_authority() {
    let cluster = Cluster::start().await;
    let data = json!({ "ca.crt": cluster.pki.certificate_pem() });
    cluster.until("ConfigMap", NAME, |map| map["data"] == data).await;
    cluster.delete("ConfigMap", NAME, json!({})).await;
    let map = cluster.until("ConfigMap", NAME, |map| map["data"] == data).await;
    let object = ObjectRef { kind: kind_of("ConfigMap"), namespace: "default", name: NAME };
    cluster.service.patch(&admin(), object, "", &json!({ "data": { "ca.crt": "forged" } })).await.unwrap();
    let mended = cluster.until("ConfigMap", NAME, |map| map["data"] == data).await;
    assert_eq!(mended["metadata"]["uid"], map["metadata"]["uid"]);
    cluster.create("Namespace", json!({ "metadata": { "name": "ns" } })).await;
    let there = ObjectRef { namespace: "ns", ..object };
    eventually(async || cluster.service.get(&admin(), there).await.ok()).await;
    // A role is of another group than most content.
    let role = json!({ "metadata": { "name": "r" } });
    cluster.service.create(&admin(), role_kind("Role"), "ns", role).await.unwrap();
    cluster.delete("Namespace", "ns", json!({})).await;
    cluster.until_gone("Namespace", "ns").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_have_the_rules_of_those_they_are_made_of() {
    let cluster = Cluster::start().await;
    let rule = json!({ "verbs": ["get"], "apiGroups": ["example.dev"], "resources": ["gadgets"] });
    let labels = json!({ "rbac.authorization.k8s.io/aggregate-to-view": "true" });
    let part = json!({ "metadata": { "name": "gadgets", "labels": labels }, "rules": [rule] });
    cluster.service.create(&admin(), role_kind("ClusterRole"), "", part).await.unwrap();
    for role in ["view", "edit", "admin"] {
        eventually(async || rules(&cluster, role).await.contains("gadgets").then_some(())).await;
    }
    assert!(!rules(&cluster, "system:aggregate-to-view").await.contains("gadgets"));
    cluster.service.delete(&admin(), cluster_role("gadgets"), Value::Null).await.unwrap();
    for role in ["view", "edit", "admin"] {
        eventually(async || (!rules(&cluster, role).await.contains("gadgets")).then_some(())).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_tokens_go_when_their_time_is_over() {
    let cluster = Cluster::start().await;
    let secret = |name: &str, end: &str| {
        let data = json!({ "expiration": end });
        json!({ "metadata": { "name": name }, "type": "bootstrap.kubernetes.io/token", "stringData": data })
    };
    let kind = kind_of("Secret");
    for (name, end) in [
        ("bootstrap-token-abcdef", "2001-01-01T00:00:00Z"),
        ("bootstrap-token-later0", "2999-01-01T00:00:00Z"),
    ] {
        cluster.service.create(&admin(), kind, "kube-system", secret(name, end)).await.unwrap();
    }
    let get = async |name| -> Result<Value, Status> {
        cluster.service.get(&admin(), ObjectRef { kind, namespace: "kube-system", name }).await
    };
    eventually(async || get("bootstrap-token-abcdef").await.err()).await;
    assert!(get("bootstrap-token-later0").await.is_ok());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_says_what_holds_it() {
    let cluster = Cluster::start().await;
    cluster.create("Namespace", json!({ "metadata": { "name": "ns" } })).await;
    let kind = kind_of("ConfigMap");
    let map = json!({ "metadata": { "name": "held", "finalizers": ["x.example/hold"] } });
    cluster.service.create(&admin(), kind, "ns", map).await.unwrap();
    cluster.delete("Namespace", "ns", json!({})).await;
    let message = |namespace: &Value, kind: &str| {
        let conditions = namespace["status"]["conditions"].as_array().into_iter().flatten();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind);
        found.map_or(Value::Null, |condition| condition["message"].clone())
    };
    let remaining = "Some resources are remaining: configmaps. has 1 resource instances";
    let told = cluster
        .until("Namespace", "ns", |namespace| message(namespace, "NamespaceContentRemaining") == remaining)
        .await;
    assert_eq!(
        message(&told, "NamespaceFinalizersRemaining"),
        "Some content in the namespace has finalizers remaining: x.example/hold in 1 resource instances"
    );
    assert_eq!(message(&told, "NamespaceDeletionDiscoveryFailure"), "All resources successfully discovered");
    let held = ObjectRef { kind, namespace: "ns", name: "held" };
    let free = json!({ "metadata": { "finalizers": null } });
    cluster.service.patch(&admin(), held, "", &free).await.unwrap();
    cluster.until_gone("Namespace", "ns").await;
    cluster.stop().await;
}
