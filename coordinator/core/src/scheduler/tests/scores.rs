//! Scores by Kubernetes' documented formulas.

use serde_json::{Value, json};

use super::{
    super::{Outcome, explain},
    fixture::{Cluster, labelled, node, pod, with},
};

/// What one plugin gives to each node, by name.
fn scores(cluster: &mut Cluster, pod: &Value, plugin: &str) -> Vec<(String, i64)> {
    let key = cluster.add_pod(pod);
    let info = cluster.view.pod(&key).unwrap().clone();
    let decision = explain(&mut cluster.view, &key, &info);
    let mut scores: Vec<_> = decision
        .nodes
        .iter()
        .filter_map(|one| match &one.outcome {
            Outcome::Fits { plugins, .. } => {
                let score = plugins.iter().find(|known| known.plugin == plugin)?;
                Some((one.node.as_str().to_owned(), score.score))
            }
            Outcome::Refused(_) => None,
        })
        .collect();
    scores.sort();
    scores
}

fn check(cluster: &mut Cluster, pod: &Value, plugin: &str, expected: &[(&str, i64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect();
    assert_eq!(scores(cluster, pod, plugin), expected, "{plugin}");
}

#[test]
fn resources_left_are_scored_or_those_used() {
    let mut cluster = Cluster::default();
    cluster.add_node(&node("a", 4000, 10_000, 110));
    cluster.add_node(&node("b", 6000, 10_000, 110));
    // (4000-3000)*100/4000 = 25, (10000-5000)*100/10000 = 50; (6000-3000)*100/6000 = 50, 50.
    let mut wanted = pod("p", 3000, 5000, None);
    check(&mut cluster, &wanted, "NodeResourcesFit", &[("a", 37), ("b", 50)]);
    wanted["metadata"]["name"] = json!("q");
    wanted["spec"]["schedulerName"] = json!("dunlin-binpack");
    // 75 and 50, 50 and 50, five times.
    check(&mut cluster, &wanted, "NodeResourcesFit", &[("a", 5 * 62), ("b", 5 * 50)]);
    assert_eq!(cluster.outcome(&wanted), "a");
    let mut foreign = wanted.clone();
    foreign["metadata"]["name"] = json!("r");
    foreign["spec"]["schedulerName"] = json!("default-scheduler");
    assert_eq!(cluster.outcome(&foreign), "b");
}

#[test]
fn taints_and_preferences_are_scored_beside_the_others() {
    let mut cluster = Cluster::default();
    for (name, taints) in [("a", 0), ("b", 1), ("c", 2)] {
        let mut node = labelled(name, &json!({ "disk": if name == "c" { "ssd" } else { "hdd" } }));
        let taints = (0..taints).map(|key| json!({ "key": format!("k{key}"), "effect": "PreferNoSchedule" }));
        node["spec"]["taints"] = taints.collect();
        cluster.add_node(&node);
    }
    let preferred = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 10, "preference": { "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["ssd"] }] } },
        { "weight": 5, "preference": { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] } },
    ] } } });
    let pod = with("p", &json!({}), &preferred);
    check(&mut cluster, &pod, "TaintToleration", &[("a", 300), ("b", 150), ("c", 0)]);
    check(&mut cluster, &pod, "NodeAffinity", &[("a", 2 * 33), ("b", 2 * 33), ("c", 200)]);
}

#[test]
fn images_draw_pods_by_size_and_by_how_many_nodes_have_them() {
    let mut cluster = Cluster::default();
    let image = |name: &str, mebibytes: u64| json!({ "names": [name], "sizeBytes": mebibytes << 20 });
    let mut a = node("a", 4000, 10_000, 110);
    a["images"] = json!([image("big:1", 1000), image("module:latest", 10)]);
    let mut b = node("b", 4000, 10_000, 110);
    b["images"] = json!([image("module:latest", 10)]);
    cluster.add_node(&a);
    cluster.add_node(&b);
    cluster.add_node(&node("c", 4000, 10_000, 110));
    cluster.add_node(&node("d", 4000, 10_000, 110));
    let with_image = |name: &str, image: &str| {
        let mut pod = pod(name, 100, 100, None);
        pod["spec"]["containers"][0]["image"] = json!(image);
        pod
    };
    // A quarter of the nodes has it: 250 MiB count, of which 23 do not; (250-23)*100/977.
    let big = with_image("p", "big:1");
    check(&mut cluster, &big, "ImageLocality", &[("a", 23), ("b", 0), ("c", 0), ("d", 0)]);
    // Half of them have it: 5 MiB of 23.
    let module = with_image("q", "module");
    check(&mut cluster, &module, "ImageLocality", &[("a", 0), ("b", 0), ("c", 0), ("d", 0)]);
    check(&mut cluster, &module, "ArtifactLocality", &[("a", 21), ("b", 21), ("c", 0), ("d", 0)]);
}

#[test]
fn placed_pods_draw_and_repel_as_well() {
    let mut cluster = Cluster::default();
    for name in ["a", "b", "c"] {
        cluster.add_node(&labelled(name, &json!({ "kubernetes.io/hostname": name })));
    }
    let term = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "x" } } });
    let of = |kind: &str, weight: i64| {
        json!({ "affinity": { kind: {
        "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": weight, "podAffinityTerm": term }],
    } } })
    };
    for (name, spec, node) in [("e", of("podAffinity", 10), "a"), ("f", of("podAntiAffinity", 10), "b")] {
        let mut pod = with(name, &json!({}), &spec);
        pod["spec"]["nodeName"] = json!(node);
        cluster.add_pod(&pod);
    }
    // 10, -10 and 0, scaled to 100, 0 and 50, twice.
    let pod = with("p", &json!({ "app": "x" }), &json!({}));
    check(&mut cluster, &pod, "InterPodAffinity", &[("a", 200), ("b", 0), ("c", 100)]);
}

#[test]
fn a_placed_pod_does_not_stand_in_its_own_way() {
    let mut cluster = Cluster::default();
    cluster.add_node(&node("a", 2000, 4000, 1));
    let term = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": "x" } } });
    let spec = json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } });
    let pod = with("p", &json!({ "app": "x" }), &spec);
    assert_eq!(cluster.outcome(&pod), "a");
    let key = crate::view::ObjectKey::new("default", "p");
    let info = cluster.view.pod(&key).unwrap().clone();
    let decision = explain(&mut cluster.view, &key, &info);
    assert!(matches!(decision.nodes[0].outcome, Outcome::Fits { .. }), "{decision:?}");
    assert_eq!(cluster.view.snapshot().usage(&decision.nodes[0].node).unwrap().pods, 1);
}
