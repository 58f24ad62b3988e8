//! What is written of the pods behind Services.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::world::{World, id},
    legacy,
};

/// A world with the nodes `n1` and `n2`, which are in zones of these names.
fn world() -> World {
    let mut world = World::new();
    for (node, zone) in [("n1", "z1"), ("n2", "z2")] {
        world.apply(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": node, "labels": { "topology.kubernetes.io/zone": zone } },
        }));
    }
    world
}

fn service(spec: Value) -> Value {
    let metadata = json!({ "name": "web", "namespace": "default", "labels": { "team": "a" } });
    let mut service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec });
    for (field, value) in [
        ("clusterIP", json!("10.43.0.9")),
        ("ipFamilies", json!(["IPv4"])),
        ("selector", json!({ "app": "web" })),
        ("ports", json!([{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http" }])),
    ] {
        if service["spec"].get(field).is_none() {
            service["spec"][field] = value;
        }
    }
    service
}

/// A pod on `n1` whose port `http` is 8080.
fn pod(number: u32, ready: &str) -> Value {
    let [_, _, high, low] = number.to_be_bytes();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("p{number:04}"), "namespace": "default", "labels": { "app": "web" } },
        "spec": {
            "nodeName": "n1",
            "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": 8080 }] }],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{ "ip": format!("10.42.{high}.{low}") }],
            "conditions": [
                { "type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:05Z" },
            ],
        },
    })
}

fn slices(world: &World) -> Vec<Value> {
    world.of("endpointslices", "web-")
}

fn endpoints(world: &World) -> Value {
    world.objects[&id("v1", "Endpoints", "web")].clone()
}

