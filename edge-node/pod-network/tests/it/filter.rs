//! Ports of the machine that lead to pods, and what goes to the outside.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};

use dunlin_link::{PodUid, pod::Protocol};
use dunlin_pod_network::{AttachError, HostPort, Network, Problem};

use crate::{
    machine::{GATEWAY, Machine, OUTSIDE, Pod, UPLINK, uids},
    talk::{ask_from, ask_tcp, ask_udp, serve, serve_tcp, serve_udp},
};

#[test]
fn what_leaves_for_the_outside_is_the_machines() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    assert_eq!(network.status().problems, []);
    let pod = Pod::new(1);
    pod.attach(&network);
    serve_tcp(&machine.outside, 80);
    serve_udp(&machine.outside, 53);
    assert_eq!(ask_tcp(&pod.space, OUTSIDE, 80).unwrap(), IpAddr::from(UPLINK));
    assert_eq!(ask_udp(&pod.space, OUTSIDE, 53).unwrap(), IpAddr::from(UPLINK));

    // Somebody loads a rule set of his own.
    machine.space.command("nft flush ruleset");
    assert!(ask_tcp(&pod.space, OUTSIDE, 80).is_err());
    network.keep(&uids([&pod])).unwrap();
    assert_eq!(ask_tcp(&pod.space, OUTSIDE, 80).unwrap(), IpAddr::from(UPLINK));
}

#[test]
fn ports_of_the_machine_lead_to_pods() {
    for are_bridges_filtered in ["0", "1"] {
        let Some(machine) = Machine::new() else { return };
        // A kernel that cannot do it has one case only.
        let _ = machine.space.set("bridge/bridge-nf-call-iptables", are_bridges_filtered);
        check_ports(&machine);
    }
}

fn check_ports(machine: &Machine) {
    let network = machine.open();
    let (one, two) = (holder(1), holder(2));
    let one = Pod { host_ports: both(8080, None), ..one };
    let two = Pod { host_ports: both(8081, Some(UPLINK)), ..two };
    for pod in [&one, &two] {
        pod.attach(&network);
    }
    let local = Ipv4Addr::LOCALHOST;
    let cases = [
        (&machine.outside, UPLINK, 8080, Some(OUTSIDE)),
        (&machine.outside, UPLINK, 8081, Some(OUTSIDE)),
        // The machine itself, by all of its addresses.
        (&machine.space, UPLINK, 8080, Some(UPLINK)),
        (&machine.space, UPLINK, 8081, Some(UPLINK)),
        (&machine.space, local, 8080, Some(GATEWAY)),
        (&machine.space, GATEWAY, 8080, Some(GATEWAY)),
        (&machine.space, local, 8081, None),
        // What stands for pods with WASM alone.
        (&machine.space, Ipv4Addr::new(127, 42, 1, 9), 8080, None),
        // Pods: another one, and themselves.
        (&two.space, UPLINK, 8080, Some(two.address)),
        (&one.space, UPLINK, 8080, Some(GATEWAY)),
        (&one.space, GATEWAY, 8081, None),
    ];
    for (index, (space, address, port, expected)) in cases.into_iter().enumerate() {
        let expected = expected.map(IpAddr::from);
        assert_eq!(ask_tcp(space, address, port).ok(), expected, "TCP, {index}");
        if expected.is_some() {
            assert_eq!(ask_udp(space, address, port).ok(), expected, "UDP, {index}");
        }
    }
}

