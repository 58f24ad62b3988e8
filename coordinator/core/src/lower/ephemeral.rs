//! Containers that were added to a pod since it was made: `spec.ephemeralContainers`.

use dunlin_link::ephemeral::{EphemeralContainer, PodEphemeral};
use k8s_openapi::api::core::v1;

use super::{Lowering, linux, lower_container, volumes};

/// Of a pod, with all that is said of each.
pub(super) fn pod_ephemeral(spec: &v1::PodSpec, lowering: &Lowering<'_>) -> PodEphemeral {
    let images = linux::image_volumes(spec);
    let none = v1::PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    let containers = spec.ephemeral_containers.iter().flatten().cloned().map(|added| {
        let (container, target) = parts(added);
        EphemeralContainer {
            target,
            files: volumes::files(&container, &volumes::images(spec)),
            linux: linux::container_linux(&container, context, &images),
            container: lower_container(container, lowering),
        }
    });
    PodEphemeral { containers: containers.collect() }
}

/// The container that it is like, and whose processes it sees. What the API lets nobody say is left out.
fn parts(added: v1::EphemeralContainer) -> (v1::Container, String) {
    let container = v1::Container {
        args: added.args,
        command: added.command,
        env: added.env,
        env_from: added.env_from,
        image: added.image,
        image_pull_policy: added.image_pull_policy,
        name: added.name,
        security_context: added.security_context,
        stdin: added.stdin,
        stdin_once: added.stdin_once,
        termination_message_path: added.termination_message_path,
        termination_message_policy: added.termination_message_policy,
        tty: added.tty,
        volume_devices: added.volume_devices,
        volume_mounts: added.volume_mounts,
        working_dir: added.working_dir,
        ..v1::Container::default()
    };
    (container, added.target_container_name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dunlin_link::{linux::Stdin, volumes::Access};
    use serde_json::json;

    use crate::lower::lower;

    #[test]
    fn what_was_added_comes_with_all_that_it_says_and_needs() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {
                "securityContext": {"runAsUser": 7},
                "volumes": [
                    {"name": "e", "emptyDir": {}}, {"name": "unused", "emptyDir": {}},
                    {"name": "i", "image": {"reference": "registry.example/m:1"}},
                ],
                "containers": [{"name": "c", "image": "app"}],
                "ephemeralContainers": [{
                    "name": "debugger", "image": "busybox", "command": ["sh"], "stdin": true, "tty": true,
                    "targetContainerName": "c",
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "k"}}}],
                    "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
                    "volumeMounts": [
                        {"name": "e", "mountPath": "/e", "readOnly": true}, {"name": "i", "mountPath": "/i"},
                    ],
                }],
            },
        });
        let lowered = lower(pod.to_string().as_bytes(), &|_| Err("elsewhere".to_owned())).unwrap();
        let [added] = &*lowered.ephemeral.containers else { panic!("one was added") };
        assert_eq!((&*added.container.name, &*added.target), ("debugger", "c"));
        assert_eq!(added.container.command, ["sh"]);
        assert_eq!((added.linux.tty, added.linux.stdin, added.linux.uid), (true, Stdin::Open, Some(7)));
        assert_eq!(added.linux.add_capabilities, ["SYS_PTRACE"]);
        let mounts: Vec<_> = added.files.mounts.iter().map(|mount| (&*mount.path, mount.access)).collect();
        assert_eq!(mounts, [("/e", Access::ReadOnly)]);
        assert_eq!(added.linux.images[0].path, "/i");
        let volumes: Vec<_> = lowered.volumes.volumes.iter().map(|volume| &*volume.name).collect();
        assert_eq!(volumes, ["e"], "what it alone mounts is carried");
        assert_eq!(lowered.linux().images[0].name, "i");
        let config: Vec<_> = lowered.config.iter().map(|config| &*config.name).collect();
        assert_eq!(config, ["map"]);
        assert_eq!(lowered.linux().containers, [lowered.linux_of(0).unwrap().clone()]);
        assert_eq!(lowered.linux_of(1), Some(&added.linux));
        assert_eq!(lowered.files_of(1), Some(&added.files));
    }
}
