//! `fieldRef` and `resourceFieldRef`.

use dunlin_link::pod::{PodAssignment, Resources};

use super::{ConfigError, Surroundings};

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

/// The value of a container's resource in units of `divisor_milli` thousandths, rounded up.
pub(super) fn resource(
    of: &Resources,
    resource: &str,
    divisor_milli: u64,
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let node = around.allocatable;
    let milli = match resource {
        "limits.cpu" => u128::from(of.cpu_limit.unwrap_or(node.cpu).0),
        "requests.cpu" => u128::from(of.cpu_request.unwrap_or_default().0),
        "limits.memory" => u128::from(of.memory_limit.unwrap_or(node.memory).0) * 1000,
        "requests.memory" => u128::from(of.memory_request.unwrap_or_default().0) * 1000,
        "limits.ephemeral-storage" => u128::from(node.ephemeral_storage.0) * 1000,
        "requests.ephemeral-storage" => 0,
        _ => return Err(ConfigError::ResourceUnsupported(resource.to_owned())),
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
