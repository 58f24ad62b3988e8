//! Connections that the kernel tracks. One over UDP has no end: as long as something comes, it goes where its first packet went,
//! whatever the table says by now.

use std::{collections::BTreeSet, io, net::Ipv4Addr};

use super::{element::UDP, table::message};
use crate::{
    socket::{ACK, LIST, Socket},
    wire::attribute,
};

/// Forgets what goes by UDP to one of the machine's addresses and one of `ports`.
pub(super) fn forget(
    socket: &mut Socket,
    addresses: &BTreeSet<Ipv4Addr>,
    ports: &BTreeSet<u16>,
) -> io::Result<()> {
    let mut found = Vec::new();
    socket.fetch(message(GET_CONNECTION, LIST, [0; 2]), |received| {
        let rest = received.body.get(MESSAGE_HEADER_BYTES..).unwrap_or_default();
        let asked = attribute(rest, AS_ASKED).unwrap_or_default();
        if is_meant(asked, addresses, ports) && found.len() < FORGOTTEN_MAX {
            found.push(asked.to_vec());
        }
    })?;
    for asked in found {
        let message = message(DELETE_CONNECTION, ACK, [0; 2]).nest(AS_ASKED, |tuple| tuple.raw(&asked));
        match socket.ask(message) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_meant(asked: &[u8], addresses: &BTreeSet<Ipv4Addr>, ports: &BTreeSet<u16>) -> bool {
    let field = |part, kind| attribute(asked, part).and_then(|part| attribute(part, kind));
    let to = field(ADDRESSES, TO_ADDRESS).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let port = field(PROTOCOL, TO_PORT).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
    field(PROTOCOL, PROTOCOL_NUMBER) == Some(&[UDP])
        && port.is_some_and(|port| ports.contains(&port))
        && to.is_some_and(|to| addresses.contains(&Ipv4Addr::from(to)))
}

/// The kernel tracks some hundred thousand; what is left here ends by itself when nothing comes for half a minute.
const FORGOTTEN_MAX: usize = 65_536;
/// `struct nfgenmsg`.
const MESSAGE_HEADER_BYTES: usize = 4;

// `IPCTNL_MSG_CT_*` of the subsystem.
const GET_CONNECTION: u16 = 0x0101;
const DELETE_CONNECTION: u16 = 0x0102;

// `CTA_*`.
const AS_ASKED: u16 = 1;
const ADDRESSES: u16 = 1;
const TO_ADDRESS: u16 = 2;
const PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const TO_PORT: u16 = 3;
