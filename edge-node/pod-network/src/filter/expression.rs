//! Rules as the kernel runs them: expressions that load into registers, compare, and act.

use std::net::Ipv4Addr;

use crate::{address::Subnet, wire::Message};

/// The expressions of one rule, in order.
pub(super) struct Rule {
    message: Message,
}

impl Rule {
    pub(super) fn new(message: Message) -> Self {
        Self { message }
    }

    pub(super) fn finish(self) -> Message {
        self.message
    }

    /// Goes on if the packet comes from an interface.
    pub(super) fn enters_by(self, name: &str) -> Self {
        self.meta(META_FROM_LINK, FIRST).compare(EQUAL, &link_bytes(name))
    }

    /// Goes on if the packet leaves by an interface.
    pub(super) fn leaves_by(self, name: &str) -> Self {
        self.meta(META_TO_LINK, FIRST).compare(EQUAL, &link_bytes(name))
    }

    /// Goes on if the packet leaves by any other interface.
    pub(super) fn leaves_elsewhere_than(self, name: &str) -> Self {
        self.meta(META_TO_LINK, FIRST).compare(DIFFERENT, &link_bytes(name))
    }

    /// Goes on if the frame holds a packet of a kind, as Ethernet numbers them.
    pub(super) fn holds(self, kind: u16) -> Self {
        self.meta(META_FRAME_KIND, FIRST).compare(EQUAL, &kind.to_be_bytes())
    }

    /// Goes on if a field is this.
    pub(super) fn has(self, field: Field, bytes: &[u8]) -> Self {
        self.load(field, FIRST).compare(EQUAL, bytes)
    }

    /// Goes on if a field is anything else.
    pub(super) fn lacks(self, field: Field, bytes: &[u8]) -> Self {
        self.load(field, FIRST).compare(DIFFERENT, bytes)
    }

    /// Goes on if an address of the packet is in a range.
    pub(super) fn within(self, field: Field, subnet: Subnet) -> Self {
        self.masked(field, subnet).compare(EQUAL, &subnet.network().octets())
    }

    /// Goes on if an address of the packet is not in a range.
    pub(super) fn outside(self, field: Field, subnet: Subnet) -> Self {
        self.masked(field, subnet).compare(DIFFERENT, &subnet.network().octets())
    }

    /// Goes on if the packet is for this machine.
    pub(super) fn for_this_machine(self) -> Self {
        self.expression("fib", |data| {
            data.network_number(FIB_TO, FIRST)
                .network_number(FIB_RESULT, FIB_KIND_OF_ADDRESS)
                .network_number(FIB_FLAGS, FIB_BY_DESTINATION)
        })
        .compare(EQUAL, &KIND_LOCAL.to_ne_bytes())
    }

    /// Loads a field of the packet.
    pub(super) fn load(self, field: Field, register: u32) -> Self {
        let (base, offset, length) = field.place();
        self.expression("payload", |data| {
            data.network_number(PAYLOAD_TO, register)
                .network_number(PAYLOAD_BASE, base)
                .network_number(PAYLOAD_OFFSET, offset)
                .network_number(PAYLOAD_LENGTH, length)
        })
    }

    /// Loads the number of the packet's transport protocol.
    pub(super) fn load_protocol(self, register: u32) -> Self {
        self.meta(META_PROTOCOL, register)
    }

    /// Goes on if a set has what is loaded.
    pub(super) fn found_in(self, set: &str) -> Self {
        self.expression("lookup", |data| data.text(LOOKUP_SET, set).network_number(LOOKUP_FROM, FIRST))
    }

    /// Sends the packet to the address and port that a map has for what is loaded; goes on if it has none.
    pub(super) fn redirect_by(self, map: &str) -> Self {
        self.expression("lookup", |data| {
            data.text(LOOKUP_SET, map).network_number(LOOKUP_FROM, FIRST).network_number(LOOKUP_TO, FOUND)
        })
        .expression("nat", |data| {
            data.network_number(NAT_KIND, NAT_DESTINATION)
                .network_number(NAT_FAMILY, IPV4)
                .network_number(NAT_ADDRESS, FOUND)
                .network_number(NAT_PORT, FOUND + 1)
        })
    }

