//! Mirrors of static pods: what a node states and tells comes in as from a session, what the API shows is looked at as a user.

use dunlin_api::kind::pod::MIRROR;
use dunlin_link::statics::{StaticPod, StaticPodName};

use super::{
    Cluster, ListOptions, LocalEndpoint, NodeName, PodPhase, PodStatusReport, PodUid, Recorded,
    TOMBSTONES_PREFIX, Value, eventually, json, pod, status,
};
use crate::{mirrors::Tended, service::stored};

fn named(uid: &str, name: &str) -> StaticPodName {
    StaticPodName { uid: PodUid::new(uid), namespace: "default".to_owned(), name: name.to_owned() }
}

fn manifest(name: &str) -> Value {
    let container = json!({ "name": "c", "image": "web", "resources": { "requests": { "cpu": "10m" } } });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "containers": [container] },
    })
}

impl Cluster {
    fn state(&self, pods: &[StaticPodName]) {
        self.intake.static_pods(&node(), pods.to_vec());
    }

    /// Looks after the mirrors as a session does until the node is asked something, and answers that.
    async fn asked(&self) -> Vec<String> {
        eventually(async || {
            let asked = self.intake.tend_mirrors(&node()).await.ask;
            (!asked.is_empty()).then_some(asked)
        })
        .await
        .iter()
        .map(ToString::to_string)
        .collect()
    }

    async fn tell(&self, uid: &str, manifest: &Value) {
        let pod = StaticPod { uid: PodUid::new(uid), object: manifest.to_string().into_bytes() };
        self.intake.static_pod(&node(), pod).await;
    }

    /// Looks after the mirrors until nothing is left to do, and nobody had to be asked for that.
    async fn settled(&self) {
        eventually(async || {
            let tended = self.intake.tend_mirrors(&node()).await;
            assert_eq!(tended.ask, []);
            (!tended.again).then_some(())
        })
        .await;
    }

    /// Makes a mirror from nothing.
    async fn mirror(&self, uid: &str, name: &str) -> Value {
        self.state(&[named(uid, name)]);
        assert_eq!(self.asked().await, [uid]);
        self.tell(uid, &manifest("web")).await;
        self.settled().await;
        self.get("Pod", name).await.unwrap()
    }

    async fn complaints(&self) -> usize {
        let options =
            ListOptions { prefix: "/registry/events/".to_owned(), after: None, limit: None, at: None };
        let page = self.store.list(options).await.unwrap();
        let events = page.items.iter().map(|item| stored::decode(&item.value, item.mod_revision).unwrap());
        events.filter(|event| event["reason"] == "FailedMirrorPod").count()
    }
}

