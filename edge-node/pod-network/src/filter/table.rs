//! The one table: what is in it, and the messages that put it there.

use std::net::Ipv4Addr;

use super::{
    element::{self, Element, Map},
    expression::{FIRST, Field, Rule},
};
use crate::{
    address::Subnet,
    socket::{ACK, APPEND, Batch, CREATE, LIST},
    wire::{Message, attribute, text},
};

/// What the table depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    /// The bridge's name, and the table's.
    pub(super) name: &'a str,
    /// Where all pods are.
    pub(super) cluster: Subnet,
}

impl Table<'_> {
    /// Replaces the table, whatever was there, and what each message but the first and last is about.
    pub(super) fn replace(&self, elements: &[Element]) -> (Batch, Vec<&'static str>) {
        let mut parts = Parts::default();
        // Deleting what is not there is refused, so it is made first.
        parts.add("nf_tables", self.table(NEW_TABLE, CREATE));
        parts.add("nf_tables", self.table(DELETE_TABLE, 0));
        parts.add("nf_tables", self.table(NEW_TABLE, CREATE));
        for (number, map) in (1..).zip(Map::ALL) {
            parts.add("sets in nf_tables", map.create(self.name, number));
        }
        for message in element::fill(self.name, elements) {
            parts.add("sets in nf_tables", message);
        }
        self.add_chains(&mut parts);
        self.add_rules(&mut parts);
        // The last one asks for an answer, so that there is one if nothing is refused.
        parts.add("nf_tables", self.table(NEW_TABLE, CREATE | ACK));
        (batch(parts.messages), parts.names)
    }

    /// Asks whether the table is there.
    pub(super) fn ask(&self) -> Message {
        message(GET_TABLE, ACK, [0; 2]).text(TABLE_NAME, self.name)
    }

    fn table(&self, kind: u16, flags: u16) -> Message {
        message(kind, flags, [0; 2]).text(TABLE_NAME, self.name)
    }

    fn add_chains(&self, parts: &mut Parts) {
        parts.add("nf_tables", self.chain(REDIRECT));
        for (name, kind, hook, priority) in [
            ("guard", "filter", PREROUTING, BEFORE_TRACKING),
            ("prerouting", "nat", PREROUTING, DESTINATION_NAT),
            ("output", "nat", OUTPUT, DESTINATION_NAT),
            ("postrouting", "nat", POSTROUTING, SOURCE_NAT),
        ] {
            let part = if kind == "nat" { "nat in nf_tables (nft_chain_nat)" } else { "nf_tables for IPv4" };
            let chain = self.chain(name).text(CHAIN_KIND, kind).nest(CHAIN_HOOK, |where_| {
                where_
                    .network_number(HOOK_NUMBER, hook)
                    .network_number(HOOK_PRIORITY, priority.cast_unsigned())
            });
            parts.add(part, chain.network_number(CHAIN_POLICY, ACCEPT));
        }
    }

    fn chain(&self, name: &str) -> Message {
        message(NEW_CHAIN, CREATE, [0; 2]).text(CHAIN_TABLE, self.name).text(CHAIN_NAME, name)
    }

    fn add_rules(&self, parts: &mut Parts) {
        let (bridge, cluster) = (self.name, self.cluster);
        let loopback = subnet(Ipv4Addr::new(127, 0, 0, 0), 8);
        for field in [Field::Source, Field::Destination] {
            self.rule(parts, "rules", "guard", |rule| rule.enters_by(bridge).within(field, loopback).drop());
        }
        self.rule(parts, "redirection (nft_nat)", REDIRECT, |rule| {
            let rule = rule.load(Field::Destination, FIRST).load_protocol(FIRST + 1);
            rule.load(Field::DestinationPort, FIRST + 2).redirect_by(Map::Bound.name())
        });
        self.rule(parts, "nft_fib and nft_fib_ipv4", REDIRECT, |rule| {
            let rule = rule.for_this_machine().load_protocol(FIRST);
            rule.load(Field::DestinationPort, FIRST + 1).redirect_by(Map::Ports.name())
        });
        self.rule(parts, "rules", "prerouting", |rule| rule.jump(REDIRECT));
        // Pods with WASM alone listen at addresses of 127.0.0.0/8 that stand for their own.
        self.rule(parts, "rules", "output", |rule| {
            let own = subnet(Ipv4Addr::new(127, 0, 0, 0), 16);
            rule.within(Field::Destination, loopback).outside(Field::Destination, own).leave()
        });
        self.rule(parts, "rules", "output", |rule| rule.jump(REDIRECT));
        self.rule(parts, MASQUERADE, "postrouting", |rule| {
            rule.within(Field::Source, loopback).leaves_by(bridge).masquerade()
        });
        self.rule(parts, MASQUERADE, "postrouting", |rule| {
            let rule = rule.load(Field::Source, FIRST).load(Field::Destination, FIRST + 1);
            rule.found_in(Map::Pods.name()).masquerade()
        });
        self.rule(parts, MASQUERADE, "postrouting", |rule| {
            let rule = rule.within(Field::Source, cluster).outside(Field::Destination, cluster);
            rule.leaves_elsewhere_than(bridge).masquerade()
        });
    }

    fn rule(&self, parts: &mut Parts, part: &'static str, chain: &str, fill: impl FnOnce(Rule) -> Rule) {
        let message = message(NEW_RULE, CREATE | APPEND, [0; 2]);
        let message = message.text(RULE_TABLE, self.name).text(RULE_CHAIN, chain);
        parts.add(part, message.nest(RULE_EXPRESSIONS, |list| fill(Rule::new(list)).finish()));
    }
}