    /// Makes the packet one of this machine's.
    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", |data| data)
    }

    pub(super) fn accept(self) -> Self {
        self.verdict(|verdict| verdict.network_number(VERDICT_CODE, ACCEPT))
    }

    pub(super) fn drop(self) -> Self {
        self.verdict(|verdict| verdict.network_number(VERDICT_CODE, DROP))
    }

    /// Ends the chain.
    pub(super) fn leave(self) -> Self {
        self.verdict(|verdict| verdict.network_number(VERDICT_CODE, RETURN.cast_unsigned()))
    }

    /// Goes through another chain first.
    pub(super) fn jump(self, chain: &str) -> Self {
        self.verdict(|verdict| {
            verdict.network_number(VERDICT_CODE, JUMP.cast_unsigned()).text(VERDICT_CHAIN, chain)
        })
    }

    fn verdict(self, fill: impl FnOnce(Message) -> Message) -> Self {
        self.expression("immediate", |data| {
            data.network_number(IMMEDIATE_TO, VERDICT)
                .nest(IMMEDIATE_DATA, |value| value.nest(DATA_VERDICT, fill))
        })
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", |data| data.network_number(META_TO, register).network_number(META_KEY, key))
    }

    fn masked(self, field: Field, subnet: Subnet) -> Self {
        self.load(field, FIRST).expression("bitwise", |data| {
            data.network_number(BITWISE_FROM, FIRST)
                .network_number(BITWISE_TO, FIRST)
                .network_number(BITWISE_LENGTH, 4)
                .nest(BITWISE_MASK, |value| value.bytes(DATA_VALUE, &subnet.mask().octets()))
                .nest(BITWISE_XOR, |value| value.bytes(DATA_VALUE, &Ipv4Addr::UNSPECIFIED.octets()))
        })
    }

    fn compare(self, operation: u32, bytes: &[u8]) -> Self {
        self.expression("cmp", |data| {
            data.network_number(COMPARE_FROM, FIRST)
                .network_number(COMPARE_HOW, operation)
                .nest(COMPARE_WITH, |value| value.bytes(DATA_VALUE, bytes))
        })
    }

    fn expression(self, name: &str, fill: impl FnOnce(Message) -> Message) -> Self {
        let message = self.message.nest(LIST_ELEMENT, |expression| {
            expression.text(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, fill)
        });
        Self { message }
    }
}

/// A field of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Source,
    Destination,
    DestinationPort,
    /// Who sends the frame.
    SourceMac,
    /// Whose address a message of ARP tells.
    ArpMac,
    /// Which address it tells.
    ArpAddress,
}

impl Field {
    /// Header, offset and length.
    fn place(self) -> (u32, u32, u32) {
        match self {
            Self::Source => (NETWORK_HEADER, 12, 4),
            Self::Destination => (NETWORK_HEADER, 16, 4),
            Self::DestinationPort => (TRANSPORT_HEADER, 2, 2),
            Self::SourceMac => (LINK_HEADER, 6, 6),
            Self::ArpMac => (NETWORK_HEADER, 8, 6),
            Self::ArpAddress => (NETWORK_HEADER, 14, 4),
        }
    }
}

/// A name as long as the kernel's field.
fn link_bytes(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(bytes.len() - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

/// The first of the registers of 4 bytes each, `NFT_REG32_00`; what is loaded for a look into a set is in those that follow.
pub(super) const FIRST: u32 = 8;
/// Where maps put what they have.
const FOUND: u32 = FIRST + 4;
/// The register for verdicts.
const VERDICT: u32 = 0;

// Verdicts.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const JUMP: i32 = -3;
const RETURN: i32 = -5;

// `NFTA_*`, by expression.
pub(super) const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
pub(super) const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const IMMEDIATE_TO: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const META_TO: u16 = 1;
const META_KEY: u16 = 2;
const META_FRAME_KIND: u32 = 1;
const META_FROM_LINK: u32 = 6;
const META_TO_LINK: u32 = 7;
const META_PROTOCOL: u32 = 16;
const PAYLOAD_TO: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const BITWISE_FROM: u16 = 1;
const BITWISE_TO: u16 = 2;
const BITWISE_LENGTH: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const COMPARE_FROM: u16 = 1;
const COMPARE_HOW: u16 = 2;
const COMPARE_WITH: u16 = 3;
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;
const LOOKUP_SET: u16 = 1;
const LOOKUP_FROM: u16 = 2;
const LOOKUP_TO: u16 = 3;
const FIB_TO: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;
const FIB_KIND_OF_ADDRESS: u32 = 3;
const FIB_BY_DESTINATION: u32 = 2;
/// `RTN_LOCAL`.
const KIND_LOCAL: u32 = 2;
const NAT_KIND: u16 = 1;
const NAT_FAMILY: u16 = 2;
const NAT_ADDRESS: u16 = 3;
const NAT_PORT: u16 = 5;
const NAT_DESTINATION: u32 = 1;
/// `NFPROTO_IPV4`.
const IPV4: u32 = 2;
