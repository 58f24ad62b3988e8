//! Lowers a stored Pod to what a node runs: Kubernetes' encodings end here.
//!
//! Every value is final: defaults are applied, quantities are numbers. Image references stay as written; who knows images
//! resolves them. Content of ConfigMaps and Secrets is named here and carried by digest. Fields that are not carried are named in a
//! warning by the API when the pod is written, and keep containers on the node from starting where they would miss something without.

mod care;
mod config;
mod ephemeral;
mod linux;
mod resources;
mod security;
mod tokens;
mod volumes;

use std::collections::BTreeMap;

use dunlin_api::Quantity;
use dunlin_link::{
    Bytes, Digest, MilliCpu, PodUid,
    pod::{
        ConfigKind, ConfigRef, Container, ContainerPort, EnvFrom, EnvValue, EnvVar, Image, PodAssignment,
        PodSpec, Protocol, PullPolicy, Resources, RestartPolicy,
    },
    volumes::PodVolumes,
};
use k8s_openapi::{api::core::v1, apimachinery::pkg::api::resource};

pub use config::config_object;

use crate::amounts;

/// Stored bytes that cannot be a pod or its configuration.
#[derive(Debug, thiserror::Error)]
#[error("failed to decode a stored object to lower it")]
pub struct LowerError(#[from] serde_json::Error);

/// Lowers the pod in `json`. `resolve` answers an image reference's digest, or why there is none, for the user. Config references
/// carry no digests yet.
///
/// # Errors
/// When `json` is not a pod.
pub fn lower(
    json: &[u8],
    resolve: &dyn Fn(&str) -> Result<Digest, String>,
) -> Result<PodAssignment, LowerError> {
    let pod: v1::Pod = serde_json::from_slice(json)?;
    let metadata = pod.metadata;
    let name = metadata.name.unwrap_or_default();
    let mut spec = pod.spec.unwrap_or_default();
    let lowering =
        Lowering { refused: security::refused_fields(&spec), unserved: volumes::unserved(&spec), resolve };
    let lower_all = |containers: Vec<v1::Container>| -> Vec<Container> {
        containers.into_iter().map(|container| lower_container(container, &lowering)).collect()
    };
    let care = care::pod_care(&spec);
    let ephemeral = ephemeral::pod_ephemeral(&spec, &lowering);
    let volumes = volumes::pod_volumes(&spec, &ephemeral);
    let tokens = tokens::pod_tokens(&spec, &volumes);
    let own = resources::pod_resources(&spec, &volumes);
    let qos = pod.status.and_then(|status| status.qos_class);
    let linux = linux::pod_linux(&spec, qos.as_deref(), &ephemeral);
    let volume_images = linux::volume_images(&linux, resolve);
    let linux = (!linux.is_default()).then(|| Box::new(linux));
    let pull_secrets = spec.image_pull_secrets.take().unwrap_or_default();
    let init_containers = lower_all(spec.init_containers.unwrap_or_default());
    let containers = lower_all(spec.containers);
    let added = ephemeral.containers.iter().map(|added| &added.container);
    let all = init_containers.iter().chain(&containers).chain(added);
    let config = config_refs(all, &volumes, pull_secrets);
    Ok(PodAssignment {
        uid: PodUid::new(metadata.uid.unwrap_or_default()),
        namespace: metadata.namespace.unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        spec: PodSpec {
            labels: metadata.labels.unwrap_or_default().into_iter().collect(),
            annotations: carried_annotations(metadata.annotations.unwrap_or_default()),
            restart_policy: restart_policy(spec.restart_policy.as_deref()),
            termination_grace_seconds: seconds(
                spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS_DEFAULT),
            ),
            active_deadline_seconds: spec.active_deadline_seconds.map(seconds),
            init_containers,
            containers,
            host_network: spec.host_network.unwrap_or(false),
            hostname: hostname(spec.hostname_override.or(spec.hostname), &name),
            service_account_name: spec
                .service_account_name
                .unwrap_or_else(|| crate::view::DEFAULT_ACCOUNT.to_owned()),
        },
        name,
        config,
        care,
        volumes,
        linux,
        tokens,
        volume_images,
        ephemeral,
        resources: own,
    })
}

