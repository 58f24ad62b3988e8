//! Pods with every right over their own network are kept to their own addresses.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use dunlin_pod_network::Network;

use crate::{
    machine::{GATEWAY, Machine, Pod, uids},
    talk::{ask_tcp, serve_tcp},
};

/// Two pods that the machine has spoken with, the second of which is to be robbed.
fn neighbours(machine: &Machine, network: &Network) -> (Pod, Pod) {
    let (thief, other) = (Pod::new(1), Pod::new(2));
    for pod in [&thief, &other] {
        pod.attach(network);
        serve_tcp(&pod.space, 80);
        ask_tcp(&machine.space, pod.address, 80).unwrap();
    }
    (thief, other)
}

/// The pod's port of the bridge.
fn port(machine: &Machine, pod: &Pod) -> String {
    let alias = format!("dunlin:dunlin0:{}", pod.uid);
    let is_its = |name: &String| machine.space.command(&format!("ip link show {name}")).contains(&alias);
    machine.links().into_iter().filter(|name| name.starts_with("dl")).find(is_its).unwrap()
}

fn lift_guard(machine: &Machine, pod: &Pod) {
    machine.space.command(&format!("nft flush chain netdev dunlin0 {}", port(machine, pod)));
}

/// Whether a datagram from the pod with a source address arrives at the machine.
fn arrives(machine: &Machine, pod: &Pod, source: Ipv4Addr) -> bool {
    let server = machine.space.run(|| UdpSocket::bind((GATEWAY, 0))).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let client = pod.space.run(|| UdpSocket::bind((source, 0))).unwrap();
    client.send_to(b"x", server.local_addr().unwrap()).unwrap();
    server.recv_from(&mut [0; 8]).is_ok_and(|(_, from)| from.ip() == source)
}

/// Where the machine believes an address to be.
fn believed(machine: &Machine, address: Ipv4Addr) -> String {
    machine.space.command(&format!("ip neighbour show {address} dev dunlin0"))
}

#[test]
fn a_pod_cannot_speak_as_another() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let (thief, other) = neighbours(&machine, &network);
    assert!(arrives(&machine, &thief, thief.address));
    let mac = believed(&machine, other.address);
    assert!(mac.contains("02:d1:0a:2a:01:02"), "{mac}");
    let take = || thief.space.command(&format!("ip address add {}/32 dev eth0", other.address));
    take();
    assert!(!arrives(&machine, &thief, other.address));
    // It asks who the machine is in the other's name, and so tells that the other is where it is itself.
    thief.space.command("ip neighbour flush dev eth0");
    assert!(!arrives(&machine, &thief, other.address));
    assert!(believed(&machine, other.address).contains("02:d1:0a:2a:01:02"));
    ask_tcp(&machine.space, other.address, 80).unwrap();
    // It is the guard that keeps it from that.
    lift_guard(&machine, &thief);
    thief.space.command("ip neighbour flush dev eth0");
    assert!(arrives(&machine, &thief, other.address));
    assert!(believed(&machine, other.address).contains("02:d1:0a:2a:01:01"));
    // The next agent brings it back.
    let network = machine.open();
    network.keep(&uids([&thief, &other])).unwrap();
    thief.attach(&network);
    thief.space.command("ip neighbour flush dev eth0");
    assert!(arrives(&machine, &thief, thief.address));
    // Last, for what it asks in the other's name is not answered, and in its own it does not ask for a while.
    take();
    assert!(!arrives(&machine, &thief, other.address));
}

#[test]
fn a_pod_cannot_have_the_frames_of_another() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let (thief, other) = neighbours(&machine, &network);
    let learnt = || {
        let table = machine.space.command("bridge fdb show br dunlin0");
        let line =
            table.lines().find(|line| line.starts_with("02:d1:0a:2a:01:02") && !line.contains("permanent"));
        line.map(|line| line.split(' ').nth(2).unwrap().to_owned())
    };
    assert_eq!(learnt(), Some(port(&machine, &other)));
    let steal = || {
        thief.space.command("ip link set eth0 address 02:d1:0a:2a:01:02");
        thief.space.command(&format!("ip neighbour replace {GATEWAY} lladdr 02:d1:0a:2a:01:00 dev eth0"));
        arrives(&machine, &thief, thief.address)
    };
    assert!(!steal());
    assert_eq!(learnt(), Some(port(&machine, &other)));
    lift_guard(&machine, &thief);
    steal();
    assert_eq!(learnt(), Some(port(&machine, &thief)));
}

#[test]
fn guards_go_with_their_pods() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let guards = || machine.space.command("nft list chains netdev").matches("hook ingress").count();
    let (one, two) = (Pod::new(1), Pod::new(2));
    for pod in [&one, &two] {
        pod.attach(&network);
        pod.attach(&network);
    }
    assert_eq!(guards(), 2);
    network.detach(&one.uid).unwrap();
    assert_eq!(guards(), 1);
    // Gone with its namespace, before it was detached.
    machine.space.command(&format!("ip link del {}", port(&machine, &two)));
    network.keep(&uids([])).unwrap();
    let chains = machine.space.command("nft list chains netdev");
    assert!(!chains.contains("chain"), "{chains}");
    // Somebody loads a rule set of his own.
    machine.space.command("nft flush ruleset");
    network.keep(&uids([])).unwrap();
    one.attach(&network);
    assert_eq!(guards(), 1);
}
