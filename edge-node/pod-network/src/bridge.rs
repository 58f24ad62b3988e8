//! The node's bridge: made, or brought into the state it shall have, whatever somebody did to it.

use std::{io, net::Ipv4Addr};

use crate::{
    address::{LinkName, Mac, Subnet},
    error::OpenError,
    route::{Link, Power, Reach, Routing, Wanted},
    step::Step as _,
    sysctl,
};

/// What the bridge of a node shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Its name, and the name of the packet filter's table.
    pub name: LinkName,
    /// Where all pods of the cluster are; what leaves it is masqueraded.
    pub cluster: Subnet,
    /// The node's part of it, at least one. The first address of the first one is the machine's.
    pub blocks: Vec<Subnet>,
    /// Largest packet; `None` is that of the interface with the default route.
    pub mtu: Option<u32>,
}

/// The bridge as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mtu: u32,
    /// What its ports are given.
    pub(crate) reach: Reach,
}

impl Bridge {
    /// Makes or mends it.
    pub(crate) fn ensure(config: &BridgeConfig, routing: &mut Routing) -> Result<Self, OpenError> {
        let gateway = config.blocks.first().ok_or(OpenError::NoBlocks)?.network();
        sysctl::set("ipv4/ip_forward", "1").map_err(|source| OpenError::Forwarding { source })?;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => routing.uplink().step("find the default route")?.map_or(MTU, |uplink| uplink.mtu),
        };
        let name = config.name.as_str();
        let link = find_or_create(name, gateway, routing)?;
        let (mac, alias) = (Mac::of(gateway), format!("dunlin:{name}"));
        let wanted = Wanted {
            alias: Some(&alias),
            // Without one of its own, a bridge changes its address as its ports come and go.
            mac: Some(mac),
            mtu: Some(mtu),
            power: Power::On,
            ..Wanted::default()
        };
        routing.change(link.index, &wanted).step("set up the bridge")?;
        set_up_inside(config, link.index, gateway, routing)
            .step("give the bridge its addresses and settings")?;
        let reach = reach().step("see whether bridges are filtered")?;
        Ok(Self { index: link.index, gateway, mtu, reach })
    }
}

/// Ports reach the machine alone, and so each other through it. Where bridges filter (`br_netfilter`, as Docker wants it), what is
/// redirected to another port, or to the one it came from, is handed on within the bridge, and has to be let through.
fn reach() -> io::Result<Reach> {
    let is_filtered = sysctl::value("bridge/bridge-nf-call-iptables")?.is_some_and(|value| value != "0");
    Ok(if is_filtered { Reach::AllAndItself } else { Reach::Machine })
}

fn find_or_create(name: &str, gateway: Ipv4Addr, routing: &mut Routing) -> Result<Link, OpenError> {
    const STEP: &str = "find the bridge";
    if let Some(link) = routing.link(name).step(STEP)? {
        if link.kind != "bridge" {
            return Err(OpenError::NotABridge { name: name.into(), kind: link.kind });
        }
        return Ok(link);
    }
    routing.create_bridge(name, Mac::of(gateway)).step("make the bridge")?;
    let gone = || OpenError::from(io::Error::from_raw_os_error(libc::ENODEV).step(STEP));
    routing.link(name).step(STEP)?.ok_or_else(gone)
}

fn set_up_inside(
    config: &BridgeConfig,
    index: u32,
    gateway: Ipv4Addr,
    routing: &mut Routing,
) -> io::Result<()> {
    let name = config.name.as_str();
    routing.set_address(index, gateway)?;
    routing.set_subnets(index, &config.blocks, gateway)?;
    // Pods cannot send with an address that is not behind the bridge.
    sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "1")?;
    // Pods reach each other through the machine on purpose.
    sysctl::set(&format!("ipv4/conf/{name}/send_redirects"), "0")?;
    // Pods have no IPv6 address; what they can give themselves shall not reach the machine.
    sysctl::set_if_known(&format!("ipv6/conf/{name}/disable_ipv6"), "1")
}

/// Of Ethernet, where no default route tells a better one.
const MTU: u32 = 1500;