#[test]
fn pods_do_not_reach_the_machines_loopback() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let pod = Pod::new(1);
    pod.attach(&network);
    let local = Ipv4Addr::LOCALHOST;
    let listener = machine.space.run(|| TcpListener::bind((local, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener);
    // What a container with the right to change its network can do.
    pod.space.command("ip address flush dev lo");
    pod.space.command("ip route add 127.0.0.0/8 via 10.42.1.0 dev eth0 onlink");
    pod.space.set("ipv4/conf/all/route_localnet", "1").unwrap();
    assert!(ask_tcp(&pod.space, local, port).is_err());
    // It is the guard that keeps it out.
    machine.space.command("nft flush chain ip dunlin0 guard");
    assert_eq!(ask_tcp(&pod.space, local, port).unwrap(), IpAddr::from(pod.address));
}

#[test]
fn a_port_is_held_until_its_pod_leaves() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let one = Pod { host_ports: both(8080, None), ..holder(1) };
    let two = Pod { host_ports: both(8080, Some(UPLINK)), ..holder(2) };
    one.attach(&network);
    let refused = |network: &Network| {
        let error = network.attach(&two.attachment()).unwrap_err();
        assert!(matches!(&error, AttachError::HostPortTaken { holder, .. } if *holder == one.uid), "{error}");
        let message = format!("hostPort 198.51.100.1:8080/TCP is held by pod `{}`", one.uid);
        assert_eq!(error.to_string(), message);
    };
    refused(&network);
    // A new agent knows it before anything is attached again, and nothing is unreachable meanwhile.
    drop(network);
    let network = machine.open();
    refused(&network);
    assert_eq!(ask_tcp(&machine.outside, UPLINK, 8080).unwrap(), IpAddr::from(OUTSIDE));

    // UDP goes on from where it came from, but not to who had the port before.
    let socket = machine.outside.run(|| UdpSocket::bind((OUTSIDE, 0))).unwrap();
    assert_eq!(ask_from(&socket, UPLINK, 8080).unwrap(), IpAddr::from(OUTSIDE));
    network.detach(&one.uid).unwrap();
    two.attach(&network);
    drop(one);
    assert_eq!(ask_from(&socket, UPLINK, 8080).unwrap(), IpAddr::from(OUTSIDE));
    network.keep(&uids([])).unwrap();
    assert!(ask_tcp(&machine.outside, UPLINK, 8080).is_err());
}

#[test]
fn the_table_is_as_it_is_said_to_be() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let empty = machine.space.command("nft list ruleset");
    let one = Pod { host_ports: both(8080, None), ..Pod::new(1) };
    let two = Pod { host_ports: both(8081, Some(UPLINK)), ..Pod::new(2) };
    one.attach(&network);
    two.attach(&network);
    assert_eq!(machine.space.command("nft list ruleset"), include_str!("filter.nft"));
    network.keep(&uids([])).unwrap();
    assert_eq!(machine.space.command("nft list ruleset"), empty);
    let setting = "cat /proc/sys/net/ipv4/conf/dunlin0/route_localnet";
    assert_eq!(machine.space.command(setting), "1\n");
}

#[test]
fn chains_that_drop_by_themselves_are_told() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    machine.space.command("nft add table inet other");
    machine
        .space
        .command("nft add chain inet other FORWARD { type filter hook forward priority 0 ; policy drop ; }");
    let chain = "chain `FORWARD` of table `other`".to_owned();
    assert_eq!(network.status().problems, [Problem::ForwardDropped { chain }]);
}

#[test]
fn many_ports_fit() {
    let Some(machine) = Machine::new() else { return };
    let network = machine.open();
    let ports = |first: u16| (first..first + 700).flat_map(|port| both(port, None)).collect();
    let one = Pod { host_ports: ports(10_000), ..holder(1) };
    let two = Pod { host_ports: ports(20_000), ..holder(2) };
    one.attach(&network);
    two.attach(&network);
    drop(network);
    let network = machine.open();
    assert_eq!(ask_tcp(&machine.outside, UPLINK, 20_699).unwrap(), IpAddr::from(OUTSIDE));
    let late = Pod { uid: PodUid::new("late"), host_ports: both(20_000, None), ..Pod::new(3) };
    assert!(matches!(network.attach(&late.attachment()), Err(AttachError::HostPortTaken { .. })));
}

/// A pod that answers on port 80.
fn holder(number: u8) -> Pod {
    let pod = Pod::new(number);
    serve_tcp(&pod.space, 80);
    serve_udp(&pod.space, 80);
    pod
}

/// A port for both protocols.
fn both(host_port: u16, host_ip: Option<Ipv4Addr>) -> Vec<HostPort> {
    let port = |protocol| HostPort { protocol, host_ip, host_port, container_port: 80 };
    vec![port(Protocol::Tcp), port(Protocol::Udp)]
}