/// What all containers of a pod are lowered by.
struct Lowering<'a> {
    /// Fields of the pod that keep its containers from starting.
    refused: Vec<String>,
    unserved: volumes::Unserved,
    resolve: &'a dyn Fn(&str) -> Result<Digest, String>,
}

fn lower_container(container: v1::Container, lowering: &Lowering<'_>) -> Container {
    let Lowering { refused, unserved, resolve } = lowering;
    let mut refused_fields = security::refused_in_container(container.security_context.as_ref(), refused);
    refused_fields.extend(security::refused_in_env(container.env.as_deref().unwrap_or_default()));
    refused_fields.extend(volumes::refused(&container, unserved));
    let ports = container.ports.as_deref().unwrap_or_default();
    refused_fields.extend(security::refused_in_ports(ports));
    Container {
        name: container.name,
        image: image(container.image.unwrap_or_default(), container.image_pull_policy.as_deref(), resolve),
        command: container.command.unwrap_or_default(),
        args: container.args.unwrap_or_default(),
        working_dir: container.working_dir.filter(|path| !path.is_empty()),
        env_from: container.env_from.unwrap_or_default().into_iter().filter_map(env_from).collect(),
        env: container.env.unwrap_or_default().into_iter().filter_map(env_var).collect(),
        ports: container.ports.unwrap_or_default().into_iter().filter_map(container_port).collect(),
        resources: container.resources.map(resources).unwrap_or_default(),
        sidecar: container.restart_policy.as_deref() == Some("Always"),
        termination_message_from_logs: container.termination_message_policy.as_deref()
            == Some("FallbackToLogsOnError"),
        refused_fields,
    }
}

fn image(reference: String, policy: Option<&str>, resolve: &dyn Fn(&str) -> Result<Digest, String>) -> Image {
    let pull_policy = pull_policy(policy);
    let (digest, unresolved) = match resolve(&reference) {
        Ok(digest) => (Some(digest), String::new()),
        Err(reason) => (None, reason),
    };
    Image { reference, pull_policy, digest, unresolved }
}

fn pull_policy(policy: Option<&str>) -> PullPolicy {
    match policy {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    }
}

fn env_from(source: v1::EnvFromSource) -> Option<EnvFrom> {
    let prefix = source.prefix.unwrap_or_default();
    let (kind, name, optional) = match (source.config_map_ref, source.secret_ref) {
        (Some(map), _) => (ConfigKind::ConfigMap, map.name, map.optional),
        (None, Some(secret)) => (ConfigKind::Secret, secret.name, secret.optional),
        (None, None) => return None,
    };
    Some(EnvFrom { prefix, kind, name, optional: optional.unwrap_or(false) })
}

/// `None` for a source that nodes do not know, of which the API warns.
fn env_var(variable: v1::EnvVar) -> Option<EnvVar> {
    let name = variable.name;
    let Some(source) = variable.value_from else {
        return Some(EnvVar { name, value: EnvValue::Literal(variable.value.unwrap_or_default()) });
    };
    let key = |kind, object: String, key, optional: Option<bool>| EnvValue::Key {
        kind,
        name: object,
        key,
        optional: optional.unwrap_or(false),
    };
    let value = if let Some(map) = source.config_map_key_ref {
        key(ConfigKind::ConfigMap, map.name, map.key, map.optional)
    } else if let Some(secret) = source.secret_key_ref {
        key(ConfigKind::Secret, secret.name, secret.key, secret.optional)
    } else if let Some(field) = source.field_ref {
        EnvValue::Field(field.field_path)
    } else {
        let field = source.resource_field_ref?;
        EnvValue::Resource {
            container: field.container_name.unwrap_or_default(),
            resource: field.resource,
            divisor_milli: divisor_milli(field.divisor.as_ref()),
        }
    };
    Some(EnvVar { name, value })
}