/// How many endpoints each slice has, the largest first.
fn sizes(world: &World) -> Vec<usize> {
    let size = |slice: &Value| slice["endpoints"].as_array().map_or(0, Vec::len);
    let mut sizes: Vec<_> = slices(world).iter().map(size).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

#[test]
fn a_service_has_a_slice_and_endpoints_of_its_pods() {
    let mut world = world();
    world.apply(service(json!({})));
    // An empty slice says that it was looked at.
    assert_eq!(sizes(&world), [0]);
    world.apply(pod(1, "True"));
    world.apply(pod(2, "False"));
    let [slice] = &slices(&world)[..] else { panic!("one slice") };
    let labels = json!({
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    });
    assert_eq!(slice["metadata"]["labels"], labels);
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]));
    let uid = |name: &str| world.objects[&id("v1", "Pod", name)]["metadata"]["uid"].clone();
    let expected = json!({
        "addresses": ["10.42.0.1"],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": "n1",
        "targetRef": { "kind": "Pod", "namespace": "default", "name": "p0001", "uid": uid("p0001") },
        "zone": "z1",
    });
    assert_eq!(slice["endpoints"][0], expected);
    let ready = json!({ "ready": false, "serving": false, "terminating": false });
    assert_eq!(slice["endpoints"][1]["conditions"], ready);

    let endpoints = endpoints(&world);
    let labels = json!({ "team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller" });
    assert_eq!(endpoints["metadata"]["labels"], labels);
    let address = |number: u32| {
        let name = format!("p000{number}");
        let target = json!({ "kind": "Pod", "namespace": "default", "name": name, "uid": uid(&name) });
        json!({ "ip": format!("10.42.0.{number}"), "nodeName": "n1", "targetRef": target })
    };
    let subset = json!({
        "addresses": [address(1)],
        "notReadyAddresses": [address(2)],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    assert_eq!(endpoints["subsets"], json!([subset]));
}

#[test]
fn a_pod_that_is_about_to_go_serves_no_more() {
    let mut world = world();
    world.apply(service(json!({})));
    world.apply(pod(1, "True"));
    let deleting = json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:01:00Z" } });
    world.patch(&id("v1", "Pod", "p0001"), &deleting);
    let conditions = json!({ "ready": false, "serving": true, "terminating": true });
    assert_eq!(slices(&world)[0]["endpoints"][0]["conditions"], conditions);
    assert_eq!(endpoints(&world)["subsets"], json!([]));
    // One that has ended is no endpoint at all.
    world.patch(&id("v1", "Pod", "p0001"), &json!({ "status": { "phase": "Failed" } }));
    assert_eq!(sizes(&world), [0]);
    world.remove(&id("v1", "Pod", "p0001"));
    assert_eq!(sizes(&world), [0]);
}

#[test]
fn unready_pods_are_published_for_whoever_asks_for_them() {
    let mut world = world();
    world.apply(service(json!({ "publishNotReadyAddresses": true, "clusterIP": "None" })));
    let mut first = pod(1, "False");
    first["spec"]["hostname"] = "first".into();
    first["spec"]["subdomain"] = "web".into();
    world.apply(first);
    world.patch(
        &id("v1", "Pod", "p0001"),
        &json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:01:00Z" } }),
    );
    let slice = &slices(&world)[0];
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(slice["endpoints"][0]["hostname"], "first");
    let conditions = json!({ "ready": true, "serving": false, "terminating": true });
    assert_eq!(slice["endpoints"][0]["conditions"], conditions);
    let address = &endpoints(&world)["subsets"][0]["addresses"][0];
    assert_eq!((&address["ip"], &address["hostname"]), (&json!("10.42.0.1"), &json!("first")));
}

#[test]
fn pods_with_other_ports_are_in_slices_of_their_own() {
    let mut world = world();
    world.apply(service(json!({ "ports": [
        { "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http" },
        { "name": "plain", "port": 81, "protocol": "TCP", "targetPort": 9000 },
    ] })));
    world.apply(pod(1, "True"));
    let mut other = pod(2, "True");
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 8081.into();
    world.apply(other);
    let mut without = pod(3, "True");
    without["spec"]["containers"] = json!([{ "name": "c" }]);
    world.apply(without);
    let numbers = |slice: &Value| -> Vec<i64> {
        slice["ports"].as_array().unwrap().iter().map(|port| port["port"].as_i64().unwrap()).collect()
    };
    let mut ports: Vec<_> = slices(&world).iter().map(numbers).collect();
    ports.sort();
    assert_eq!(ports, [vec![8080, 9000], vec![8081, 9000], vec![9000]]);
    // By the addresses that they lead to: one port leads to all.
    let mut counts: Vec<_> = endpoints(&world)["subsets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subset| (subset["ports"][0]["port"].as_i64(), subset["addresses"].as_array().unwrap().len()))
        .collect();
    counts.sort();
    assert_eq!(counts, [(Some(8080), 1), (Some(8081), 1), (Some(9000), 3)]);
}

#[test]
fn few_slices_are_written_as_pods_come_and_go() {
    let mut world = world();
    world.apply(service(json!({})));
    (0..250).for_each(|number| world.apply(pod(number, "True")));
    assert_eq!(sizes(&world), [100, 100, 50]);
    let before = world.writes;
    world.remove(&id("v1", "Pod", "p0003"));
    world.apply(pod(3, "True"));
    // One slice and the Endpoints, for each of the two.
    assert_eq!(world.writes - before, 4);
    assert_eq!(sizes(&world), [100, 100, 50]);
    world.settle();
    assert_eq!(world.writes - before, 4);
}

#[test]
fn endpoints_hold_a_thousand_addresses_at_most() {
    let mut world = world();
    (0..1005).for_each(|number| world.apply(pod(number, if number < 600 { "True" } else { "False" })));
    world.apply(service(json!({})));
    assert_eq!(sizes(&world).iter().sum::<usize>(), 1005);
    let of = endpoints(&world);
    assert_eq!(of["metadata"]["annotations"][legacy::OVER_CAPACITY], "truncated");
    let count = |field: &str| of["subsets"][0][field].as_array().unwrap().len();
    assert_eq!((count("addresses"), count("notReadyAddresses")), (600, legacy::ADDRESSES_MAX - 600));
    let before = world.writes;
    world.settle();
    assert_eq!(world.writes, before);
    world.remove(&id("v1", "Pod", "p1004"));
    (1000..1004).for_each(|number| world.remove(&id("v1", "Pod", &format!("p{number:04}"))));
    assert!(endpoints(&world)["metadata"]["annotations"].get(legacy::OVER_CAPACITY).is_none());
}

#[test]
fn the_time_of_the_change_is_told() {
    let mut world = world();
    world.apply(service(json!({})));
    let time = |world: &World| {
        let of = |object: &Value| {
            object["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"].clone()
        };
        (of(&slices(world)[0]), of(&endpoints(world)))
    };
    let created = json!("2026-01-01T00:00:00Z");
    assert_eq!(time(&world), (created.clone(), created));
    world.apply(pod(1, "True"));
    let ready = json!("2026-01-01T00:00:05Z");
    assert_eq!(time(&world), (ready.clone(), ready));
    world.remove(&id("v1", "Pod", "p0001"));
    assert_eq!(time(&world), (Value::Null, Value::Null));
}

#[test]
fn nodes_and_zones_count() {
    let mut world = world();
    world.apply(service(json!({ "trafficDistribution": "PreferSameNode" })));
    let mut lost = pod(1, "True");
    lost["spec"]["nodeName"] = "n9".into();
    world.apply(lost);
    assert_eq!(sizes(&world), [0]);
    let metadata = json!({ "name": "n9", "labels": { "topology.kubernetes.io/zone": "z9" } });
    world.apply(json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata }));
    let endpoint = slices(&world)[0]["endpoints"][0].clone();
    assert_eq!(endpoint["zone"], "z9");
    let hints = json!({ "forNodes": [{ "name": "n9" }], "forZones": [{ "name": "z9" }] });
    assert_eq!(endpoint["hints"], hints);
    world.apply(service(json!({ "trafficDistribution": "PreferClose" })));
    assert_eq!(slices(&world)[0]["endpoints"][0]["hints"], json!({ "forZones": [{ "name": "z9" }] }));
}

