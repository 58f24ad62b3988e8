//! Core dumps: who may fetch one, and that what a node sends is bounded.

use std::sync::{Arc, Mutex};

use dunlin_link::{NodeName, PodUid, stream::StreamRefusal};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::*;
use crate::{
    service::PodStreams,
    sessions::{NodeStream, OpenStreamError, StreamOpen},
};

/// A node that sends without end, but for the container `none`.
#[derive(Debug, Default)]
struct Node {
    asked: Mutex<Vec<StreamOpen>>,
}

impl PodStreams for Node {
    fn open<'a>(
        &'a self,
        _node: &'a NodeName,
        open: StreamOpen,
    ) -> BoxFuture<'a, Result<NodeStream, OpenStreamError>> {
        let is_there = !matches!(&open, StreamOpen::CoreDump { container, .. } if container == "none");
        self.asked.lock().unwrap().push(open);
        Box::pin(async move {
            if !is_there {
                let message = "container \"none\" left no core dump".to_owned();
                return Err(OpenStreamError::Refused { reason: StreamRefusal::NotRunning, message });
            }
            let (mut ours, theirs) = duplex(1 << 16);
            // Until whoever reads has left.
            tokio::spawn(async move { while ours.write_all(&[7; 1 << 16]).await.is_ok() {} });
            Ok(NodeStream::new(theirs))
        })
    }
}

#[tokio::test]
async fn a_core_dump_is_for_who_may_have_it_and_bounded() {
    let fixture = Fixture::start().await;
    let node = Arc::new(Node::default());
    fixture.service.attach_streams(Arc::clone(&node) as Arc<dyn PodStreams>);
    let mut object = pod("p");
    object["spec"]["nodeName"] = "n1".into();
    object["spec"]["containers"] = json!([{"name": "main", "image": "x"}, {"name": "none", "image": "x"}]);
    let uid = fixture.create(PODS, &object).await["metadata"]["uid"].as_str().unwrap().to_owned();
    fixture.create(PODS, &pod("unbound")).await;
    let of = |pod: &str, container: &str| {
        let path = format!("/dunlin/v1/namespaces/default/pods/{pod}/coredump");
        Request::new(Method::Get, &path).with_query("container", container)
    };
    let bob = User::new("bob", ["system:authenticated".to_owned()]);
    let refused = fixture.expect_as(403, &bob, of("p", "main")).await;
    assert!(
        refused["message"].as_str().unwrap().contains("cannot get resource \"pods/coredump\""),
        "{refused}"
    );
    fixture.expect_as(403, &bob, of("absent", "main")).await;
    assert_eq!(*node.asked.lock().unwrap(), []);
    fixture.expect(404, of("absent", "main")).await;
    fixture.expect(400, of("p", "other")).await;
    fixture.expect(400, of("unbound", "c")).await;
    let missing = fixture.expect(404, of("p", "none")).await;
    assert_eq!(missing["message"], "container \"none\" left no core dump");

    let response = fixture.send(of("p", "main")).await;
    assert_eq!((response.head.status, &*response.head.content_type), (200, "application/wasm"));
    let error = response.into_bytes().await.unwrap_err();
    assert_eq!(error.to_string(), "it is longer than it may be", "a part of it would look whole");
    let open = StreamOpen::CoreDump { uid: PodUid::new(uid), container: "main".to_owned() };
    assert_eq!(node.asked.lock().unwrap().last(), Some(&open));
}