fn node() -> NodeName {
    NodeName::new("n1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_pod_is_shown_with_its_status_and_sent_to_nobody() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let mirror = cluster.mirror("u1", "web-n1").await;
    let (metadata, spec) = (&mirror["metadata"], &mirror["spec"]);
    for (name, value) in
        [(MIRROR, "u1"), ("kubernetes.io/config.hash", "u1"), ("kubernetes.io/config.source", "file")]
    {
        assert_eq!(metadata["annotations"][name], value);
    }
    let owner = cluster.get("Node", "n1").await.unwrap();
    let reference = json!([{
        "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": owner["metadata"]["uid"], "controller": true,
    }]);
    assert_eq!((&metadata["ownerReferences"], &metadata["labels"]), (&reference, &json!({ "app": "web" })));
    assert_eq!(spec["tolerations"], json!([{ "operator": "Exists", "effect": "NoExecute" }]));
    assert_eq!((&spec["nodeName"], &spec["serviceAccountName"]), (&json!("n1"), &Value::Null));
    assert_ne!(metadata["uid"], "u1");

    let endpoint = LocalEndpoint { container_port: 80, address: "127.42.0.1:80".into() };
    let report = PodStatusReport {
        local_endpoints: vec![endpoint],
        ..status(&PodUid::new("u1"), "web-n1", 1, PodPhase::Running)
    };
    assert_eq!(cluster.report("n1", report.clone()).await, Recorded::Done);
    let mirror = cluster.get("Pod", "web-n1").await.unwrap();
    assert_eq!(
        (&mirror["status"]["phase"], &mirror["status"]["podIP"]),
        (&json!("Running"), &json!(report.pod_ip))
    );
    assert_eq!(cluster.report("n2", report).await, Recorded::Gone, "another node's word counts for nothing");
    assert!(cluster.dispatch.desired(&node()).pods.is_empty());
    assert_eq!(cluster.service.held_pods().of(&node()), []);

    // Coming back with the same is no news, and writes nothing.
    let before = cluster.get("Pod", "web-n1").await.unwrap();
    cluster.state(&[named("u1", "web-n1")]);
    cluster.settled().await;
    assert_eq!(cluster.get("Pod", "web-n1").await.unwrap(), before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_comes_back_follows_its_manifest_and_goes_with_it() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let first = cluster.mirror("u1", "web-n1").await;
    cluster.delete("Pod", "web-n1", json!({})).await;
    cluster.until_gone("Pod", "web-n1").await;
    assert_eq!(cluster.keys(TOMBSTONES_PREFIX).await, 0, "no node stops anything for it");
    let second = cluster.mirror("u1", "web-n1").await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);

    let third = cluster.mirror("u2", "web-n1").await;
    assert_eq!(third["metadata"]["annotations"][MIRROR], "u2");
    // The node was away when the manifest went.
    cluster.intake.disconnected(&node()).await;
    assert_eq!(cluster.intake.tend_mirrors(&node()).await, Tended::default());
    cluster.get("Pod", "web-n1").await.unwrap();
    cluster.connect("n1", 10).await;
    cluster.state(&[]);
    cluster.settled().await;
    cluster.until_gone("Pod", "web-n1").await;

    // And with its node.
    cluster.mirror("u3", "web-n1").await;
    cluster.delete("Node", "n1", json!({})).await;
    cluster.until_gone("Pod", "web-n1").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_the_same_name_is_not_touched_and_the_conflict_is_told_once() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let mut other = pod("web-n1");
    other["spec"]["nodeName"] = "n2".into();
    let other = cluster.create("Pod", other).await;
    cluster.state(&[named("u1", "web-n1")]);
    for _ in 0..3 {
        // The first may come before the store is read.
        let tended = cluster.intake.tend_mirrors(&node()).await;
        assert!(tended.ask.is_empty() && tended.again);
    }
    eventually(async || (cluster.complaints().await > 0).then_some(())).await;
    assert_eq!(cluster.complaints().await, 1);
    let report = status(&PodUid::new("u1"), "web-n1", 1, PodPhase::Running);
    assert_eq!(cluster.report("n1", report).await, Recorded::Gone);
    assert_eq!(cluster.get("Pod", "web-n1").await.unwrap(), other);
    assert_eq!(cluster.service.held_pods().of(&node()), [], "it is the node's own and not left over");
    // When the other has gone, there is room.
    cluster.delete("Pod", "web-n1", json!({ "gracePeriodSeconds": 0 })).await;
    cluster.mirror("u1", "web-n1").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_is_told_and_not_asked_again() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 10).await;
    let away = StaticPodName { namespace: "nowhere".to_owned(), ..named("u0", "away-n1") };
    let bad = [named("u1", "empty-n1"), named("u2", "odd-n1"), named("u3", "secret-n1"), away];
    cluster.state(&bad);
    assert_eq!(cluster.asked().await, ["u1", "u2", "u3"], "nobody asks for what has no namespace");
    let empty = StaticPod { uid: PodUid::new("u1"), object: Vec::new() };
    cluster.intake.static_pod(&node(), empty).await;
    cluster.tell("u2", &json!({ "spec": { "containers": "many" } })).await;
    let mut secret = manifest("secret");
    secret["spec"]["volumes"] = json!([{ "name": "v", "secret": { "secretName": "s" } }]);
    cluster.tell("u3", &secret).await;
    // What nobody stated is nobody's.
    cluster.tell("u9", &manifest("web")).await;
    eventually(async || (cluster.complaints().await == 4).then_some(())).await;
    assert_eq!(cluster.keys("/registry/pods/").await, 0);
    let tended = cluster.intake.tend_mirrors(&node()).await;
    assert_eq!((tended.ask.len(), tended.again), (0, true), "a refusal of the moment is tried again");
    // Another manifest is another pod.
    cluster.state(&[named("u4", "odd-n1")]);
    assert_eq!(cluster.asked().await, ["u4"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_about_few_at_a_time() {
    let cluster = Cluster::start().await;
    cluster.connect("n1", 100).await;
    let pods: Vec<_> =
        (0..20).map(|index| named(&format!("u{index:02}"), &format!("p{index:02}-n1"))).collect();
    cluster.state(&pods);
    let mut rounds = Vec::new();
    while cluster.keys("/registry/pods/").await < 20 {
        let asked = cluster.asked().await;
        rounds.push(asked.len());
        for uid in asked {
            cluster.tell(&uid, &manifest("web")).await;
        }
    }
    assert!(rounds.len() >= 3 && rounds.iter().all(|asked| *asked <= 8), "{rounds:?}");
    cluster.settled().await;
    cluster.stop().await;
}
