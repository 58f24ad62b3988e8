//! Pods that come into the network, in any state of it.

use std::net::{IpAddr, Ipv4Addr};

use dunlin_pod_network::{AttachError, OpenError};

use crate::{
    machine::{GATEWAY, Machine, Pod, UPLINK},
    talk::{ask_tcp, serve_tcp},
};

#[test]
fn pods_reach_each_other_and_the_machine() {
    let Some(machine) = Machine::new() else { return };
    // What Docker switches on, by which ports have to reach each other; a kernel may not have it.
    let _ = machine.space.set("bridge/bridge-nf-call-iptables", "0");
    let network = machine.open();
    let (one, two) = (Pod::new(1), Pod::new(2));
    // An address of the second block.
    let three = Pod { address: Ipv4Addr::new(10, 42, 1, 65), ..Pod::new(3) };
    for pod in [&one, &two, &three] {
        pod.attach(&network);
        serve_tcp(&pod.space, 80);
    }
    serve_tcp(&machine.space, 80);
    for pod in [&one, &two, &three] {
        for other in [&one, &two, &three] {
            assert_eq!(ask_tcp(&pod.space, other.address, 80).unwrap(), IpAddr::from(pod.address));
        }
        for address in [GATEWAY, UPLINK] {
            assert_eq!(ask_tcp(&pod.space, address, 80).unwrap(), IpAddr::from(pod.address));
        }
        assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY));
        let inside = pod.space.command("ip address show eth0");
        assert!(inside.contains("mtu 1400"), "{inside}");
    }
    let ports = machine.space.command("bridge -details link");
    assert_eq!(ports.matches("isolated on").count(), 3, "{ports}");
    let nobody = Ipv4Addr::new(10, 42, 1, 9);
    assert!(ask_tcp(&one.space, nobody, 80).is_err());
}

#[test]
fn what_is_there_already_is_kept_and_mended() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let pod = Pod::new(1);
    pod.attach(&network);
    serve_tcp(&pod.space, 80);
    let number = |machine: &Machine| {
        let links = machine.space.command("ip -o link show master dunlin0");
        links.split('@').next().unwrap().to_owned()
    };
    let before = number(&machine);

    // The next agent finds everything as it was.
    drop(network);
    let network = machine.open();
    pod.attach(&network);
    assert_eq!(number(&machine), before);

    for breakage in ["ip link set eth0 down", "ip address flush dev eth0", "ip link set lo down"] {
        pod.space.command(breakage);
        pod.attach(&network);
        assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY), "{breakage}");
        assert_eq!(
            ask_tcp(&pod.space, GATEWAY, 1).unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    }
    assert_eq!(number(&machine), before);

    for breakage in ["ip link delete dunlin0", "ip address flush dev dunlin0", "ip link set dunlin0 down"] {
        machine.space.command(breakage);
        let network = machine.open();
        pod.attach(&network);
        assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY), "{breakage}");
    }
    pod.space.command("ip link delete eth0");
    pod.attach(&network);
    assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY));
    assert_eq!(machine.links().len(), 4);
}

#[test]
fn attempts_that_broke_off_are_in_nobodys_way() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let pod = Pod::new(1);
    pod.attach(&network);
    let name = machine.links().into_iter().find(|name| name.starts_with("dl")).unwrap();
    network.detach(&pod.uid).unwrap();
    serve_tcp(&pod.space, 80);

    let alias = format!("ip link set {name} alias dunlin:dunlin0:{}", pod.uid);
    let there = machine.space.path();
    let pair = format!("ip link add eth0 type veth peer name {name} netns {}", there.display());
    let steps = [(&pod.space, pair), (&machine.space, alias)];
    for done in 1..=steps.len() {
        for (space, step) in &steps[..done] {
            space.command(step);
        }
        pod.attach(&network);
        assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY), "{done}");
        network.detach(&pod.uid).unwrap();
    }

    // The same pod in a new namespace, while the old one is still there.
    pod.attach(&network);
    let again = Pod::new(1);
    again.attach(&network);
    serve_tcp(&again.space, 80);
    assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY));
    assert!(pod.space.try_command("ip link show eth0").is_err());

    // Somebody else's interface has the name.
    network.detach(&pod.uid).unwrap();
    machine.space.command(&format!("ip link add {name} type veth peer name other"));
    again.attach(&network);
    assert_eq!(ask_tcp(&machine.space, pod.address, 80).unwrap(), IpAddr::from(GATEWAY));
    network.detach(&pod.uid).unwrap();
    machine.space.command(&format!("ip link show {name}"));
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let mut attachment = Pod::new(1).attachment();
    attachment.network_namespace = machine.space.path();
    assert!(matches!(network.attach(&attachment), Err(AttachError::OwnNamespace { .. })));
    attachment.network_namespace = "/proc/0/fd/0".into();
    assert!(matches!(network.attach(&attachment), Err(AttachError::Namespace { .. })));
    attachment.network_namespace = "/dev/null".into();
    let error = network.attach(&attachment).unwrap_err();
    assert_eq!(error.to_string(), "failed to enter the pod's network namespace");
    for address in [Ipv4Addr::new(10, 42, 2, 1), GATEWAY] {
        let elsewhere = Pod { address, ..Pod::new(1) };
        let error = network.attach(&elsewhere.attachment()).unwrap_err();
        assert_eq!(error.to_string(), format!("address {address} is none that a pod of this node can have"));
    }

    machine.space.command("ip link delete dunlin0");
    machine.space.command("ip link add dunlin0 type veth peer name other");
    let error = machine.try_open().unwrap_err();
    assert!(matches!(error, OpenError::NotABridge { .. }), "{error}");
}
