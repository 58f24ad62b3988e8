//! An interface, as the kernel tells it and as it is asked to be.

use std::os::fd::{AsFd as _, AsRawFd as _};

use crate::{
    address::Mac,
    namespace::Namespace,
    wire::{Message, attribute, text, u16_at, u32_at},
};

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What its owner wrote at it.
    pub(crate) alias: String,
    /// What it is, such as `bridge` or `veth`; empty for hardware.
    pub(crate) kind: String,
    pub(crate) mtu: u32,
    /// Number of its other end, in whichever namespace that is.
    pub(crate) other_end: Option<u32>,
}

impl Link {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let index = u32_at(body, 4)?;
        let rest = body.get(HEADER_BYTES..)?;
        let word = |kind| attribute(rest, kind).and_then(text).unwrap_or_default().to_owned();
        let number = |kind| attribute(rest, kind).and_then(|payload| u32_at(payload, 0));
        let info = attribute(rest, INFO).unwrap_or_default();
        // Answers of other kinds have the same shape, but no name.
        let name = word(NAME);
        (u16_at(body, 2).is_some() && !name.is_empty()).then(|| Self {
            index,
            name,
            alias: word(ALIAS),
            kind: attribute(info, INFO_KIND).and_then(text).unwrap_or_default().to_owned(),
            mtu: number(MTU).unwrap_or(0),
            other_end: number(OTHER_END),
        })
    }

    /// Whether the two are ends of one pair, as far as their numbers tell: each is told by the other's.
    pub(crate) fn is_paired_with(&self, other: &Self) -> bool {
        self.kind == PAIR
            && other.kind == PAIR
            && self.other_end == Some(other.index)
            && other.other_end == Some(self.index)
    }
}

/// What an interface shall have; it is on afterwards unless only its alias is asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) alias: Option<&'a str>,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
    pub(crate) port: PortOf,
    pub(crate) power: Power,
}

/// Which bridge an interface shall be a port of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum PortOf {
    #[default]
    AsItIs,
    Bridge(u32),
}

/// Whether an interface shall be on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Power {
    #[default]
    AsItIs,
    On,
}

impl Wanted<'_> {
    pub(super) fn write(&self, message: Message, index: u32) -> Message {
        let flags = match self.power {
            Power::AsItIs => 0,
            Power::On => IS_ON,
        };
        let mut message = message.raw(&header(index, flags));
        if let Some(alias) = self.alias {
            message = message.bytes(ALIAS, alias.as_bytes());
        }
        if let Some(mac) = self.mac {
            message = message.bytes(ADDRESS, &mac.bytes());
        }
        if let Some(mtu) = self.mtu {
            message = message.number(MTU, mtu);
        }
        if let PortOf::Bridge(bridge) = self.port {
            message = message.number(MASTER, bridge);
        }
        message
    }
}

pub(super) fn in_namespace(message: Message, namespace: &Namespace) -> Message {
    message.bytes(NAMESPACE, &namespace.as_fd().as_raw_fd().to_ne_bytes())
}

/// `struct ifinfomsg`; `flags` are switched on.
pub(super) fn header(index: u32, flags: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

const HEADER_BYTES: usize = 16;
/// `IFF_UP`.
const IS_ON: u32 = 1;

/// Kind of a bridge.
pub(super) const BRIDGE: &str = "bridge";
/// Kind of a pair's ends.
pub(super) const PAIR: &str = "veth";

// `IFLA_*`.
pub(super) const ADDRESS: u16 = 1;
pub(super) const NAME: u16 = 3;
const MTU: u16 = 4;
const OTHER_END: u16 = 5;
const MASTER: u16 = 10;
pub(super) const PORT: u16 = 12;
pub(super) const INFO: u16 = 18;
const ALIAS: u16 = 20;
const NAMESPACE: u16 = 28;

// `IFLA_INFO_*`, `VETH_INFO_PEER`, `IFLA_BRPORT_*`.
pub(super) const INFO_KIND: u16 = 1;
pub(super) const INFO_DATA: u16 = 2;
pub(super) const PAIR_PEER: u16 = 1;
pub(super) const PORT_HAIRPIN: u16 = 4;
pub(super) const PORT_ISOLATED: u16 = 33;
