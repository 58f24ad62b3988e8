//! A pod as a node sees it: lowered from the API object by the coordinator, so that nodes know nothing of Kubernetes' encodings.
//!
//! Everything a node needs to run the pod offline is here or named here by digest. Defaults are already applied.

use std::{fmt, sync::LazyLock};

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Digest, MilliCpu, PodUid,
    care::PodCare,
    ephemeral::PodEphemeral,
    linux::{ContainerLinux, PodLinux},
    resources::PodResources,
    tokens::PodTokens,
    volume_images::PodVolumeImages,
    volumes::{ContainerFiles, PodVolumes},
};

/// One pod that a node must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAssignment {
    /// `metadata.uid`.
    pub uid: PodUid,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`, reported back as `status.observedGeneration`.
    pub generation: i64,
    /// What to run.
    pub spec: PodSpec,
    /// ConfigMaps and Secrets that the spec names, by content.
    pub config: Vec<ConfigRef>,
    /// How its containers are looked after. No part of this struct's encoding: it travels, and is stored, beside it.
    #[serde(skip)]
    pub care: PodCare,
    /// What files its containers see. It travels, and is stored, beside it, too.
    #[serde(skip)]
    pub volumes: PodVolumes,
    /// What only Linux containers can honour; `None` when it says nothing of that. It travels, and is stored, beside it, too.
    #[serde(skip)]
    pub linux: Option<Box<PodLinux>>,
    /// Which tokens its volumes hold. It travels, and is stored, beside it, too.
    #[serde(skip)]
    pub tokens: PodTokens,
    /// What its volumes hold of the coordinator's own registry. It travels, and is stored, beside it, too.
    #[serde(skip)]
    pub volume_images: PodVolumeImages,
    /// What was added to it since. It travels, and is stored, beside it, too.
    #[serde(skip)]
    pub ephemeral: PodEphemeral,
    /// What it says of resources beside the CPU and memory of its containers; `None` when it says nothing of that. It travels, and is
    /// stored, beside it, too.
    #[serde(skip)]
    pub resources: Option<Box<PodResources>>,
}

impl PodAssignment {
    /// The images that its containers run, then those that are its volumes, as far as the coordinator knows of these: names as written, and
    /// digests.
    pub fn images(&self) -> impl Iterator<Item = (&str, Option<Digest>)> {
        let run =
            self.containers().map(|container| (container.image.reference.as_str(), container.image.digest));
        let mounted = self.linux().images.iter().filter_map(|volume| {
            Some((volume.reference.as_str(), self.volume_images.of(&volume.name)?.digest))
        });
        run.chain(mounted)
    }

    /// Init containers, then containers, then those that were added, each in the order of the spec. Their places in this row are the indexes
    /// by which the rest is asked for.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        let added = self.ephemeral.containers.iter().map(|added| &added.container);
        self.spec.init_containers.iter().chain(&self.spec.containers).chain(added)
    }

    /// The container at a place.
    ///
    /// # Panics
    /// When there is none.
    pub fn container(&self, index: usize) -> &Container {
        self.containers().nth(index).expect("indexes come from this pod")
    }

    /// Which list of the pod's spec has a container.
    pub fn list_of(&self, container: &str) -> Option<&'static str> {
        let index = self.containers().position(|known| known.name == container)?;
        Some(if index < self.spec.init_containers.len() {
            "initContainers"
        } else if index < self.spec.container_count() {
            "containers"
        } else {
            "ephemeralContainers"
        })
    }

    /// What files the container at a place sees; `None` when nothing is said.
    pub fn files_of(&self, index: usize) -> Option<&ContainerFiles> {
        match index.checked_sub(self.spec.container_count()) {
            None => self.volumes.of(index),
            Some(added) => self.ephemeral.containers.get(added).map(|added| &added.files),
        }
    }

    /// What only a Linux container at a place can honour; `None` when nothing is said.
    pub fn linux_of(&self, index: usize) -> Option<&ContainerLinux> {
        match index.checked_sub(self.spec.container_count()) {
            None => self.linux().of(index),
            Some(added) => self.ephemeral.containers.get(added).map(|added| &added.linux),
        }
    }

    /// What only Linux containers can honour, with all defaults applied.
    pub fn linux(&self) -> &PodLinux {
        self.linux.as_deref().unwrap_or(&SILENT)
    }

    /// What it says of resources beside the CPU and memory of its containers.
    pub fn resources(&self) -> &PodResources {
        self.resources.as_deref().unwrap_or(&ASKS_NOTHING)
    }
}

/// A pod that says nothing.
static SILENT: LazyLock<PodLinux> = LazyLock::new(PodLinux::default);

/// What a pod says of resources that says nothing of them.
static ASKS_NOTHING: LazyLock<PodResources> = LazyLock::new(PodResources::default);

/// The parts of `spec` and `metadata` that a node acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    /// `metadata.labels`, for field references.
    pub labels: Vec<(String, String)>,
    /// `metadata.annotations`, for field references and `dunlin.dev/` settings.
    pub annotations: Vec<(String, String)>,
    /// `spec.restartPolicy`.
    pub restart_policy: RestartPolicy,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace_seconds: u32,
    /// `spec.activeDeadlineSeconds`.
    pub active_deadline_seconds: Option<u32>,
    /// `spec.initContainers`, run to completion in this order.
    pub init_containers: Vec<Container>,
    /// `spec.containers`.
    pub containers: Vec<Container>,
    /// `spec.hostNetwork`: listen on the node's own address.
    pub host_network: bool,
    /// `spec.hostname`, or the pod's name.
    pub hostname: String,
    /// `spec.serviceAccountName`.
    pub service_account_name: String,
}

impl PodSpec {
    /// How many containers it was made with, init containers among them.
    pub const fn container_count(&self) -> usize {
        self.init_containers.len() + self.containers.len()
    }
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// After every end.
    Always,
    /// After an end with another exit code than 0.
    OnFailure,
    /// Never.
    Never,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// `name`, unique in the pod.
    pub name: String,
    /// `image` and what the coordinator resolved it to.
    pub image: Image,
    /// `command`; empty means the image's own.
    pub command: Vec<String>,
    /// `args`.
    pub args: Vec<String>,
    /// `workingDir`.
    pub working_dir: Option<String>,
    /// `envFrom`, applied before `env`.
    pub env_from: Vec<EnvFrom>,
    /// `env`, in order; later entries may use `$(NAME)` of earlier ones.
    pub env: Vec<EnvVar>,
    /// `ports`: the only addresses the container may listen on.
    pub ports: Vec<ContainerPort>,
    /// `resources`.
    pub resources: Resources,
    /// Container-level `restartPolicy: Always` of an init container: a sidecar.
    pub sidecar: bool,
    /// `terminationMessagePolicy: FallbackToLogsOnError`.
    pub termination_message_from_logs: bool,
    /// Fields that keep a container from starting rather than being ignored, if this is a WASM container. Whatever a WASM container meets by
    /// having no users at all is not named. For Linux containers see [`Container::refused_always`]. Fields of a volume are named as
    /// `volumes[NAME].FIELD`.
    pub refused_fields: Vec<String>,
}

impl Container {
    /// Those of [`Container::refused_fields`] that no kind of container honours. The others reach Linux containers by
    /// [`PodAssignment::linux`].
    pub fn refused_always(&self) -> impl Iterator<Item = &str> {
        let fields = self.refused_fields.iter().map(String::as_str);
        fields.filter(|field| !HONOURED_BY_LINUX.iter().any(|honoured| field.ends_with(honoured)))
    }
}

/// How the names of fields end that a Linux container honours. A WASM container honours the last one where it is told more of it.
const HONOURED_BY_LINUX: [&str; 3] = [".seccompProfile", ".appArmorProfile", ".hostIP"];

/// An image reference and its resolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As written in the manifest.
    pub reference: String,
    /// `imagePullPolicy`.
    pub pull_policy: PullPolicy,
    /// Digest of the module, when the coordinator knows the image; `None` is reported as `ErrImagePull` with `unresolved`.
    pub digest: Option<Digest>,
    /// Why there is no digest; empty when there is one.
    pub unresolved: String,
}

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// Ask for the current digest at each start.
    Always,
    /// Use what the node has.
    IfNotPresent,
    /// Fail with `ErrImageNeverPull` when the node does not have it.
    Never,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// The source of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// Text that may hold `$(NAME)`.
    Literal(String),
    /// `valueFrom.configMapKeyRef` or `secretKeyRef`.
    Key {
        /// Which of the two.
        kind: ConfigKind,
        /// Object name in the pod's namespace.
        name: String,
        /// Key in its data.
        key: String,
        /// Whether a missing object or key leaves the variable out instead of failing the container.
        optional: bool,
    },
    /// `valueFrom.fieldRef.fieldPath`, for instance `metadata.name`, `status.podIP` or `metadata.labels['x']`.
    Field(String),
    /// `valueFrom.resourceFieldRef`.
    Resource {
        /// Container, empty for the one that holds the variable.
        container: String,
        /// For instance `limits.memory`.
        resource: String,
        /// Divisor in thousandths of the resource's unit (`1` is 1000).
        divisor_milli: u64,
    },
}

/// All keys of an object as variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFrom {
    /// Put before each key.
    pub prefix: String,
    /// ConfigMap or Secret.
    pub kind: ConfigKind,
    /// Object name in the pod's namespace.
    pub name: String,
    /// Whether a missing object is fine.
    pub optional: bool,
}

/// Which kind of object holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Which content a named ConfigMap or Secret has now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigRef {
    /// ConfigMap or Secret.
    pub kind: ConfigKind,
    /// Its name in the pod's namespace.
    pub name: String,
    /// Id of its [`ConfigObject`], see [`crate::sealed::ContentKey::id`]; `None` while the object does not exist.
    pub digest: Option<Digest>,
}

/// The content of a ConfigMap or Secret, sent once per node and kept by digest. `Debug` shows no value of a Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigObject {
    /// ConfigMap or Secret.
    pub kind: ConfigKind,
    /// `data` and `binaryData`, decoded, sorted by key.
    pub data: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for ConfigObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ConfigObject");
        shown.field("kind", &self.kind);
        match self.kind {
            ConfigKind::ConfigMap => shown.field("data", &self.data).finish(),
            ConfigKind::Secret => shown.finish_non_exhaustive(),
        }
    }
}

/// One declared port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPort {
    /// `name`, or empty.
    pub name: String,
    /// `containerPort`.
    pub container_port: u16,
    /// `hostPort`.
    pub host_port: Option<u16>,
    /// `protocol`.
    pub protocol: Protocol,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// `resources.requests` and `resources.limits`; `None` is unset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// `requests.cpu`.
    pub cpu_request: Option<MilliCpu>,
    /// `requests.memory`.
    pub memory_request: Option<Bytes>,
    /// `limits.cpu`.
    pub cpu_limit: Option<MilliCpu>,
    /// `limits.memory`.
    pub memory_limit: Option<Bytes>,
}
