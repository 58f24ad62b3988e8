//! A node's registration, and that nothing is written when nothing changed.

use dunlin_link::{
    Bytes, MilliCpu, NodeName,
    container_support::ContainerSupport,
    node_network::NodeNetwork,
    node_state::{NodeImage, NodeState},
    status::{NodeFacts, NodeResources},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    forget_network, mark_known, mark_unknown, merge_labels, merge_network, merge_state, merge_status,
    new_node,
};

fn facts() -> NodeFacts {
    let amounts = NodeResources {
        cpu: MilliCpu(3500),
        memory: Bytes(2 << 30),
        ephemeral_storage: Bytes(10 << 30),
        pods: 250,
    };
    NodeFacts {
        architecture: "arm64".into(),
        operating_system: "linux".into(),
        kernel_version: "6.12".into(),
        os_image: "Debian".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        version: "v0.1.0".into(),
        runtime_version: "wasmtime://48.0.0".into(),
        hostname: "box".into(),
        addresses: vec!["192.0.2.1".into()],
        capacity: amounts,
        allocatable: amounts,
        labels: vec![("zone".into(), "a".into()), ("kubernetes.io/arch".into(), "forged".into())],
        taints: vec![("edge".into(), "".into(), "NoSchedule".into())],
        containers: None,
        huge_pages: Vec::new(),
    }
}

#[test]
fn a_new_node_is_what_clients_expect() {
    let name = NodeName::new("n1");
    let node = new_node(&name, &facts(), Timestamp::UNIX_EPOCH);
    let labels = json!({
        "beta.kubernetes.io/arch": "arm64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64",
        "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "dunlin.dev/runtime": "wasmtime", "zone": "a",
    });
    assert_eq!(node["metadata"]["labels"], labels);
    assert_eq!(node["spec"]["taints"], json!([{ "key": "edge", "effect": "NoSchedule" }]));
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.36.2+dunlin-0.1.0");
    let amounts = json!({ "cpu": "3500m", "memory": "2Gi", "ephemeral-storage": "10Gi", "pods": "250" });
    assert_eq!(node["status"]["allocatable"], amounts);
    let addresses =
        json!([{ "type": "InternalIP", "address": "192.0.2.1" }, { "type": "Hostname", "address": "box" }]);
    assert_eq!(node["status"]["addresses"], addresses);
    assert_eq!(
        node["status"]["conditions"][3],
        json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": "1970-01-01T00:00:00Z", "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    );
}

#[test]
fn large_pages_are_resources_of_a_node() {
    let huge_pages = vec![(Bytes(64 << 10), Bytes(0)), (Bytes(2 << 20), Bytes(64 << 20))];
    let facts = NodeFacts { huge_pages, ..facts() };
    let mut node = new_node(&NodeName::new("n1"), &facts, Timestamp::UNIX_EPOCH);
    for list in ["capacity", "allocatable"] {
        assert_eq!(node["status"][list]["hugepages-2Mi"], "64Mi");
        assert_eq!(node["status"][list]["hugepages-64Ki"], "0");
    }
    assert!(!merge_status(&mut node, &facts, Timestamp::UNIX_EPOCH));
}

