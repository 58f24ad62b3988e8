//! What files the containers of a pod see: its volumes, and where they are mounted. Since version 5.
//!
//! It is a part of a [`crate::pod::PodAssignment`] that travels in a frame of its own, because a released struct never changes. A peer of
//! an older version is not told of it, and runs the pod without.

use serde::{Deserialize, Serialize};

use crate::{Bytes, pod::ConfigKind};

/// Of one pod. The default is none, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodVolumes {
    /// Those that some container mounts and that nodes can serve.
    pub volumes: Vec<Volume>,
    /// Init containers, then containers, each in the order of the spec; empty when none says anything.
    pub containers: Vec<ContainerFiles>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `name`, unique in the pod.
    pub name: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// `emptyDir`: a folder that lives as long as the pod is on the node.
    EmptyDir {
        /// Where its bytes are.
        medium: Medium,
        /// `sizeLimit`: a pod that holds more is evicted.
        size_limit: Option<Bytes>,
    },
    /// `hostPath`: what the node's machine has there.
    HostPath {
        /// Absolute.
        path: String,
        /// `type`: what has to be there.
        kind: HostPathKind,
    },
    /// `configMap`, `secret`, `downwardAPI` or `projected`: files that the node keeps in step with what they are made of.
    Projected {
        /// `defaultMode`.
        default_mode: u32,
        /// Later ones go over earlier ones.
        sources: Vec<Projection>,
    },
}

/// `medium` of an `emptyDir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Medium {
    /// The node's disk.
    Disk,
    /// The machine's memory.
    Memory,
}

/// `type` of a `hostPath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathKind {
    /// Anything.
    Unset,
    /// A folder, which is made where there is none.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, which is made where there is none.
    FileOrCreate,
    /// A file.
    File,
    /// A unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Where files of a projected volume come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Projection {
    /// The content of a ConfigMap or Secret, which [`crate::pod::PodAssignment::config`] names by digest.
    Config {
        /// Which of the two.
        kind: ConfigKind,
        /// Object name in the pod's namespace.
        name: String,
        /// The keys that become files; all, under their own names, when it is empty.
        items: Vec<ConfigItem>,
        /// Whether a missing object or key is left out instead of keeping the pod from starting.
        optional: bool,
    },
    /// What the pod is.
    Downward {
        /// A file each.
        items: Vec<DownwardItem>,
    },
}

/// A key that becomes a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigItem {
    /// In the object's data.
    pub key: String,
    /// Relative to the volume.
    pub path: String,
    /// Or the volume's default.
    pub mode: Option<u32>,
}

/// A field that becomes a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownwardItem {
    /// Relative to the volume.
    pub path: String,
    /// Or the volume's default.
    pub mode: Option<u32>,
    /// What is in the file.
    pub value: DownwardValue,
}

/// What a file says of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownwardValue {
    /// `fieldRef.fieldPath`.
    Field(String),
    /// `resourceFieldRef`.
    Resource {
        /// Container.
        container: String,
        /// For instance `limits.memory`.
        resource: String,
        /// Divisor in thousandths of the resource's unit (`1` is 1000).
        divisor_milli: u64,
    },
}

/// What one container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFiles {
    /// `volumeMounts`, in order.
    pub mounts: Vec<VolumeMount>,
    /// `terminationMessagePath`; `None` for [`TERMINATION_MESSAGE_PATH`].
    pub termination_message_path: Option<String>,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Name of the volume.
    pub volume: String,
    /// `mountPath`.
    pub path: String,
    /// What of the volume.
    pub part: VolumePart,
    /// Whether the container may change it.
    pub access: Access,
}

/// What of a volume is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumePart {
    /// All of it.
    Whole,
    /// `subPath`.
    Path(String),
    /// `subPathExpr`: with `$(NAME)` for the container's variables.
    Expression(String),
}

/// Whether a container may change what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

impl PodVolumes {
    /// What the container at a place sees, init containers first; `None` when nothing is said of it.
    pub fn of(&self, index: usize) -> Option<&ContainerFiles> {
        self.containers.get(index)
    }

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a container leaves its last words, unless it says otherwise.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";
