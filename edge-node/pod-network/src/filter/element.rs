//! What stands in the table's maps: which port of the machine leads where, and whose it is.

use std::{collections::BTreeSet, net::Ipv4Addr};

use dunlin_link::{PodUid, pod::Protocol};

use super::{
    expression::{DATA_VALUE, LIST_ELEMENT},
    table::message,
};
use crate::{
    attachment::HostPort,
    owner::UID_BYTES_MAX,
    socket::{CREATE, LIST},
    wire::{Message, attribute, attributes},
};

/// A port of the machine that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) uid: PodUid,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: HostPort,
}

/// One of the table's maps or sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// Protocol and port.
    Ports,
    /// Address, protocol and port.
    Bound,
    /// Pods that have any of them, each twice: as who sends, and as who gets.
    Pods,
}

impl Map {
    pub(super) const ALL: [Self; 3] = [Self::Ports, Self::Bound, Self::Pods];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Bound => "bound",
            Self::Pods => "pods",
        }
    }

    /// Makes it, empty. `number` tells it from others of the batch.
    pub(super) fn create(self, table: &str, number: u32) -> Message {
        let (flags, key_type, fields) = match self {
            Self::Ports => (IS_MAP, (PROTOCOL_TYPE << 6) | PORT_TYPE, 2),
            Self::Bound => (IS_MAP, (((ADDRESS_TYPE << 6) | PROTOCOL_TYPE) << 6) | PORT_TYPE, 3),
            Self::Pods => (0, (ADDRESS_TYPE << 6) | ADDRESS_TYPE, 2),
        };
        let set = message(NEW_SET, CREATE, [0; 2]).text(SET_TABLE, table).text(SET_NAME, self.name());
        let set = set.network_number(SET_FLAGS, flags).network_number(SET_KEY_TYPE, key_type);
        let set = set.network_number(SET_KEY_LENGTH, fields * FIELD_BYTES).network_number(SET_ID, number);
        match self {
            Self::Pods => set,
            Self::Ports | Self::Bound => set
                .network_number(SET_DATA_TYPE, (ADDRESS_TYPE << 6) | PORT_TYPE)
                .network_number(SET_DATA_LENGTH, 2 * FIELD_BYTES),
        }
    }

    /// Asks for what is in it.
    pub(super) fn list(self, table: &str) -> Message {
        message(GET_ELEMENTS, LIST, [0; 2]).text(ELEMENTS_TABLE, table).text(ELEMENTS_SET, self.name())
    }
}

/// The messages that fill the maps, each small enough for the kernel's attributes.
pub(super) fn fill(table: &str, elements: &[Element]) -> Vec<Message> {
    let (bound, any): (Vec<_>, Vec<_>) = elements.iter().partition(|element| element.port.host_ip.is_some());
    let pods: BTreeSet<_> = elements.iter().map(|element| element.address).collect();
    let pods: Vec<_> = pods.into_iter().collect();
    let mut messages = Vec::new();
    for (map, elements) in [(Map::Ports, any), (Map::Bound, bound)] {
        for piece in elements.chunks(ELEMENTS_PER_MESSAGE) {
            messages
                .push(add(table, map, |list| piece.iter().fold(list, |list, element| element.write(list))));
        }
    }
    for piece in pods.chunks(ELEMENTS_PER_MESSAGE) {
        messages
            .push(add(table, Map::Pods, |list| piece.iter().fold(list, |list, pod| write_pod(list, *pod))));
    }
    messages
}

fn add(table: &str, map: Map, fill: impl FnOnce(Message) -> Message) -> Message {
    let message = message(NEW_ELEMENTS, CREATE, [0; 2]);
    message.text(ELEMENTS_TABLE, table).text(ELEMENTS_SET, map.name()).nest(ELEMENTS_LIST, fill)
}

impl Element {
    fn write(&self, list: Message) -> Message {
        let mut key = Vec::new();
        key.extend(self.port.host_ip.iter().flat_map(Ipv4Addr::octets));
        key.extend([protocol_number(self.port.protocol), 0, 0, 0]);
        key.extend(port_field(self.port.host_port));
        let mut data = self.address.octets().to_vec();
        data.extend(port_field(self.port.container_port));
        let mut comment = vec![COMMENT, u8::try_from(self.uid.as_str().len() + 1).unwrap_or(u8::MAX)];
        comment.extend_from_slice(self.uid.as_str().as_bytes());
        comment.push(0);
        list.nest(LIST_ELEMENT, |element| {
            element
                .nest(ELEMENT_KEY, |value| value.bytes(DATA_VALUE, &key))
                .nest(ELEMENT_DATA, |value| value.bytes(DATA_VALUE, &data))
                .bytes(ELEMENT_COMMENT, &comment)
        })
    }

