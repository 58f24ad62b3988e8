//! Compares every decision with a slow and obvious scheduler that looks at everything each time, on random clusters that change.

mod model;
mod slow;

use serde_json::json;

use self::model::{Model, Random};
use super::{
    super::{Outcome, explain},
    fixture::{Cluster, NOW},
};
use crate::view::ObjectKey;
use dunlin_link::NodeName;

#[test]
fn decides_as_a_slow_scheduler_does() {
    let seeds =
        std::env::var("DUNLIN_SCHEDULER_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        run(seed);
    }
}

/// One cluster, through some changes.
fn run(seed: u64) {
    let mut random = Random(seed);
    let mut cluster = Cluster::default();
    cluster.add_namespace("default", &json!({ "team": "x" }));
    cluster.add_namespace("other", &json!({ "team": "y" }));
    let mut model = Model::new(&mut random);
    model.nodes.iter().for_each(|node| cluster.add_node(&node.json()));
    model.budgets.iter().for_each(|budget| {
        let key = ObjectKey::new("default", &budget.name);
        cluster.view.apply_budget(&key, budget.json().to_string().as_bytes()).unwrap();
    });
    for step in 0..40 {
        match random.below(10) {
            0 => change_node(&mut model, &mut cluster, &mut random),
            1 | 2 => remove_pod(&mut model, &mut cluster, &mut random),
            _ => add_pod(&mut model, &mut cluster, &mut random, (seed, step)),
        }
    }
}

fn change_node(model: &mut Model, cluster: &mut Cluster, random: &mut Random) {
    let place = random.below(model.nodes.len());
    let name = model.nodes[place].name.clone();
    if random.below(4) == 0 && model.nodes.len() > 1 {
        model.nodes.remove(place);
        cluster.view.delete_node(&NodeName::new(name), NOW);
    } else {
        model.nodes[place] = model::Node::new(&name, random);
        cluster.add_node(&model.nodes[place].json());
    }
}

fn remove_pod(model: &mut Model, cluster: &mut Cluster, random: &mut Random) {
    if model.pods.is_empty() {
        return;
    }
    let place = random.below(model.pods.len());
    if random.below(3) == 0 {
        // It stays for its grace period, on its node, and counts for some things only.
        model.pods[place].deleting = true;
        cluster.add_pod(&model.pods[place].json());
    } else {
        let pod = model.pods.swap_remove(place);
        cluster.view.delete_pod(&ObjectKey::new(&pod.namespace, &pod.name));
    }
}

fn add_pod(model: &mut Model, cluster: &mut Cluster, random: &mut Random, at: (u64, u64)) {
    let mut pod = model::Pod::new(&format!("p{}", at.1), random);
    let key = cluster.add_pod(&pod.json());
    let info = cluster.view.pod(&key).unwrap().clone();

    let decision = explain(&mut cluster.view, &key, &info);
    let slow = model.judge(&pod);
    assert_eq!(decision.nodes.len(), slow.len(), "{at:?}");
    for one in &decision.nodes {
        let expected = &slow[one.node.as_str()];
        let found = match &one.outcome {
            Outcome::Fits { score, .. } => Ok(*score),
            Outcome::Refused(reasons) => {
                Err(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
        };
        assert_eq!(found, *expected, "{at:?}: {} on {}\n{pod:?}\n{model:?}", pod.name, one.node);
    }

    match cluster.find(&key) {
        Ok(node) => {
            assert_eq!(Some(node.as_str()), model.best(&slow).as_deref(), "{at:?}");
            assert!(cluster.view.assume(&key, &node, NOW));
            pod.node = Some(node.as_str().to_owned());
            model.pods.push(pod);
        }
        Err(why) => {
            let found = why.preemption.map(|preemption| {
                let victims = preemption.victims.iter().map(|victim| victim.key.name.to_string()).collect();
                (preemption.node.as_str().to_owned(), victims)
            });
            assert_eq!(found, model.preempt(&pod, &slow), "{at:?}: {}\n{pod:?}\n{model:?}", pod.name);
            cluster.view.delete_pod(&key);
        }
    }
}
