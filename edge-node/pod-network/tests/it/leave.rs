//! Pods that leave, or are gone: nothing of theirs stays, and nothing of others' goes.

use crate::machine::{Machine, Pod, uids};

#[test]
fn nothing_stays_of_pods_that_left() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let before = machine.links();
    let rounds =
        std::env::var("DUNLIN_NETWORK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(50);
    let pod = Pod::new(1);
    for _ in 0..rounds {
        pod.attach(&network);
        network.detach(&pod.uid).unwrap();
        network.detach(&pod.uid).unwrap();
    }
    assert_eq!(machine.links(), before);
    assert_eq!(pod.space.command("ip -brief link").lines().count(), 1);
}

#[test]
fn only_what_is_ours_and_of_no_pod_is_swept() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let (one, two) = (Pod::new(1), Pod::new(2));
    one.attach(&network);
    let with_one = machine.links();
    two.attach(&network);
    machine.space.command("ip link add other0 type veth peer name other1");
    machine.space.command("ip link set other0 alias dunlin:dunlin1:x");
    network.keep(&uids([&one, &two])).unwrap();
    assert_eq!(machine.links().len(), with_one.len() + 3);
    machine.space.command("ip link delete other0");
    network.keep(&uids([&one])).unwrap();
    assert_eq!(machine.links(), with_one);
    assert!(two.space.try_command("ip link show eth0").is_err());
    network.keep(&uids([])).unwrap();
    assert_eq!(machine.links(), ["dunlin0", "lo", "up0"]);
}
