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

/// `None` for a protocol that no version of WASI has.
pub(super) fn listening(listen: &Listen) -> Option<Listening> {
    let transport = match listen.protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => return None,
    };
    Some(Listening { port: listen.container_port, transport, address: listen.address })
}
