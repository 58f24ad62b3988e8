//! What a Service is given from the cluster's pool: its address, ports of nodes, and the families that go with the address.
//!
//! The pool offers numbers and the service that stores the object sees to it that no two Services have the same one; here is only
//! which numbers are needed, and which that a client asks for cannot be had in this cluster.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{KIND, families, is_headless, needs_address, needs_health_check, needs_node_ports, ports};
use crate::{
    Status,
    field::{FieldError, Path},
    ip::Cidr,
    value::{list, put, set, text},
};

/// Offers addresses and ports that no Service has.
pub trait Pool {
    /// What there is to choose from.
    fn ranges(&self) -> &Ranges;

    /// An address that is free; `None` when all are taken.
    fn next_address(&mut self) -> Option<IpAddr>;

    /// A port of all nodes that is free; `None` when all are taken.
    fn next_port(&mut self) -> Option<u16>;
}

/// A pool with nothing in it, where there is no cluster.
#[derive(Clone, Copy, Debug)]
pub struct NoPool;

impl Pool for NoPool {
    fn ranges(&self) -> &Ranges {
        const NONE: &Ranges = &Ranges { addresses: Vec::new(), node_ports: (0, 0) };
        NONE
    }

    fn next_address(&mut self) -> Option<IpAddr> {
        None
    }

    fn next_port(&mut self) -> Option<u16> {
        None
    }
}

/// The addresses and ports that Services can have in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Ranges of addresses, all of one family; the first is the one the cluster was made with.
    pub addresses: Vec<Cidr>,
    /// The first and the last port of nodes.
    pub node_ports: (u16, u16),
}

impl Ranges {
    /// The family of addresses that the cluster has: `IPv4` or `IPv6`.
    pub(super) fn family(&self) -> &'static str {
        if self.addresses.first().is_some_and(|range| range.is_ipv6()) { "IPv6" } else { "IPv4" }
    }

    /// Why an address cannot be a Service's.
    fn check_address(&self, address: IpAddr) -> Result<(), String> {
        if self.addresses.iter().any(|range| range.contains(address)) {
            return Ok(());
        }
        let ranges: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let ranges = ranges.join(",");
        Err(format!(
            "the provided IP ({address}) is not in the valid range. The range of valid IPs is {ranges}"
        ))
    }

    /// Why a port cannot be a Service's on nodes.
    pub(super) fn check_port(&self, port: i64) -> Result<(), String> {
        let (first, last) = self.node_ports;
        if (i64::from(first)..=i64::from(last)).contains(&port) {
            return Ok(());
        }
        Err(format!("provided port is not in the valid range. The range of valid ports is {first}-{last}"))
    }
}

/// Completes a new Service, or an update of `old`.
pub(super) fn allocate(object: &mut Value, old: Option<&Value>, pool: &mut dyn Pool) -> Result<(), Status> {
    let name = text(&object["metadata"], "name").to_owned();
    let old = old.map(|old| &old["spec"]);
    let spec = &mut object["spec"];
    if let Some(old) = old {
        keep_allocated(spec, old);
    }
    agree_on_address(spec, old);
    let errors = families::settle(spec, old, pool.ranges());
    refuse_if_any(&name, errors)?;
    address(&name, spec, old, pool)?;
    ports::allocate(&name, spec, old, pool)
}

/// A client that leaves out what was allocated before means to keep it.
fn keep_allocated(spec: &mut Value, old: &Value) {
    if needs_address(old) && needs_address(spec) {
        if text(spec, "clusterIP").is_empty() {
            put(spec, "clusterIP", old["clusterIP"].clone());
        }
        if list(spec, "clusterIPs").is_empty() && spec["clusterIP"] == old["clusterIP"] {
            put(spec, "clusterIPs", old["clusterIPs"].clone());
        }
    }
    if needs_node_ports(old) && needs_node_ports(spec) {
        ports::keep_by_name(spec, old);
    }
    if needs_health_check(old)
        && needs_health_check(spec)
        && spec["healthCheckNodePort"].as_i64().unwrap_or_default() == 0
    {
        put(spec, "healthCheckNodePort", old["healthCheckNodePort"].clone());
    }
}

/// `clusterIP` is the first of `clusterIPs`; a client that sets one of them sets both.
fn agree_on_address(spec: &mut Value, old: Option<&Value>) {
    let single = text(spec, "clusterIP").to_owned();
    let Some(old) = old else {
        if !single.is_empty() && list(spec, "clusterIPs").is_empty() {
            set(spec, "clusterIPs", json!([single]));
        }
        return;
    };
    let list_is_old = list(spec, "clusterIPs") == list(old, "clusterIPs");
    if single != text(old, "clusterIP") && list_is_old {
        let all = if single.is_empty() { Value::Null } else { json!([single]) };
        put(spec, "clusterIPs", all);
    }
}

/// A new Service, or one that had no use for an address, gets the one it asks for or any.
fn address(name: &str, spec: &mut Value, old: Option<&Value>, pool: &mut dyn Pool) -> Result<(), Status> {
    let had_one = old.is_some_and(needs_address);
    if !needs_address(spec) || is_headless(spec) || had_one {
        return Ok(());
    }
    let Some(asked) = list(spec, "clusterIPs").first().and_then(Value::as_str) else {
        let full = || Status::internal("failed to allocate a serviceIP: range is full");
        let address = pool.next_address().ok_or_else(full)?.to_string();
        set(spec, "clusterIP", address.as_str());
        set(spec, "clusterIPs", json!([address]));
        return Ok(());
    };
    let checked = match asked.parse() {
        Ok(address) => pool.ranges().check_address(address),
        // The families are settled, so that it is one.
        Err(_) => Ok(()),
    };
    let refusal = checked.err().map(|why| unavailable_address(spec, asked, &why));
    refuse_if_any(name, refusal.into_iter().collect())
}

/// The error about an address that was asked for and cannot be had.
pub(super) fn unavailable_address(spec: &Value, address: &str, why: &str) -> FieldError {
    let detail = format!("failed to allocate IP {address}: {why}");
    FieldError::invalid("spec.clusterIPs", spec["clusterIPs"].clone(), &detail)
}

/// The error about a port that was asked for and cannot be had.
pub(super) fn unavailable_port(position: usize, port: i64, why: &str) -> FieldError {
    let field = Path::new("spec.ports").index(position).child("nodePort");
    FieldError::invalid(field, port, why)
}

pub(super) fn refuse_if_any(name: &str, errors: Vec<FieldError>) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(&KIND, name, &errors)) }
}
