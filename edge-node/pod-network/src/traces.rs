//! What nodes leave in the kernel: taken away where it is nobody's any more.

use std::collections::BTreeSet;

use crate::{
    address::LinkName,
    claim::Claim,
    filter,
    owner::Owner,
    route::Routing,
    socket::Socket,
    step::{Step as _, StepError},
};

/// Whether pods are on the bridge of a name, or were when their node ended.
///
/// # Errors
/// When the kernel does not tell.
pub fn has_pods(bridge: &LinkName) -> Result<bool, StepError> {
    let mut routing = Routing::open().step(OPEN)?;
    has_ports(bridge.as_str(), &mut routing)
}

/// Removes bridges and tables of nodes that are gone: of ours by name, of blocks that nobody claims, and with no pod. `first_of` says which
/// block's a name is, if it is one of ours.
///
/// # Errors
/// When something can be left.
pub fn sweep(first_of: impl Fn(&str) -> Option<u16>) -> Result<(), StepError> {
    let mut routing = Routing::open().step(OPEN)?;
    let is_ours = |name: &str| first_of(name).is_some();
    let bridges = routing.links(|link| {
        link.kind == "bridge" && link.alias == format!("dunlin:{}", link.name) && is_ours(&link.name)
    });
    let mut names: BTreeSet<_> = bridges.step("list interfaces")?.into_iter().map(|link| link.name).collect();
    // Without a packet filter there are no tables.
    let tables = Socket::netfilter().and_then(|mut socket| filter::tables(&mut socket, is_ours));
    names.extend(tables.unwrap_or_default());
    for name in names {
        let Some(first) = first_of(&name) else { continue };
        // As long as it is looked at nobody begins to use it.
        if let Ok(_claim) = Claim::try_take(first, 1) {
            remove(&name, &mut routing)?;
        }
    }
    Ok(())
}

/// Removes the bridge and the tables of a name, unless a pod is there.
pub(crate) fn remove(bridge: &str, routing: &mut Routing) -> Result<(), StepError> {
    if has_ports(bridge, routing)? {
        return Ok(());
    }
    let found = routing.link(bridge).step("find the bridge")?;
    if let Some(link) = found.filter(|link| link.kind == "bridge") {
        routing.remove_link(link.index).step("remove the bridge")?;
    }
    // Without a packet filter there are no tables.
    let Ok(mut socket) = Socket::netfilter() else { return Ok(()) };
    filter::remove_tables(&mut socket, bridge).step("remove the tables of the packet filter")
}

fn has_ports(bridge: &str, routing: &mut Routing) -> Result<bool, StepError> {
    let Some(name) = LinkName::new(bridge) else { return Ok(false) };
    let owner = Owner::new(name);
    let ports = routing.links(|link| owner.pod(&link.alias).is_some()).step("list interfaces")?;
    Ok(!ports.is_empty())
}

const OPEN: &str = "open a socket for links and routes";
