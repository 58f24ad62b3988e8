//! `metrics.k8s.io`: what is made of the answers of nodes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dunlin_link::{
    Bytes, NodeName, PodUid,
    frame::encode,
    usage::{ContainerThrottle, ContainerUsage, MachineUsage, frames},
};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::*;
use crate::{
    service::PodStreams,
    sessions::{NodeStream, OpenStreamError, StreamOpen},
};

/// The node `n1`, where a second passes with each answer; all others are away.
#[derive(Debug)]
struct Node {
    pod: PodUid,
    answers: AtomicU64,
}

impl PodStreams for Node {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        assert_eq!(open, StreamOpen::Usage);
        Box::pin(async move {
            if node.as_str() != "n1" {
                return Err(OpenStreamError::NotConnected(node.clone()));
            }
            let seconds = self.answers.fetch_add(1, Ordering::Relaxed);
            let machine = MachineUsage {
                uptime_us: 60_000_000 + seconds * 1_000_000,
                cpu_us: seconds * 1_500_000,
                memory: Bytes(3 << 20),
            };
            let usage = |container: &str, milli: u64| ContainerUsage {
                uid: self.pod.clone(),
                container: container.to_owned(),
                attempt: 0,
                cpu_us: seconds * milli * 1000,
                memory: Bytes(1536 << 10),
            };
            let (mut ours, theirs) = duplex(1 << 16);
            ours.write_all(&encode(&machine)).await.unwrap();
            let (uid, container) = (self.pod.clone(), "a".to_owned());
            let throttled_us = seconds * 125_000;
            let throttles = vec![ContainerThrottle { uid, container, attempt: 0, throttled_us }];
            for frame in frames(vec![usage("a", 250), usage("b", 3)], throttles) {
                ours.write_all(&frame).await.unwrap();
            }
            Ok(NodeStream::new(theirs))
        })
    }
}

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

async fn cluster() -> (Fixture, Arc<Node>) {
    let fixture = Fixture::start().await;
    for (name, node) in [("p", "n1"), ("q", "n2")] {
        let mut object = pod(name);
        object["spec"]["nodeName"] = node.into();
        object["metadata"]["labels"] = json!({"on": node});
        fixture.create(PODS, &object).await;
        fixture.create("/api/v1/nodes", &json!({"metadata": {"name": node}})).await;
    }
    fixture.create(PODS, &pod("waiting")).await;
    let uid = fixture.get(&format!("{PODS}/p")).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let node = Arc::new(Node { pod: PodUid::new(uid), answers: AtomicU64::new(0) });
    fixture.service.attach_streams(Arc::clone(&node) as Arc<dyn PodStreams>);
    (fixture, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_the_rate_between_two_answers() {
    let (fixture, node) = cluster().await;
    let pods = fixture.get(&format!("{METRICS}/namespaces/default/pods")).await;
    assert_eq!((&pods["kind"], &pods["metadata"]), (&json!("PodMetricsList"), &json!({})));
    let [found] = pods["items"].as_array().unwrap().as_slice() else { panic!("{pods}") };
    let throttled = json!({"cpu": "250m", "dunlin.dev/throttled-cpu": "125m", "memory": "1536Ki"});
    let idle = json!({"cpu": "3m", "memory": "1536Ki"});
    let containers = json!([{"name": "a", "usage": throttled}, {"name": "b", "usage": idle}]);
    assert_eq!((&found["containers"], &found["window"]), (&containers, &json!("1s")));
    assert_eq!(found["metadata"]["labels"], json!({"on": "n1"}));
    let nodes = fixture.get(&format!("{METRICS}/nodes")).await;
    let [found] = nodes["items"].as_array().unwrap().as_slice() else { panic!("{nodes}") };
    assert_eq!(found["usage"], json!({"cpu": "1500m", "memory": "3Mi"}));
    let one = fixture.get(&format!("{METRICS}/namespaces/default/pods/p")).await;
    assert_eq!((&one["kind"], &one["containers"]), (&json!("PodMetrics"), &containers));
    // All of that cost one question, which takes two answers.
    assert_eq!(node.answers.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_is_known_of_is_not_found() {
    let (fixture, _) = cluster().await;
    let check = async |path: &str, name: &str, kind: &str| {
        let status = fixture.expect(404, Request::new(Method::Get, &format!("{METRICS}/{path}"))).await;
        assert_eq!(status["message"], format!("{kind}.metrics.k8s.io \"{name}\" not found"));
        assert_eq!(status["reason"], "NotFound");
    };
    check("namespaces/default/pods/absent", "default/absent", "podmetrics").await;
    check("namespaces/default/pods/waiting", "default/waiting", "podmetrics").await;
    check("namespaces/default/pods/q", "default/q", "podmetrics").await;
    check("nodes/absent", "absent", "nodemetrics").await;
    check("nodes/n2", "n2", "nodemetrics").await;
    let none = Request::new(Method::Get, &format!("{METRICS}/pods")).with_query("labelSelector", "on=n2");
    assert_eq!(fixture.expect(200, none).await["items"], json!([]));
    fixture.expect(405, Request::new(Method::Delete, &format!("{METRICS}/nodes/n1"))).await;
    let watch = Request::new(Method::Get, &format!("{METRICS}/nodes")).with_query("watch", "true");
    fixture.expect(405, watch).await;
}
