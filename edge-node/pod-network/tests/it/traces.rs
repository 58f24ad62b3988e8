//! Nodes of one machine that want the same, and what they leave.

use std::collections::BTreeSet;

use dunlin_pod_network::{BridgeConfig, Claim, ClaimError, Config, LinkName, Network, has_pods, sweep};

use crate::{
    machine::{Machine, Pod, config},
    space::Space,
};

#[test]
fn blocks_have_one_owner_as_long_as_it_is_there() {
    if !Space::can_be() {
        return;
    }
    let (machine, other) = (Space::new(), Space::new());
    let claim = machine.run(|| Claim::take(16, 16)).unwrap();
    for (first, count) in [(16, 16), (31, 1), (0, 100)] {
        let Err(ClaimError::Held { blocks, process }) = machine.run(|| Claim::try_take(first, count)) else {
            panic!("{first}+{count} was taken twice")
        };
        assert_eq!((&*blocks, process), ("16+16", Some(std::process::id())));
    }
    let next = machine.run(|| Claim::try_take(32, 16)).unwrap();
    // Another network has bridges of its own.
    other.run(|| Claim::try_take(16, 16)).unwrap();
    drop(claim);
    machine.run(|| Claim::try_take(0, 32)).unwrap();
    drop(next);
}

#[test]
fn a_network_that_is_removed_leaves_nothing_unless_a_pod_is_in_it() {
    let Some(machine) = Machine::new() else { return };
    let before = machine.links();
    let network = machine.open();
    let pod = Pod::new(1);
    pod.attach(&network);
    network.remove().unwrap();
    assert!(machine.links().contains(&"dunlin0".to_owned()));
    network.detach(&pod.uid).unwrap();
    network.remove().unwrap();
    assert_eq!(machine.links(), before);
    assert_eq!(tables(&machine), BTreeSet::new());
    network.remove().unwrap();
    pod.attach(&network);
    assert_eq!(tables(&machine), both("dunlin0"));
}

#[test]
fn what_nodes_left_that_are_gone_is_swept() {
    let Some(machine) = Machine::new() else { return };
    let with_name =
        |name: &str| Config::Bridge(BridgeConfig { name: LinkName::new(name).unwrap(), ..config() });
    let name = |name| LinkName::new(name).unwrap();
    let used = machine.open();
    let pod = Pod::new(1);
    pod.attach(&used);
    let sweep = || {
        machine.space.run(|| sweep(|name| name.strip_prefix("dunlin")?.parse().ok()).unwrap());
    };
    drop(machine.space.run(|| Network::open(with_name("dunlin16"))).unwrap());
    machine.space.command("nft add table ip dunlin32");
    machine.space.command("nft add table netdev dunlin48");
    machine.space.command("nft add table ip other");
    machine.space.command("nft add table inet dunlin64");
    machine.space.command("ip link add dunlin80 type bridge");
    let claim = machine.space.run(|| Claim::take(0, 48)).unwrap();
    sweep();
    let kept = |names: &[&str]| names.iter().flat_map(|name| both(name)).collect::<BTreeSet<_>>();
    let others = ["inet dunlin64", "ip other"].map(str::to_owned);
    let expected = kept(&["dunlin0", "dunlin16"]).into_iter().chain(others.clone());
    assert_eq!(tables(&machine), expected.chain(["ip dunlin32".to_owned()]).collect());
    assert!(machine.space.run(|| has_pods(&name("dunlin0"))).unwrap());
    assert!(!machine.space.run(|| has_pods(&name("dunlin16"))).unwrap());
    drop(claim);
    sweep();
    // Of a node that was killed, whose pod goes on.
    assert_eq!(tables(&machine), kept(&["dunlin0"]).into_iter().chain(others).collect());
    let links = machine.links();
    assert!(links.contains(&"dunlin0".to_owned()) && links.contains(&"dunlin80".to_owned()), "{links:?}");
    assert!(!links.contains(&"dunlin16".to_owned()), "{links:?}");
}

/// Tables with their families.
fn tables(machine: &Machine) -> BTreeSet<String> {
    let tables = machine.space.command("nft list tables");
    tables.lines().filter_map(|line| line.strip_prefix("table ")).map(str::to_owned).collect()
}

/// Those of a node.
fn both(bridge: &str) -> BTreeSet<String> {
    ["ip", "netdev"].map(|family| format!("{family} {bridge}")).into()
}