/// Asks for all tables of all families.
pub(super) fn list_tables() -> Message {
    Message::new(GET_TABLE, LIST).raw(&[0; MESSAGE_HEADER_BYTES])
}

/// The name of a table, of an answer to `list_tables`, that is of a family of ours.
pub(super) fn own_table(body: &[u8]) -> Option<&str> {
    let (header, rest) = body.split_at_checked(MESSAGE_HEADER_BYTES)?;
    [IPV4, INGRESS_FAMILY].contains(&header[0]).then(|| attribute(rest, TABLE_NAME).and_then(text))?
}

/// Removes the table of ports of a name, and
pub(super) fn remove_table(name: &str) -> Message {
    message(DELETE_TABLE, ACK, [0; 2]).text(TABLE_NAME, name)
}

/// that of guards.
pub(super) fn remove_ingress_table(name: &str) -> Message {
    ingress_message(DELETE_TABLE, ACK).text(TABLE_NAME, name)
}

/// Asks for all chains of all families.
pub(super) fn list_chains() -> Message {
    Message::new(GET_CHAIN, LIST).raw(&[0; MESSAGE_HEADER_BYTES])
}

/// The name of a chain, of an answer to `list_chains`, that drops what is forwarded over IPv4 unless a rule accepts it.
pub(super) fn dropping_chain(body: &[u8]) -> Option<String> {
    let (header, rest) = body.split_at_checked(MESSAGE_HEADER_BYTES)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
    let hook = attribute(rest, CHAIN_HOOK).and_then(|hook| attribute(hook, HOOK_NUMBER)).and_then(number);
    let policy = attribute(rest, CHAIN_POLICY).and_then(number);
    let is_ours = [IPV4, ANY_IP].contains(&header[0]) && hook == Some(FORWARD) && policy == Some(DROP);
    let name = |kind| attribute(rest, kind).and_then(text);
    is_ours.then(|| {
        format!("chain `{}` of table `{}`", name(CHAIN_NAME).unwrap_or("?"), name(CHAIN_TABLE).unwrap_or("?"))
    })
}

/// Messages, and for each what the kernel has to have for it.
#[derive(Default)]
struct Parts {
    messages: Vec<Message>,
    names: Vec<&'static str>,
}

impl Parts {
    fn add(&mut self, name: &'static str, message: Message) {
        self.names.push(name);
        self.messages.push(message);
    }
}

/// A message with `struct nfgenmsg`: family, version, and which subsystem a batch is for.
pub(super) fn message(kind: u16, flags: u16, for_whom: [u8; 2]) -> Message {
    let [high, low] = for_whom;
    let family = if kind == BATCH_BEGIN || kind == BATCH_END { 0 } else { IPV4 };
    Message::new(kind, flags).raw(&[family, 0, high, low])
}

/// A message about what frames pass as they enter by an interface.
pub(super) fn ingress_message(kind: u16, flags: u16) -> Message {
    Message::new(kind, flags).raw(&[INGRESS_FAMILY, 0, 0, 0])
}

/// A batch of messages, the last of which has to ask for an answer.
pub(super) fn batch(messages: Vec<Message>) -> Batch {
    let (begin, end) = (message(BATCH_BEGIN, 0, FOR_TABLES), message(BATCH_END, 0, FOR_TABLES));
    Batch::new(begin, messages, end)
}

/// The name of a chain, of an answer to `list_chains`, in a table of frames that enter.
pub(super) fn ingress_chain<'a>(body: &'a [u8], table: &str) -> Option<&'a str> {
    let (header, rest) = body.split_at_checked(MESSAGE_HEADER_BYTES)?;
    let name = |kind| attribute(rest, kind).and_then(text);
    (header[0] == INGRESS_FAMILY && name(CHAIN_TABLE) == Some(table)).then(|| name(CHAIN_NAME))?
}

fn subnet(network: Ipv4Addr, prefix: u8) -> Subnet {
    Subnet::new(network, prefix).expect("the network of a constant has no bits after its prefix")
}

/// The chain that looks for ports.
const REDIRECT: &str = "redirect";
const MASQUERADE: &str = "masquerading (nft_masq)";

/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NFPROTO_NETDEV`.
const INGRESS_FAMILY: u8 = 5;
/// `NFPROTO_INET`.
const ANY_IP: u8 = 1;
/// `struct nfgenmsg`.
const MESSAGE_HEADER_BYTES: usize = 4;
/// `NFNL_MSG_BATCH_BEGIN` and `_END`.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `NFNL_SUBSYS_NFTABLES`, as a batch names it.
const FOR_TABLES: [u8; 2] = [0, TABLES];
const TABLES: u8 = 10;

// `NFT_MSG_*` of the subsystem.
pub(super) const NEW_TABLE: u16 = 0x0a00;
const GET_TABLE: u16 = 0x0a01;
const DELETE_TABLE: u16 = 0x0a02;
pub(super) const NEW_CHAIN: u16 = 0x0a03;
const GET_CHAIN: u16 = 0x0a04;
pub(super) const DELETE_CHAIN: u16 = 0x0a05;
pub(super) const NEW_RULE: u16 = 0x0a06;
pub(super) const DELETE_RULE: u16 = 0x0a08;

// `NFTA_*`, by message.
pub(super) const TABLE_NAME: u16 = 1;
pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
pub(super) const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_KIND: u16 = 7;
pub(super) const HOOK_NUMBER: u16 = 1;
pub(super) const HOOK_PRIORITY: u16 = 2;
pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;

// Hooks, priorities and the verdict of who reaches a chain's end.
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const BEFORE_TRACKING: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;
const DROP: u32 = 0;
pub(super) const ACCEPT: u32 = 1;
