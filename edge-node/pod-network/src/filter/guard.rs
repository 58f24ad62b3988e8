//! Keeps each pod to its own addresses: what enters by its port of the bridge with others is dropped, before anything else sees it. A chain
//! for each port, which has the port's name.

use std::{io, net::Ipv4Addr};

use super::{
    FilterError,
    expression::{Field, Rule},
    failed,
    table::{
        ACCEPT, CHAIN_HOOK, CHAIN_KIND, CHAIN_NAME, CHAIN_POLICY, CHAIN_TABLE, DELETE_CHAIN, DELETE_RULE,
        HOOK_NUMBER, HOOK_PRIORITY, NEW_CHAIN, NEW_RULE, NEW_TABLE, RULE_CHAIN, RULE_EXPRESSIONS, RULE_TABLE,
        TABLE_NAME, batch, ingress_chain, ingress_message, list_chains,
    },
};
use crate::{
    address::{LinkName, Mac},
    socket::{ACK, APPEND, BatchError, CREATE, Socket},
    wire::Message,
};

/// Our table of such chains in the kernel.
#[derive(Debug)]
pub(crate) struct Guards {
    socket: Socket,
    table: LinkName,
}

impl Guards {
    /// Makes the table, or takes it as it is.
    pub(crate) fn open(table: &LinkName) -> Result<Self, FilterError> {
        let socket = Socket::netfilter().map_err(|error| failed(PART, error))?;
        let mut guards = Self { socket, table: table.clone() };
        guards.mend()?;
        Ok(guards)
    }

    /// Puts the table back if somebody removed it; its chains come back with `set`.
    pub(crate) fn mend(&mut self) -> Result<(), FilterError> {
        self.carry_out(vec![self.make(ACK)])
    }

    /// Lets pass what says that it comes from the pod with this address, and nothing else.
    pub(crate) fn set(&mut self, port: &str, address: Ipv4Addr) -> Result<(), FilterError> {
        let mac = Mac::of(address).bytes();
        let chain = self.chain(NEW_CHAIN, CREATE, port).text(CHAIN_KIND, "filter").nest(CHAIN_HOOK, |hook| {
            let hook = hook.network_number(HOOK_NUMBER, INGRESS).network_number(HOOK_PRIORITY, 0);
            hook.text(HOOK_LINK, port)
        });
        // What an earlier agent put there, the same or not.
        let flush = ingress_message(DELETE_RULE, 0);
        let flush = flush.text(RULE_TABLE, self.table.as_str()).text(RULE_CHAIN, port);
        let mut messages = vec![self.make(0), chain.network_number(CHAIN_POLICY, ACCEPT), flush];
        let mut rule = |fill: &dyn Fn(Rule) -> Rule| {
            let rule = ingress_message(NEW_RULE, CREATE | APPEND);
            let rule = rule.text(RULE_TABLE, self.table.as_str()).text(RULE_CHAIN, port);
            messages.push(rule.nest(RULE_EXPRESSIONS, |list| fill(Rule::new(list)).finish()));
        };
        rule(&|rule| rule.lacks(Field::SourceMac, &mac).drop());
        rule(&|rule| rule.holds(IPV4).has(Field::Source, &address.octets()).accept());
        rule(&|rule| {
            let rule = rule.holds(ARP).has(Field::ArpMac, &mac);
            rule.has(Field::ArpAddress, &address.octets()).accept()
        });
        rule(&Rule::drop);
        messages.push(self.make(ACK));
        self.carry_out(messages)
    }

    /// Forgets a port that is not there any more.
    pub(crate) fn remove(&mut self, port: &str) -> Result<(), FilterError> {
        let batch = batch(vec![self.chain(DELETE_CHAIN, ACK, port)]);
        match self.socket.batch(batch) {
            // Kernels before 6.16 remove it with the port.
            Err(BatchError { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| failed(PART, error.source)),
        }
    }

    /// The ports that have a chain.
    pub(crate) fn ports(&mut self) -> Result<Vec<String>, FilterError> {
        let Self { socket, table } = self;
        let mut ports = Vec::new();
        socket
            .fetch(list_chains(), |received| {
                ports.extend(ingress_chain(received.body, table.as_str()).map(str::to_owned));
            })
            .map_err(|error| failed(PART, error))?;
        Ok(ports)
    }

    fn make(&self, flags: u16) -> Message {
        ingress_message(NEW_TABLE, CREATE | flags).text(TABLE_NAME, self.table.as_str())
    }

    fn chain(&self, kind: u16, flags: u16, port: &str) -> Message {
        ingress_message(kind, flags).text(CHAIN_TABLE, self.table.as_str()).text(CHAIN_NAME, port)
    }

    fn carry_out(&mut self, messages: Vec<Message>) -> Result<(), FilterError> {
        self.socket.batch(batch(messages)).map_err(|error| failed(PART, error.source))
    }
}

const PART: &str = "filtering at interfaces (CONFIG_NF_TABLES_NETDEV)";
/// `NF_NETDEV_INGRESS`.
const INGRESS: u32 = 0;
/// `NFTA_HOOK_DEV`.
const HOOK_LINK: u16 = 3;
// Kinds of frames.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
