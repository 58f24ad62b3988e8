//! What a node may do, through whole requests.

use std::{net::SocketAddr, time::Duration};

use dunlin_link::{
    NodeName, Revision, UnixMillis,
    health::{DiskWrites, Health},
    rpc::Method,
};
use serde_json::json;

use super::{CONFIG_MAPS, Fixture, PODS, Request, pod};
use crate::{
    service::{NodeSessions, User},
    sessions::{LinkFacts, LinkKind, Traffic},
};

#[tokio::test]
async fn a_node_reads_what_its_pods_name_and_nothing_else() {
    let fixture = Fixture::start().await;
    let node = User::node(&NodeName::new("n1"));
    for name in ["named", "other"] {
        fixture.create(CONFIG_MAPS, &json!({"metadata": {"name": name}})).await;
    }
    let mut own = pod("own");
    own["spec"]["nodeName"] = "n1".into();
    own["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "named"}}]);
    fixture.create(PODS, &own).await;
    fixture.create(PODS, &pod("unbound")).await;
    let read = async |path: String, status: u16| {
        fixture.expect_as(status, &node, Request::new(Method::Get, &path)).await
    };
    read(format!("{CONFIG_MAPS}/named"), 200).await;
    read(format!("{CONFIG_MAPS}/other"), 403).await;
    read(CONFIG_MAPS.to_owned(), 403).await;
    read("/api/v1/secrets".to_owned(), 403).await;
    read(format!("{PODS}/own"), 200).await;
    read(format!("{PODS}/unbound"), 403).await;
    read("/api/v1/pods".to_owned(), 403).await;
    let list = Request::new(Method::Get, "/api/v1/pods").with_query("fieldSelector", "spec.nodeName=n1");
    let list = fixture.expect_as(200, &node, list).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let delete = Request::new(Method::Delete, &format!("{PODS}/own"));
    fixture.expect_as(403, &node, delete).await;
}

#[tokio::test]
async fn a_node_watches_its_own_pods_by_name_too() {
    let fixture = Fixture::start().await;
    let node = User::node(&NodeName::new("n1"));
    for (name, bound_to) in [("own", "n1"), ("foreign", "n2")] {
        let mut object = pod(name);
        object["spec"]["nodeName"] = bound_to.into();
        fixture.create(PODS, &object).await;
    }
    let watch = async |name: &str, selector: &str| {
        let path = format!("/api/v1/watch/namespaces/default/pods/{name}");
        let request = Request::new(Method::Get, &path).with_query("timeoutSeconds", "1");
        fixture.send_as(&node, request.with_query("fieldSelector", selector)).await
    };
    assert_eq!(watch("foreign", "spec.nodeName=n2").await.head.status, 403);
    assert_eq!(watch("own", "").await.head.status, 403);
    let (own, foreign) =
        tokio::join!(async { watch("own", "spec.nodeName=n1").await.into_bytes().await.unwrap() }, async {
            watch("foreign", "spec.nodeName=n1").await.into_bytes().await.unwrap()
        },);
    assert!(String::from_utf8_lossy(&own).contains(r#""name":"own""#));
    assert_eq!(String::from_utf8_lossy(&foreign), "");
}

#[tokio::test]
async fn a_node_registers_itself_and_nobody_else() {
    let fixture = Fixture::start().await;
    let node = User::node(&NodeName::new("n1"));
    let register = |name: &str| {
        Request::new(Method::Post, "/api/v1/nodes").with_body(&json!({"metadata": {"name": name}}))
    };
    fixture.expect_as(403, &node, register("n2")).await;
    fixture.expect_as(201, &node, register("n1")).await;
    let mut status = Request::new(Method::Patch, "/api/v1/nodes/n1/status")
        .with_body(&json!({"status": {"capacity": {"cpu": "2"}}}));
    status.content_type = "application/merge-patch+json".to_owned();
    let patched = fixture.expect_as(200, &node, status).await;
    assert_eq!(patched["status"]["capacity"]["cpu"], "2");
    let mut taint =
        Request::new(Method::Patch, "/api/v1/nodes/n1").with_body(&json!({"spec": {"taints": []}}));
    taint.content_type = "application/merge-patch+json".to_owned();
    fixture.expect_as(403, &node, taint).await;
}

#[tokio::test]
async fn a_node_tells_events_about_its_own() {
    let fixture = Fixture::start().await;
    let node = User::node(&NodeName::new("n1"));
    fixture.create(PODS, &pod("foreign")).await;
    let event = |kind: &str, name: &str| {
        let involved = json!({"kind": kind, "namespace": "default", "name": name});
        let object = json!({"metadata": {"generateName": "e-"}, "involvedObject": involved, "reason": "R", "type": "Normal"});
        Request::new(Method::Post, "/api/v1/namespaces/default/events").with_body(&object)
    };
    fixture.expect_as(201, &node, event("Node", "n1")).await;
    fixture.expect_as(403, &node, event("Node", "n2")).await;
    fixture.expect_as(403, &node, event("Pod", "foreign")).await;
    fixture.expect_as(403, &node, event("ConfigMap", "x")).await;
}

#[tokio::test]
async fn endpoints_of_our_own_are_for_administrators() {
    let fixture = Fixture::start().await;
    let node = User::node(&NodeName::new("n1"));
    for (method, path) in [
        (Method::Get, "/dunlin/v1/modules"),
        (Method::Put, "/dunlin/v1/modules"),
        (Method::Get, "/dunlin/v1/tokens"),
    ] {
        let refused = fixture.expect_as(403, &node, Request::new(method, path)).await;
        assert_eq!(refused["reason"], "Forbidden");
    }
    fixture.expect(405, Request::new(Method::Post, "/dunlin/v1/modules")).await;
    fixture.expect(503, Request::new(Method::Get, "/dunlin/v1/tokens")).await;
    for path in ["/livez", "/readyz"] {
        let alive = fixture.send_as(&node, Request::new(Method::Get, path)).await;
        assert_eq!(alive.into_bytes().await.unwrap(), "ok");
    }
    assert_eq!(fixture.send(Request::new(Method::Get, "/dunlin/v1/nothing")).await.head.status, 404);
}

/// Sessions of one node that was heard once.
#[derive(Debug)]
struct OneLink;

impl NodeSessions for OneLink {
    fn disconnect(&self, _node: &NodeName) {}

    fn expel(&self, _node: &NodeName) {}

    fn links(&self) -> Vec<LinkFacts> {
        let traffic = Traffic {
            kind: LinkKind::Tcp,
            peer: SocketAddr::from(([10, 0, 0, 7], 4000)),
            bytes_in: 1,
            bytes_out: 2,
            rtt: Duration::from_micros(3),
            silent: Duration::ZERO,
        };
        let writes = DiskWrites { bytes: 600, span_ms: 600_000 };
        let health = Health { agent_writes: Some(writes), ..Health::default() };
        vec![LinkFacts {
            node: NodeName::new("n1"),
            connected_since: None,
            last_contact: UnixMillis(0),
            sessions: 4,
            protocol: 2,
            applied: Some(Revision(5)),
            wanted: Revision(6),
            is_in_step: false,
            clock_offset_ms: -7,
            certificate_end: UnixMillis(1_000),
            traffic,
            health: Some((health, UnixMillis(0))),
        }]
    }
}

#[tokio::test]
async fn links_are_for_those_who_may_list_nodes() {
    let fixture = Fixture::start().await;
    let links = || Request::new(Method::Get, "/dunlin/v1/nodelinks");
    fixture.expect(503, links()).await;
    fixture.service.attach_sessions(std::sync::Arc::new(OneLink));
    fixture.expect_as(403, &User::node(&NodeName::new("n1")), links()).await;
    let nobody = User::new("x", []);
    fixture.expect_as(403, &nobody, links()).await;
    let link = fixture.expect(200, links()).await["items"][0].take();
    assert_eq!(link["node"], "n1");
    assert_eq!(
        (&link["connectedSince"], &link["lastContact"]),
        (&json!(null), &json!("1970-01-01T00:00:00Z"))
    );
    assert_eq!((&link["appliedRevision"], &link["wantedRevision"]), (&json!(5), &json!(6)));
    assert_eq!((&link["kind"], &link["bytesOut"]), (&json!("tcp"), &json!(2)));
    assert_eq!(link["health"]["diskWrites"]["bytesPerDay"], 86_400);
}
