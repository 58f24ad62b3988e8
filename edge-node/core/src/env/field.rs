//! `fieldRef` and `resourceFieldRef`.

use dunlin_link::{Bytes, pod::PodAssignment};

use super::{ConfigError, Surroundings};
use crate::{
    launch::linux::resources::with_pod_limits,
    pod::{ContainerIndex, container_at},
    pressure::binary,
};

/// The value of a pod field, for instance `metadata.labels['app']`.
pub(super) fn field(
    assignment: &PodAssignment,
    path: &str,
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let host_network = assignment.spec.host_network;
    let text = match path {
        "metadata.name" => &assignment.name,
        "metadata.namespace" => &assignment.namespace,
        "metadata.uid" => assignment.uid.as_str(),
        "spec.nodeName" => around.node_name,
        "spec.serviceAccountName" => &assignment.spec.service_account_name,
        "status.hostIP" | "status.hostIPs" => around.host_ip,
        "status.podIP" | "status.podIPs" if host_network => around.host_ip,
        "status.podIP" | "status.podIPs" => around.pod_ip,
        _ => return subscripted(assignment, path),
    };
    Ok(text.to_owned())
}

/// The value of a container's resource in units of `divisor_milli` thousandths, rounded up. What it has no limit of, it may use as its pod
/// may, or the node's pods together.
pub(super) fn resource(
    (assignment, index): (&PodAssignment, ContainerIndex),
    (resource, divisor_milli): (&str, u64),
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let node = around.allocatable;
    let of = with_pod_limits(container_at(assignment, index).resources, assignment);
    let disk = assignment.resources().disk_of(index.0);
    let unsupported = || ConfigError::ResourceUnsupported(resource.to_owned());
    let whole = |bytes: Bytes| u128::from(bytes.0) * 1000;
    let milli = match resource {
        "limits.cpu" => u128::from(of.cpu_limit.unwrap_or(node.cpu).0),
        "requests.cpu" => u128::from(of.cpu_request.unwrap_or_default().0),
        "limits.memory" => whole(of.memory_limit.unwrap_or(node.memory)),
        "requests.memory" => whole(of.memory_request.unwrap_or_default()),
        "limits.ephemeral-storage" => whole(disk.limit.unwrap_or(node.ephemeral_storage)),
        "requests.ephemeral-storage" => whole(disk.request.unwrap_or_default()),
        // Whoever asks for such pages may have as many.
        _ => {
            let (_, size) = resource.split_once(".hugepages-").ok_or_else(unsupported)?;
            let says = assignment.linux().of(index.0).into_iter().flat_map(|says| &says.huge_pages);
            whole(
                says.filter(|(page, _)| binary(page.0) == size)
                    .map(|(_, all)| *all)
                    .next()
                    .unwrap_or_default(),
            )
        }
    };
    Ok(milli.div_ceil(u128::from(divisor_milli.max(1))).to_string())
}

/// `metadata.labels['KEY']` and `metadata.annotations['KEY']`; a key that is not there is an empty text.
fn subscripted(assignment: &PodAssignment, path: &str) -> Result<String, ConfigError> {
    let unsupported = || ConfigError::FieldUnsupported(path.to_owned());
    let (map, key) =
        path.strip_suffix("']").and_then(|path| path.split_once("['")).ok_or_else(unsupported)?;
    let entries = match map {
        "metadata.labels" => &assignment.spec.labels,
        "metadata.annotations" => &assignment.spec.annotations,
        _ => return Err(unsupported()),
    };
    Ok(entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()).unwrap_or_default())
}
