//! A pod's pair of interfaces: `eth0` inside, a port of the bridge outside.
//!
//! The pair is made by the pod's namespace, its outer end in the machine's, and marked there. Whatever is killed in between, what is left
//! goes with the inner end, by the next attempt or with the pod's namespace.

use std::{io, net::Ipv4Addr};

use dunlin_link::PodUid;

use crate::{
    address::Mac,
    bridge::Bridge,
    error::AttachError,
    namespace::Namespace,
    owner::Owner,
    route::{Link, PortOf, Power, Routing, Wanted},
    step::{Step as _, StepError},
    sysctl,
};

/// Puts a pod onto the bridge, or mends what is there. `guard` sees to the port of the bridge before anything comes from it.
pub(crate) fn attach(
    owner: &Owner,
    bridge: &Bridge,
    machine: (&Namespace, &mut Routing),
    pod: (&PodUid, &Namespace, Ipv4Addr),
    guard: impl FnOnce(&str) -> Result<(), AttachError>,
) -> Result<(), AttachError> {
    let ((home, routing), (uid, namespace, address)) = (machine, pod);
    let mut inside = namespace.run(prepare).step("enter the pod's network namespace")?;
    let outer = find(owner, uid, routing).step(FIND)?;
    let inner = inside.link(INNER).step(FIND)?;
    let outer = match (outer, inner) {
        (Some(outer), Some(inner)) if outer.is_paired_with(&inner) => outer,
        (outer, inner) => {
            // Of a namespace that is going, or of an attempt that broke off.
            for (side, link) in [(&mut *routing, outer), (&mut inside, inner)] {
                if let Some(link) = link {
                    side.remove_link(link.index).step("remove what was left")?;
                }
            }
            let name = free_name(owner, uid, routing)?;
            inside.create_pair((INNER, Mac::of(address)), (&name, home)).step("make the pod's interfaces")?;
            let outer = routing.link(&name).step(FIND)?.ok_or_else(vanished)?;
            let alias = owner.alias(uid);
            let mark = Wanted { alias: Some(&alias), ..Wanted::default() };
            routing.change(outer.index, &mark).step("mark the pod's interface")?;
            outer
        }
    };
    guard(&outer.name)?;
    let port = Wanted {
        mtu: Some(bridge.mtu),
        port: PortOf::Bridge(bridge.index),
        power: Power::On,
        ..Wanted::default()
    };
    routing.change(outer.index, &port).step("make the pod's interface a port of the bridge")?;
    routing.set_reach(outer.index, bridge.reach).step("set up the bridge's port")?;
    let inner = inside.link(INNER).step(FIND)?.ok_or_else(vanished)?;
    set_up_inside(&inner, bridge, address, &mut inside).step("set up the pod's interface")?;
    Ok(())
}

/// Takes a pod from the bridge; one that is not there is fine.
pub(crate) fn detach(owner: &Owner, uid: &PodUid, routing: &mut Routing) -> io::Result<()> {
    match find(owner, uid, routing)? {
        Some(link) => routing.remove_link(link.index),
        None => Ok(()),
    }
}

/// Names of the pod's port that nothing has now.
pub(crate) fn free_names(owner: &Owner, uid: &PodUid, routing: &mut Routing) -> io::Result<Vec<String>> {
    let mut free = Vec::new();
    for name in owner.names(uid) {
        if routing.link(&name)?.is_none() {
            free.push(name);
        }
    }
    Ok(free)
}

/// The machine's end of a pod's pair.
fn find(owner: &Owner, uid: &PodUid, routing: &mut Routing) -> io::Result<Option<Link>> {
    let alias = owner.alias(uid);
    for name in owner.names(uid) {
        if let Some(link) = routing.link(&name)?.filter(|link| link.alias == alias) {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

fn free_name(owner: &Owner, uid: &PodUid, routing: &mut Routing) -> Result<String, AttachError> {
    for name in owner.names(uid) {
        if routing.link(&name).step(FIND)?.is_none() {
            return Ok(name);
        }
    }
    Err(AttachError::NoName { names: owner.names(uid).collect() })
}

/// What is set on the thread that is inside; the socket stays there.
fn prepare() -> io::Result<Routing> {
    // The way through the machine is the only one: see `Reach`.
    for place in ["all", "default"] {
        sysctl::set(&format!("ipv4/conf/{place}/accept_redirects"), "0")?;
    }
    Routing::open()
}

fn set_up_inside(inner: &Link, bridge: &Bridge, address: Ipv4Addr, inside: &mut Routing) -> io::Result<()> {
    inside.change(LOOPBACK, &Wanted { power: Power::On, ..Wanted::default() })?;
    let wanted =
        Wanted { mac: Some(Mac::of(address)), mtu: Some(bridge.mtu), power: Power::On, ..Wanted::default() };
    inside.change(inner.index, &wanted)?;
    inside.set_address(inner.index, address)?;
    inside.set_default_route(inner.index, bridge.gateway)
}

fn vanished() -> StepError {
    io::Error::from_raw_os_error(libc::ENODEV).step(FIND)
}

const FIND: &str = "find the pod's interface";
/// What every container expects.
const INNER: &str = "eth0";
/// The first interface of every network namespace.
const LOOPBACK: u32 = 1;
