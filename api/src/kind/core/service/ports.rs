//! Ports of nodes that lead to a Service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    allocate::{Pool, refuse_if_any, unavailable_port},
    needs_health_check, needs_node_ports, node_ports,
};
use crate::{
    Status,
    value::{is_true, list, list_mut, set, text},
};

/// Gives ports to a new Service, or to an update of `old`.
pub(super) fn allocate(
    name: &str,
    spec: &mut Value,
    old: Option<&Value>,
    pool: &mut dyn Pool,
) -> Result<(), Status> {
    let before: BTreeSet<i64> =
        old.filter(|old| needs_node_ports(old)).into_iter().flat_map(node_ports).collect();
    if needs_node_ports(spec) {
        check_asked(name, spec, &before, pool)?;
        // A port with two protocols has one port of nodes for both, as long as the Service is new.
        let mut shared: BTreeMap<i64, i64> = BTreeMap::new();
        if old.is_none() {
            for port in list(spec, "ports").iter().filter(|port| node_port(port) != 0) {
                shared.entry(port["port"].as_i64().unwrap_or_default()).or_insert_with(|| node_port(port));
            }
        }
        let any = wants_node_ports(spec);
        for port in list_mut(spec, "ports").iter_mut().filter(|port| any && node_port(port) == 0) {
            let number = port["port"].as_i64().unwrap_or_default();
            let given = match shared.get(&number).filter(|_| old.is_none()) {
                Some(given) => *given,
                None => i64::from(pool.next_port().ok_or_else(full)?),
            };
            shared.insert(number, given);
            set(port, "nodePort", given);
        }
    }
    health_check(spec, old, pool)
}

/// Node ports that an update leaves out are those of the ports of the same names.
pub(super) fn keep_by_name(spec: &mut Value, old: &Value) {
    let now: BTreeSet<i64> = node_ports(spec).collect();
    let mut used: BTreeSet<i64> = node_ports(old).filter(|port| now.contains(port)).collect();
    let by_name: BTreeMap<&str, i64> =
        list(old, "ports").iter().map(|port| (text(port, "name"), node_port(port))).collect();
    for port in list_mut(spec, "ports").iter_mut().filter(|port| node_port(port) == 0) {
        let known = by_name.get(text(port, "name")).copied().unwrap_or_default();
        if known != 0 && used.insert(known) {
            set(port, "nodePort", known);
        }
    }
}

fn check_asked(name: &str, spec: &Value, before: &BTreeSet<i64>, pool: &dyn Pool) -> Result<(), Status> {
    for (position, port) in list(spec, "ports").iter().map(node_port).enumerate() {
        if port != 0
            && !before.contains(&port)
            && let Err(why) = pool.ranges().check_port(port)
        {
            refuse_if_any(name, vec![unavailable_port(position, port, &why)])?;
        }
    }
    Ok(())
}

fn health_check(spec: &mut Value, old: Option<&Value>, pool: &mut dyn Pool) -> Result<(), Status> {
    if !needs_health_check(spec) || old.is_some_and(needs_health_check) {
        return Ok(());
    }
    match spec["healthCheckNodePort"].as_i64().unwrap_or_default() {
        0 => {
            let port = pool.next_port().ok_or_else(full)?;
            set(spec, "healthCheckNodePort", port);
            Ok(())
        }
        asked => pool.ranges().check_port(asked).map_err(|why| unavailable_health_check(asked, &why)),
    }
}

/// The refusal of a health check's port that was asked for and cannot be had.
pub(super) fn unavailable_health_check(port: i64, why: &str) -> Status {
    Status::internal(format!("failed to allocate requested HealthCheck NodePort {port}: {why}"))
}

/// Whether ports that name no port of nodes get one.
fn wants_node_ports(spec: &Value) -> bool {
    text(spec, "type") == "NodePort" || is_true(spec, "allocateLoadBalancerNodePorts")
}

fn node_port(port: &Value) -> i64 {
    port["nodePort"].as_i64().unwrap_or_default()
}

fn full() -> Status {
    Status::internal("failed to allocate a nodePort: range is full")
}
