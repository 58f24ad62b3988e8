//! A container's environment: `envFrom`, `env`, references to configuration, fields and resources, and `$(NAME)` expansion.
//!
//! Words of failure are the kubelet's: they become the message of `CreateContainerConfigError`.

pub mod expand;
mod field;

use std::sync::Arc;

use dunlin_link::{
    Digest,
    guest::BadSetting,
    pod::{ConfigKind, ConfigObject, Container, EnvFrom, EnvValue, PodAssignment},
    status::NodeResources,
    tokens::TokenClaim,
};

use crate::{address::PodAddress, content::NoContent, pod::ContainerIndex};

/// What a pod can ask about the place where it runs.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// `spec.nodeName`.
    pub node_name: &'a str,
    /// The machine's own name, which is that of pods in its network.
    pub host_name: &'a str,
    /// `status.hostIP`.
    pub host_ip: &'a str,
    /// `status.podIP`.
    pub pod_ip: &'a str,
    /// What unset limits resolve to.
    pub allocatable: NodeResources,
    /// What the machine has.
    pub capacity: NodeResources,
    /// Whether mounts can be made read-only with all below them.
    pub mounts_read_only_recursively: bool,
    /// Whether the machine has SELinux.
    pub se_linux: bool,
    /// Where the API is.
    pub api: Option<&'a ApiAddress>,
    /// Content of ConfigMaps and Secrets by id.
    pub objects: &'a dyn Fn(&Digest) -> Result<Arc<ConfigObject>, NoContent>,
    /// Tokens of the pod by what they are for.
    pub tokens: &'a dyn Fn(&TokenClaim) -> Option<Arc<[u8]>>,
}

/// By which pods reach the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// The same for pods with a network of their own, where that is another one.
    pub host_from_networks: Option<String>,
    /// Of HTTPS.
    pub port: u16,
}

impl ApiAddress {
    /// One that is the same from everywhere.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), host_from_networks: None, port }
    }

    /// As a pod at this address sees it.
    pub(crate) fn seen_from(&self, address: &PodAddress) -> Self {
        let has_network = address.own.is_some() && address.ip().is_some();
        let other = self.host_from_networks.as_ref().filter(|_| has_network);
        Self::new(other.unwrap_or(&self.host), self.port)
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("node_name", &self.node_name).finish_non_exhaustive()
    }
}

/// Why a container cannot be configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A WASM container, as it turned out, says what only Linux containers honour.
    #[error("a WASM container cannot honour, and must not ignore: {}", fields.join(", "))]
    Refused {
        /// Which fields.
        fields: Vec<String>,
    },
    /// A ConfigMap or Secret does not exist, or has not arrived.
    #[error("{} \"{name}\" not found", kind_word(*.kind))]
    ObjectMissing {
        /// Which kind.
        kind: ConfigKind,
        /// Its name.
        name: String,
    },
    /// The object was sealed to a key that the node has no more, or is damaged on its disk.
    #[error(
        "{} \"{name}\" cannot be opened with this node's key; the coordinator is asked for it again",
        kind_word(*.kind)
    )]
    ObjectClosed {
        /// Which kind.
        kind: ConfigKind,
        /// Its name.
        name: String,
    },
    /// The object has no such key, or the key's value is not text.
    #[error("couldn't find key {key} in {} {namespace}/{name}", kind_title(*.kind))]
    KeyMissing {
        /// Which kind.
        kind: ConfigKind,
        /// The pod's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The key.
        key: String,
    },
    /// A `fieldRef` names a field that pods cannot ask for.
    #[error("unsupported fieldPath: {0}")]
    FieldUnsupported(String),
    /// A `resourceFieldRef` names a container that does not exist.
    #[error("container {0} not found")]
    ContainerMissing(String),
    /// A `resourceFieldRef` names a resource that containers cannot ask for.
    #[error("unsupported container resource : {0}")]
    ResourceUnsupported(String),
    /// What nodes cannot do yet, and must not pass over: the container would miss something, or have more than it may.
    #[error("this node does not honour yet, and must not ignore: {}", .0.join(", "))]
    NotHonoured(Vec<String>),
    /// What the pod's annotations say of its guests says nothing.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Settings(Vec<BadSetting>),
    /// A path in a volume is made of variables that are missing, or empty.
    #[error("missing value for {}", .0.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))]
    ValueMissing(Vec<String>),
    /// What is to be mounted of a volume is no path in it.
    #[error("{0}")]
    SubPath(String),
    /// Nobody but root would run, which the pod rules out.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    ImageRunsAsRoot {
        /// As the kubelet writes pods.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// Root is asked for, which the pod rules out.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunsAsRoot {
        /// As the kubelet writes pods.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// Neither pod nor image say what to run.
    #[error("no command specified")]
    NoCommand,
    /// A profile of the node is named by a path that leads elsewhere.
    #[error(
        "seccomp profile {0:?} must be a relative path below the node's folder of profiles, without `..`"
    )]
    ProfilePath(String),
    /// The usual AppArmor profile is asked for where there is none.
    #[error("cannot enforce AppArmor: {0}")]
    NoAppArmor(String),
    /// The image is to be stopped by a signal that does not exist.
    #[error("the image's stop signal {0:?} is no signal")]
    ImageSignal(String),
}

impl ConfigError {
    /// Whether what is missing exists: a container that could do without it must wait for it all the same.
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(self, Self::ObjectClosed { .. })
    }
}

