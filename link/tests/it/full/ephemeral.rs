//! Containers that were added to pods, with every field filled.

use dunlin_link::{
    PodUid,
    ephemeral::{AssignmentEphemeral, EphemeralContainer, PodEphemeral},
    linux::ContainerLinux,
};

use super::{linux, pod, volumes};

/// Those of two pods.
pub(crate) fn ephemeral() -> AssignmentEphemeral {
    let files = volumes().volumes.remove(0).1.containers.remove(0);
    let linux = linux::containers().remove(0);
    let full = EphemeralContainer { container: pod::container(), target: "side".into(), files, linux };
    let bare = EphemeralContainer {
        container: pod::sidecar(),
        target: String::new(),
        files: Default::default(),
        linux: ContainerLinux::default(),
    };
    AssignmentEphemeral {
        ephemeral: vec![
            (PodUid::new("uid-1"), PodEphemeral { containers: vec![full, bare.clone()] }),
            (PodUid::new("uid-2"), PodEphemeral { containers: vec![bare] }),
        ],
    }
}