    /// What an answer to `Map::list` holds; what we cannot have written is left out.
    pub(super) fn read(map: Map, body: &[u8]) -> Vec<Self> {
        let list = body.get(MESSAGE_HEADER_BYTES..).and_then(|rest| attribute(rest, ELEMENTS_LIST));
        let elements = attributes(list.unwrap_or_default()).map(|(_, element)| element);
        elements.filter_map(|element| Self::read_one(map, element)).collect()
    }

    fn read_one(map: Map, element: &[u8]) -> Option<Self> {
        let value = |kind| attribute(element, kind).and_then(|value| attribute(value, DATA_VALUE));
        let (key, data) = (value(ELEMENT_KEY)?, value(ELEMENT_DATA)?);
        let (host_ip, key) = match map {
            Map::Ports => (None, key),
            Map::Bound => (Some(address_at(key)?), key.get(4..)?),
            Map::Pods => return None,
        };
        let comment = attribute(element, ELEMENT_COMMENT)?;
        let uid = match comment {
            [COMMENT, length, text @ ..] => text.get(..usize::from(*length).checked_sub(1)?)?,
            _ => return None,
        };
        let uid = std::str::from_utf8(uid).ok().filter(|uid| uid.len() <= UID_BYTES_MAX)?;
        let port = HostPort {
            protocol: protocol(*key.first()?)?,
            host_ip,
            host_port: port_at(key.get(4..)?)?,
            container_port: port_at(data.get(4..)?)?,
        };
        Some(Self { uid: PodUid::new(uid), address: address_at(data)?, port })
    }
}

fn write_pod(list: Message, address: Ipv4Addr) -> Message {
    let key = [address.octets(), address.octets()].concat();
    list.nest(LIST_ELEMENT, |element| element.nest(ELEMENT_KEY, |value| value.bytes(DATA_VALUE, &key)))
}

/// A port as a field of a key, which is a register.
fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn port_at(bytes: &[u8]) -> Option<u16> {
    bytes.get(..2)?.try_into().ok().map(u16::from_be_bytes)
}

fn address_at(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes.get(..4)?).ok().map(Ipv4Addr::from)
}

/// As packets have it.
fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => UDP,
        Protocol::Sctp => 132,
    }
}

fn protocol(number: u8) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| protocol_number(*protocol) == number)
}

/// The number of UDP in packets.
pub(super) const UDP: u8 = 17;
/// An attribute ends at 64 KiB, and an element has less than 256 bytes.
const ELEMENTS_PER_MESSAGE: usize = 128;
/// Fields of keys and values stand in registers of 4 bytes.
const FIELD_BYTES: u32 = 4;
/// `struct nfgenmsg`.
const MESSAGE_HEADER_BYTES: usize = 4;

// `NFT_MSG_*` of the subsystem.
const NEW_SET: u16 = 0x0a09;
const NEW_ELEMENTS: u16 = 0x0a0c;
const GET_ELEMENTS: u16 = 0x0a0d;

// `NFTA_*`, by message.
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_ID: u16 = 10;
const IS_MAP: u32 = 8;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_COMMENT: u16 = 6;

// How the `nft` program names what it lists; the kernel does not look at it.
const ADDRESS_TYPE: u32 = 7;
const PROTOCOL_TYPE: u32 = 12;
const PORT_TYPE: u32 = 13;
const COMMENT: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages;

    #[test]
    fn what_is_written_is_read_back() {
        let element = |uid: &str, host_ip, protocol| Element {
            uid: PodUid::new(uid),
            address: Ipv4Addr::new(10, 42, 1, 5),
            port: HostPort { protocol, host_ip, host_port: 8080, container_port: 80 },
        };
        let long = "x".repeat(UID_BYTES_MAX);
        let any = element(&long, None, Protocol::Sctp);
        let bound = element("y", Some(Ipv4Addr::new(192, 0, 2, 1)), Protocol::Udp);
        let written = fill("dunlin0", &[any.clone(), bound.clone()]);
        let bytes: Vec<_> = written.into_iter().map(|message| message.finish(1)).collect();
        assert_eq!(bytes.len(), 3);
        let body = |index: usize| messages(&bytes[index]).next().unwrap().body;
        assert_eq!(Element::read(Map::Ports, body(0)), [any]);
        assert_eq!(Element::read(Map::Bound, body(1)), [bound]);
        assert_eq!(Element::read(Map::Pods, body(2)), []);
        for cut in 0..body(0).len() {
            assert!(Element::read(Map::Ports, &body(0)[..cut]).is_empty());
        }
    }

    #[test]
    fn many_elements_go_in_pieces() {
        let element = |number: u16| Element {
            uid: PodUid::new("x".repeat(UID_BYTES_MAX)),
            address: Ipv4Addr::new(10, 42, 1, 5),
            port: HostPort { protocol: Protocol::Tcp, host_ip: None, host_port: number, container_port: 80 },
        };
        let elements: Vec<_> = (1..=1000).map(element).collect();
        assert_eq!(fill("dunlin0", &elements).len(), 9);
    }
}