/// The container's variables, in order, each name once, without what the node adds itself: [`with_host_name`].
///
/// # Errors
/// When something that is not optional is missing; the message is for the container's status.
pub fn resolve(
    assignment: &PodAssignment,
    container: &Container,
    around: &Surroundings<'_>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Variables { list: Vec::new() };
    if let Some(api) = around.api {
        // What clients inside a cluster look for.
        variables.set("KUBERNETES_SERVICE_HOST".to_owned(), api.host.clone());
        variables.set("KUBERNETES_SERVICE_PORT".to_owned(), api.port.to_string());
        variables.set("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), api.port.to_string());
    }
    for source in &container.env_from {
        add_all(&mut variables, assignment, source, around)?;
    }
    for variable in &container.env {
        let value = match &variable.value {
            EnvValue::Literal(text) => Some(expand::expand(text, |name| variables.value(name))),
            EnvValue::Key { kind, name, key, optional } => {
                match key_value(assignment, (*kind, name, key), around) {
                    Err(error) if *optional && !error.is_temporary() => None,
                    found => Some(found?),
                }
            }
            EnvValue::Field(path) => Some(field::field(assignment, path, around)?),
            EnvValue::Resource { container: of, resource, divisor_milli } => {
                let of = if of.is_empty() { &container.name } else { of };
                Some(resource_value(assignment, of, (resource, *divisor_milli), around)?)
            }
        };
        if let Some(value) = value {
            variables.set(variable.name.clone(), value);
        }
    }
    Ok(variables.list)
}

/// What a process gets: the variables of [`resolve`], and `HOSTNAME` unless it is one of them. As in Kubernetes, that one is not known
/// where `$(NAME)` is expanded.
pub fn with_host_name(
    assignment: &PodAssignment,
    declared: Vec<(String, String)>,
    around: &Surroundings<'_>,
) -> Vec<(String, String)> {
    if declared.iter().any(|(name, _)| name == HOST_NAME) {
        return declared;
    }
    let name =
        if assignment.spec.host_network { around.host_name } else { assignment.spec.hostname.as_str() };
    std::iter::once((HOST_NAME.to_owned(), name.to_owned())).chain(declared).collect()
}

/// The value of a pod's field.
pub(crate) fn field_value(
    assignment: &PodAssignment,
    path: &str,
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    field::field(assignment, path, around)
}

/// The value of a container's resource, in units of so many thousandths.
pub(crate) fn resource_value(
    assignment: &PodAssignment,
    container: &str,
    (resource, divisor_milli): (&str, u64),
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let of = container_named(assignment, container)?;
    field::resource((assignment, of), (resource, divisor_milli), around)
}

/// By which a process knows its host's name.
const HOST_NAME: &str = "HOSTNAME";

/// Variables in order of first mention.
struct Variables {
    list: Vec<(String, String)>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.list.iter_mut().find(|(known, _)| *known == name) {
            Some(slot) => slot.1 = value,
            None => self.list.push((name, value)),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn add_all(
    variables: &mut Variables,
    assignment: &PodAssignment,
    source: &EnvFrom,
    around: &Surroundings<'_>,
) -> Result<(), ConfigError> {
    let object = match config_object(assignment, source.kind, &source.name, around) {
        Err(error) if source.optional && !error.is_temporary() => return Ok(()),
        found => found?,
    };
    for (key, value) in &object.data {
        // Binary values cannot be variables; Kubernetes leaves `binaryData` out of environments too.
        if let Ok(text) = std::str::from_utf8(value)
            && !key.is_empty()
        {
            variables.set(format!("{}{key}", source.prefix), text.to_owned());
        }
    }
    Ok(())
}

fn key_value(
    assignment: &PodAssignment,
    (kind, name, key): (ConfigKind, &String, &String),
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let object = config_object(assignment, kind, name, around)?;
    object
        .data
        .iter()
        .find(|(known, _)| known == key)
        .and_then(|(_, value)| String::from_utf8(value.clone()).ok())
        .ok_or_else(|| ConfigError::KeyMissing {
            kind,
            namespace: assignment.namespace.clone(),
            name: name.clone(),
            key: key.clone(),
        })
}

/// The content of a ConfigMap or Secret that the pod names.
pub(crate) fn config_object(
    assignment: &PodAssignment,
    kind: ConfigKind,
    name: &str,
    around: &Surroundings<'_>,
) -> Result<Arc<ConfigObject>, ConfigError> {
    assignment
        .config
        .iter()
        .find(|entry| entry.kind == kind && entry.name == name)
        .and_then(|entry| entry.digest)
        .map_or(Err(NoContent::Absent), |digest| (around.objects)(&digest))
        .map_err(|why| match why {
            NoContent::Absent => ConfigError::ObjectMissing { kind, name: name.to_owned() },
            NoContent::Closed => ConfigError::ObjectClosed { kind, name: name.to_owned() },
        })
}

fn container_named(assignment: &PodAssignment, name: &str) -> Result<ContainerIndex, ConfigError> {
    let index = assignment.containers().position(|container| container.name == name);
    index.map(ContainerIndex).ok_or_else(|| ConfigError::ContainerMissing(name.to_owned()))
}

fn kind_word(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "configmap",
        ConfigKind::Secret => "secret",
    }
}

fn kind_title(kind: ConfigKind) -> &'static str {
    match kind {
        ConfigKind::ConfigMap => "ConfigMap",
        ConfigKind::Secret => "Secret",
    }
}

#[cfg(test)]
mod tests;