#[test]
fn only_what_differs_is_changed() {
    let name = NodeName::new("n1");
    let later = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60);
    let mut node = new_node(&name, &facts(), Timestamp::UNIX_EPOCH);
    assert!(!merge_labels(&mut node, &name, &facts()) && !merge_status(&mut node, &facts(), later));

    node["metadata"]["labels"]["mine"] = json!("kept");
    node["metadata"]["labels"]["kubernetes.io/os"] = json!("windows");
    assert!(merge_labels(&mut node, &name, &facts()));
    assert_eq!(node["metadata"]["labels"]["mine"], "kept");
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");

    node["status"]["conditions"][3]["status"] = json!("Unknown");
    assert!(merge_status(&mut node, &facts(), later));
    assert_eq!(node["status"]["conditions"][3]["status"], "True");
    assert_eq!(node["status"]["conditions"][3]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    assert_eq!(node["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
}

#[test]
fn a_node_says_what_it_runs_short_of_until_it_says_otherwise() {
    let condition = |node: &Value, kind: &str| {
        let conditions = node["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
    };
    let (name, now) = (NodeName::new("n1"), Timestamp::UNIX_EPOCH);
    let mut node = new_node(&name, &NodeFacts::default(), now);
    let image = NodeImage { names: vec!["hello:1".into()], size: Bytes(7) };
    let state = NodeState { memory_pressure: true, images: vec![image], ..NodeState::default() };
    assert!(merge_state(&mut node, &state, now));
    assert!(!merge_state(&mut node, &state, now));
    let short = ("True".to_owned(), "KubeletHasInsufficientMemory".to_owned());
    assert_eq!(condition(&node, "MemoryPressure"), short);
    assert_eq!(condition(&node, "Ready").0, "True");
    assert_eq!(node["status"]["images"], json!([{ "names": ["hello:1"], "sizeBytes": 7 }]));
    // A session that opens says nothing of it; neither does silence for good.
    assert!(!merge_status(&mut node, &NodeFacts::default(), now));
    assert_eq!(condition(&node, "MemoryPressure"), short);
    mark_unknown(&mut node, now);
    assert!(mark_known(&mut node, now));
    assert_eq!(condition(&node, "MemoryPressure").0, "False");
    let going = NodeState { shutting_down: true, ..NodeState::default() };
    assert!(merge_state(&mut node, &going, now));
    assert_eq!(condition(&node, "Ready"), ("False".to_owned(), "KubeletNotReady".to_owned()));
    assert!(node["status"].get("images").is_none());
    assert!(merge_state(&mut node, &NodeState::default(), now));
    assert_eq!(condition(&node, "Ready"), ("True".to_owned(), "KubeletReady".to_owned()));
}

#[test]
fn a_node_says_whether_it_runs_containers_and_why_not() {
    let (name, now) = (NodeName::new("n1"), Timestamp::UNIX_EPOCH);
    let later = now + SignedDuration::from_secs(60);
    let of = |support| NodeFacts { containers: support, ..facts() };
    let lacks = ContainerSupport::Lacks {
        reason: "NoRuntime".into(),
        message: "no OCI runtime is installed; run `apt install crun`".into(),
    };
    let lacks = of(Some(Box::new(lacks)));
    let mut node = new_node(&name, &lacks, now);
    assert_eq!(node["metadata"]["labels"]["dunlin.dev/containers"], "false");
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "wasmtime://48.0.0");
    let condition = json!({
        "type": "ContainersUnavailable", "status": "True", "reason": "NoRuntime",
        "message": "no OCI runtime is installed; run `apt install crun`",
        "lastHeartbeatTime": "1970-01-01T00:00:00Z", "lastTransitionTime": "1970-01-01T00:00:00Z",
    });
    assert_eq!(node["status"]["conditions"][4], condition);
    assert!(!merge_status(&mut node, &lacks, later));

    let runs =
        ContainerSupport::Runs { runtime: "crun".into(), version: "1.8.1".into(), recursive_read_only: true };
    let runs = of(Some(Box::new(runs)));
    assert!(merge_status(&mut node, &runs, later) && merge_labels(&mut node, &name, &runs));
    assert!(!merge_status(&mut node, &runs, later));
    assert_eq!(node["metadata"]["labels"]["dunlin.dev/containers"], "true");
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "wasmtime://48.0.0 (crun 1.8.1)");
    assert_eq!(node["status"]["conditions"][4]["status"], "False");
    assert_eq!(node["status"]["conditions"][4]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    let features = json!({ "recursiveReadOnlyMounts": true, "userNamespaces": false });
    let handlers = json!([{ "name": "", "features": features }, { "name": "crun", "features": features }]);
    assert_eq!(node["status"]["runtimeHandlers"], handlers);
    assert_eq!(node["status"]["features"]["supplementalGroupsPolicy"], true);

    // What it says of its network stays by that.
    let network = NodeNetwork::Lacks { message: "no rights".into() };
    assert!(merge_network(&mut node, &network, later) && !merge_network(&mut node, &network, later));
    let condition = node["status"]["conditions"][5].clone();
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"], &condition["message"]),
        (&json!("NetworkUnavailable"), &json!("True"), &json!("PodNetworkNotReady"), &json!("no rights"))
    );
    assert!(!merge_status(&mut node, &runs, later));
    for (limits, reason) in [("no host ports", "PodNetworkLimited"), ("", "PodNetworkReady")] {
        assert!(merge_network(&mut node, &NodeNetwork::Works { limits: limits.into() }, later));
        let condition = &node["status"]["conditions"][5];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!(reason)));
    }
    // One that tells nothing of it any more; what somebody else says stays.
    assert!(forget_network(&mut node) && node["status"]["conditions"].get(5).is_none());
    let foreign = json!({ "type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated" });
    node["status"]["conditions"].as_array_mut().unwrap().push(foreign);
    assert!(!forget_network(&mut node));
    node["status"]["conditions"].as_array_mut().unwrap().pop();

    // An older version of the node says nothing of it.
    assert!(merge_status(&mut node, &of(None), later));
    assert!(node["status"].get("runtimeHandlers").is_none() && node["status"]["conditions"].get(4).is_none());
}
