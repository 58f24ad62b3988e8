//! What a pod says of its guests, in the host's words.

use std::{num::NonZeroU32, time::Duration};

use dunlin_edge_node_core::sandbox::Listen;
use dunlin_link::{
    egress::EgressHost,
    guest::{GuestEntry, GuestSettings},
    pod::Protocol,
};
use dunlin_wasm_host::{Egress, EgressHosts, EgressTarget, EntryChoice, Listening, Serving, Transport};

pub(super) fn entry(settings: &GuestSettings) -> EntryChoice {
    match settings.entry {
        None => EntryChoice::Detected,
        Some(GuestEntry::Run) => EntryChoice::Run,
        Some(GuestEntry::Http) => EntryChoice::Http,
    }
}

pub(super) fn serving(settings: &GuestSettings) -> Serving {
    let number = |said: Option<u32>| said.and_then(NonZeroU32::new);
    Serving {
        instances_max: number(settings.instances_max),
        concurrency: number(settings.concurrency),
        reuse_max: number(settings.reuse_max),
        request_timeout: settings.request_timeout_ms.map(Duration::from_millis),
        idle_timeout: settings.idle_timeout_ms.map(Duration::from_millis),
    }
}

pub(super) fn egress(settings: &GuestSettings) -> Egress {
    let Some(targets) = &settings.egress else { return Egress::Open };
    let targets = targets.iter().map(|target| EgressTarget {
        hosts: match &target.host {
            EgressHost::Name(name) => EgressHosts::Name(name.clone()),
            EgressHost::Below(name) => EgressHosts::Below(name.clone()),
            EgressHost::Range { address, prefix } => {
                EgressHosts::Range { address: *address, prefix: *prefix }
            }
        },
        port: target.port,
    });
    Egress::Only(targets.collect())
}

/// The ports of a container, each at its own address. What comes after that of the same port is its place on the machine (`hostPort`).
pub(super) fn listening(listens: &[Listen]) -> Vec<Listening> {
    let mut ports: Vec<Listening> = Vec::new();
    for listen in listens {
        let Some(transport) = transport(listen.protocol) else { continue };
        let (port, address) = (listen.container_port, listen.address);
        let mut known = ports.iter().filter(|known| (known.port, known.transport) == (port, transport));
        match known.next().copied() {
            None => ports.push(Listening { port, transport, address, host: None }),
            Some(own) if own.address == address => {}
            Some(own) => ports.push(Listening { host: Some(address), ..own }),
        }
    }
    ports
}

/// `None` for a protocol that no version of WASI has.
const fn transport(protocol: Protocol) -> Option<Transport> {
    match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_at_its_own_address_and_at_those_of_the_machine() {
        let listen = |container_port, protocol, address: &str| Listen {
            container_port,
            protocol,
            address: address.parse().unwrap(),
        };
        let ports = listening(&[
            listen(80, Protocol::Tcp, "127.42.0.5:10080"),
            listen(80, Protocol::Tcp, "0.0.0.0:8080"),
            listen(80, Protocol::Udp, "127.42.0.5:10080"),
            listen(81, Protocol::Sctp, "127.42.0.5:10081"),
            listen(80, Protocol::Tcp, "127.42.0.5:10080"),
            listen(80, Protocol::Tcp, "192.0.2.1:8081"),
        ]);
        let own = Listening { port: 80, ..Listening::tcp("127.42.0.5:10080".parse().unwrap()) };
        let host = |address: &str| Listening { host: Some(address.parse().unwrap()), ..own };
        let udp = Listening { transport: Transport::Udp, ..own };
        assert_eq!(ports, [own, host("0.0.0.0:8080"), udp, host("192.0.2.1:8081")]);
    }
}