#[test]
fn what_goes_is_deleted() {
    let mut world = world();
    world.apply(service(json!({})));
    world.apply(pod(1, "True"));
    world.remove(&id("v1", "Service", "web"));
    assert!(world.of("endpoints", "web").is_empty());
    // Slices go as what is owned goes. Those of another Service of the name are written anew.
    world.apply(service(json!({})));
    assert_eq!(slices(&world).len(), 1);
    assert_eq!(sizes(&world), [1]);
    world.pass(Duration::from_secs(60));
    // A slice that somebody deletes or changes comes back.
    let key =
        id("discovery.k8s.io/v1", "EndpointSlice", slices(&world)[0]["metadata"]["name"].as_str().unwrap());
    world.patch(&key, &json!({ "endpoints": [], "metadata": { "labels": { "own": "x" } } }));
    let slice = &slices(&world)[0];
    assert_eq!(sizes(&world), [1]);
    assert!(slice["metadata"]["labels"].get("own").is_none());
    world.remove(&key);
    assert_eq!(sizes(&world), [1]);
}

#[test]
fn endpoints_that_somebody_wrote_are_mirrored() {
    let mut world = world();
    world.apply(service(json!({ "selector": {} })));
    assert!(slices(&world).is_empty() && world.of("endpoints", "web").is_empty());
    let subsets = json!([{
        "addresses": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }],
        "notReadyAddresses": [{ "ip": "192.0.2.2", "hostname": "two" }],
        "ports": [{ "port": 443, "protocol": "TCP" }],
    }]);
    let mut written = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": "web", "namespace": "default", "labels": { "a": "b" }, "annotations": { "c": "d" } },
        "subsets": subsets,
    });
    world.apply(written.clone());
    let found = slices(&world);
    let mut families: Vec<_> = found.iter().map(|slice| slice["addressType"].as_str().unwrap()).collect();
    families.sort_unstable();
    assert_eq!(families, ["IPv4", "IPv6"]);
    let four = found.iter().find(|slice| slice["addressType"] == "IPv4").unwrap();
    let labels = json!({
        "a": "b",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    });
    assert_eq!(four["metadata"]["labels"], labels);
    assert_eq!(four["metadata"]["annotations"], json!({ "c": "d" }));
    assert_eq!(four["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
    let expected = json!([
        { "addresses": ["192.0.2.1"], "conditions": { "ready": true } },
        { "addresses": ["192.0.2.2"], "conditions": { "ready": false }, "hostname": "two" },
    ]);
    assert_eq!(four["endpoints"], expected);
    // Once pods are selected, they alone count.
    written["metadata"]["labels"] = json!({ "endpointslice.kubernetes.io/skip-mirror": "true" });
    world.patch(&id("v1", "Endpoints", "web"), &json!({ "metadata": written["metadata"] }));
    assert!(slices(&world).is_empty());
}

#[test]
fn what_cannot_be_written_is_told() {
    let mut world = world();
    world.refuses = Some("no room");
    world.apply(service(json!({})));
    world.pass(Duration::from_secs(1));
    let told = world.told.iter().find(|(reason, _)| reason == "FailedToUpdateEndpointSlices").unwrap();
    assert_eq!(told.1, "Error updating Endpoint Slices for Service default/web: no room");
    world.refuses = None;
    world.pass(Duration::from_secs(60));
    assert_eq!(sizes(&world), [0]);
}