/// An unset or zero divisor means one.
fn divisor_milli(divisor: Option<&resource::Quantity>) -> u64 {
    let parsed: Option<Quantity> = divisor.and_then(|divisor| divisor.0.parse().ok());
    parsed.and_then(|divisor| u64::try_from(divisor.milli()).ok()).filter(|milli| *milli > 0).unwrap_or(1000)
}

fn container_port(port: v1::ContainerPort) -> Option<ContainerPort> {
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
    Some(ContainerPort {
        name: port.name.unwrap_or_default(),
        container_port: number(port.container_port)?,
        host_port: port.host_port.and_then(number),
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    })
}

fn resources(resources: v1::ResourceRequirements) -> Resources {
    let requests = resources.requests.unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let cpu = |list: &BTreeMap<String, resource::Quantity>| -> Option<MilliCpu> {
        list.get("cpu").map(amounts::milli_cpu)
    };
    let memory = |list: &BTreeMap<String, resource::Quantity>| -> Option<Bytes> {
        list.get("memory").map(amounts::bytes)
    };
    Resources {
        cpu_request: cpu(&requests).or_else(|| cpu(&limits)),
        memory_request: memory(&requests).or_else(|| memory(&limits)),
        cpu_limit: cpu(&limits),
        // As in Kubernetes, nothing is no limit.
        memory_limit: memory(&limits).filter(|limit| limit.0 > 0),
    }
}

/// Every ConfigMap and Secret that containers and volumes name, and what images are pulled with, once, in a fixed order. Pull Secrets
/// are told from others by their keys.
fn config_refs<'a>(
    containers: impl Iterator<Item = &'a Container>,
    volumes: &PodVolumes,
    pull_secrets: Vec<v1::LocalObjectReference>,
) -> Vec<ConfigRef> {
    let of_pulls = pull_secrets.into_iter().map(|secret| secret.name).filter(|name| !name.is_empty());
    let mut refs: Vec<_> =
        of_pulls.map(|name| ConfigRef { kind: ConfigKind::Secret, name, digest: None }).collect();
    refs.extend(volumes::config_refs(volumes));
    for container in containers {
        let whole = container.env_from.iter().map(|source| (source.kind, &source.name));
        let keys = container.env.iter().filter_map(|variable| match &variable.value {
            EnvValue::Key { kind, name, .. } => Some((*kind, name)),
            _ => None,
        });
        refs.extend(whole.chain(keys).map(|(kind, name)| ConfigRef {
            kind,
            name: name.clone(),
            digest: None,
        }));
    }
    refs.sort();
    refs.dedup();
    refs
}

/// All annotations but the client's copy of the manifest, which no node needs and which can be as large as the pod.
fn carried_annotations(annotations: BTreeMap<String, String>) -> Vec<(String, String)> {
    annotations.into_iter().filter(|(key, _)| key != LAST_APPLIED).collect()
}

fn restart_policy(policy: Option<&str>) -> RestartPolicy {
    match policy {
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    }
}

/// A host name holds at most 63 characters and ends in none of `-.`, while a pod's name may be longer.
fn hostname(wanted: Option<String>, pod_name: &str) -> String {
    let wanted = wanted.filter(|name| !name.is_empty()).unwrap_or_else(|| pod_name.to_owned());
    let cut: String = wanted.chars().take(HOSTNAME_LENGTH_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn seconds(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// Kubernetes' default of `terminationGracePeriodSeconds`.
const GRACE_SECONDS_DEFAULT: i64 = 30;

/// Linux' bound on host names, less the final zero.
const HOSTNAME_LENGTH_MAX: usize = 63;

/// Where client-side apply keeps the manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests;
