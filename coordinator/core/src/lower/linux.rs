//! What only Linux containers can honour, with the defaults applied that Kubernetes' nodes apply.

use std::net::IpAddr;

use dunlin_link::{
    Digest,
    ephemeral::PodEphemeral,
    linux::{
        AppArmorProfile, ContainerLinux, DnsPolicy, FsGroup, FsGroupPolicy, GroupsPolicy, HostAddress,
        HostAlias, ImageMount, ImageVolume, MountOptions, MountPropagation, PodDns, PodLinux,
        ProcessNamespace, QosClass, RecursiveReadOnly, SeccompProfile, Stdin, VolumeDevice,
    },
    reference::Reference,
    volume_images::{PodVolumeImages, VolumeImage},
};
use k8s_openapi::api::core::v1;

use super::{container_port, pull_policy, resources::huge_pages, volumes::volume_part};

/// Of a pod in this class; the default where there is nothing to say.
pub(super) fn pod_linux(spec: &v1::PodSpec, qos: Option<&str>, ephemeral: &PodEphemeral) -> PodLinux {
    let none = v1::PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut images = image_volumes(spec);
    let mut containers: Vec<_> =
        all().map(|container| container_linux(container, context, &images)).collect();
    let added = ephemeral.containers.iter().map(|added| &added.linux);
    let mounts: Vec<_> = containers.iter().chain(added).flat_map(|container| &container.images).collect();
    images.retain(|image| mounts.iter().any(|mount| mount.volume == image.name));
    if containers.iter().all(|container| *container == ContainerLinux::default()) {
        containers.clear();
    }
    PodLinux {
        qos: qos_class(qos),
        processes: processes(spec),
        host_ipc: spec.host_ipc == Some(true),
        sysctls: pairs(context.sysctls.as_ref(), |sysctl| (sysctl.name.clone(), sysctl.value.clone())),
        fs_group: context.fs_group.and_then(id).map(|gid| FsGroup {
            gid,
            policy: match context.fs_group_change_policy.as_deref() {
                Some("OnRootMismatch") => FsGroupPolicy::OnRootMismatch,
                _ => FsGroupPolicy::Always,
            },
        }),
        supplemental_groups: context.supplemental_groups.iter().flatten().copied().filter_map(id).collect(),
        groups_policy: match context.supplemental_groups_policy.as_deref() {
            Some("Strict") => GroupsPolicy::Strict,
            _ => GroupsPolicy::Merge,
        },
        host_aliases: pairs(spec.host_aliases.as_ref(), |alias| HostAlias {
            ip: alias.ip.clone(),
            hostnames: alias.hostnames.clone().unwrap_or_default(),
        }),
        dns: dns(spec),
        // A name that is overridden is complete.
        subdomain: spec.subdomain.clone().filter(|_| spec.hostname_override.is_none()).unwrap_or_default(),
        hostname_is_fqdn: spec.set_hostname_as_fqdn == Some(true),
        images,
        containers,
    }
}

fn pairs<T, U>(list: Option<&Vec<T>>, lower: impl Fn(&T) -> U) -> Vec<U> {
    list.into_iter().flatten().map(lower).collect()
}

fn qos_class(class: Option<&str>) -> QosClass {
    match class {
        Some("Guaranteed") => QosClass::Guaranteed,
        Some("Burstable") => QosClass::Burstable,
        _ => QosClass::BestEffort,
    }
}

fn processes(spec: &v1::PodSpec) -> ProcessNamespace {
    match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => ProcessNamespace::Host,
        (_, Some(true)) => ProcessNamespace::Pod,
        _ => ProcessNamespace::Container,
    }
}

/// The cluster's name servers are not reached from the machine's network; whoever means them there says `ClusterFirstWithHostNet`.
fn dns(spec: &v1::PodSpec) -> PodDns {
    let policy = match spec.dns_policy.as_deref() {
        Some("None") => DnsPolicy::None,
        Some("Default") => DnsPolicy::Default,
        Some("ClusterFirstWithHostNet") => DnsPolicy::ClusterFirst,
        _ if spec.host_network == Some(true) => DnsPolicy::Default,
        _ => DnsPolicy::ClusterFirst,
    };
    let none = v1::PodDNSConfig::default();
    let config = spec.dns_config.as_ref().unwrap_or(&none);
    let options = config.options.iter().flatten();
    PodDns {
        policy,
        nameservers: config.nameservers.clone().unwrap_or_default(),
        searches: config.searches.clone().unwrap_or_default(),
        options: options.filter_map(|option| Some((option.name.clone()?, option.value.clone()))).collect(),
    }
}

/// Volumes that are images, mounted or not.
pub(super) fn image_volumes(spec: &v1::PodSpec) -> Vec<ImageVolume> {
    let volumes = spec.volumes.iter().flatten();
    let images = volumes.filter_map(|volume| {
        let image = volume.image.as_ref()?;
        Some(ImageVolume {
            name: volume.name.clone(),
            reference: image.reference.clone().unwrap_or_default(),
            pull_policy: pull_policy(image.pull_policy.as_deref()),
        })
    });
    images.collect()
}

/// What the volumes hold that are images of the coordinator's own registry.
pub(super) fn volume_images(
    linux: &PodLinux,
    resolve: &dyn Fn(&str) -> Result<Digest, String>,
) -> PodVolumeImages {
    let own = linux.images.iter().filter(|image| is_own(&image.reference));
    let volumes = own.map(|image| {
        let (digest, unresolved) = match resolve(&image.reference) {
            Ok(digest) => (Some(digest), String::new()),
            Err(why) => (None, why),
        };
        VolumeImage { volume: image.name.clone(), digest, unresolved }
    });
    PodVolumeImages { volumes: volumes.collect() }
}

fn is_own(reference: &str) -> bool {
    reference.parse().is_ok_and(|reference: Reference| reference.is_local())
}

/// Of one container, which may mount these images.
pub(super) fn container_linux(
    container: &v1::Container,
    pod: &v1::PodSecurityContext,
    images: &[ImageVolume],
) -> ContainerLinux {
    let none = v1::SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    let privileged = is_privileged(own);
    let add_capabilities = capabilities(own, |capabilities| capabilities.add.as_ref());
    let escalates = privileged || add_capabilities.iter().any(|name| name == "SYS_ADMIN");
    let is_image = |mount: &&v1::VolumeMount| images.iter().any(|image| image.name == mount.name);
    let mounts = || container.volume_mounts.iter().flatten();
    let lifecycle = container.lifecycle.as_ref();
    ContainerLinux {
        uid: own.run_as_user.or(pod.run_as_user).and_then(id),
        gid: own.run_as_group.or(pod.run_as_group).and_then(id),
        refuse_root: own.run_as_non_root.or(pod.run_as_non_root) == Some(true),
        privileged,
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false) && !escalates,
        add_capabilities,
        drop_capabilities: capabilities(own, |capabilities| capabilities.drop.as_ref()),
        seccomp: seccomp(own, pod),
        app_armor: app_armor(own, pod),
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
        stdin: match (container.stdin, container.stdin_once) {
            (Some(true), Some(true)) => Stdin::Once,
            (Some(true), _) => Stdin::Open,
            _ => Stdin::None,
        },
        tty: container.tty == Some(true),
        stop_signal: lifecycle.and_then(|lifecycle| lifecycle.stop_signal.as_deref()?.parse().ok()),
        huge_pages: huge_pages(container.resources.as_ref()),
        mounts: mounts().filter(|mount| !is_image(mount)).filter_map(mount_options).collect(),
        images: mounts().filter(is_image).map(image_mount).collect(),
        devices: pairs(container.volume_devices.as_ref(), |device| VolumeDevice {
            volume: device.name.clone(),
            path: device.device_path.clone(),
        }),
        host_addresses: container.ports.iter().flatten().filter_map(host_address).collect(),
    }
}

fn is_privileged(context: &v1::SecurityContext) -> bool {
    context.privileged == Some(true)
}

/// Names are those of Linux without `CAP_`; who writes it all the same means the same.
fn capabilities(
    context: &v1::SecurityContext,
    list: impl Fn(&v1::Capabilities) -> Option<&Vec<String>>,
) -> Vec<String> {
    pairs(context.capabilities.as_ref().and_then(list), |name| {
        let name = name.to_ascii_uppercase();
        name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
    })
}

/// A privileged container is never confined.
fn seccomp(own: &v1::SecurityContext, pod: &v1::PodSecurityContext) -> SeccompProfile {
    if is_privileged(own) {
        return SeccompProfile::Unconfined;
    }
    let Some(profile) = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref()) else {
        return SeccompProfile::RuntimeDefault;
    };
    match &*profile.type_ {
        "Unconfined" => SeccompProfile::Unconfined,
        "Localhost" => SeccompProfile::Localhost(profile.localhost_profile.clone().unwrap_or_default()),
        _ => SeccompProfile::RuntimeDefault,
    }
}

/// A privileged container is confined by nothing but a profile that is named for it.
fn app_armor(own: &v1::SecurityContext, pod: &v1::PodSecurityContext) -> AppArmorProfile {
    let profile = own.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref());
    let kind = profile.map(|profile| &*profile.type_);
    match (kind, profile.and_then(|profile| profile.localhost_profile.clone())) {
        (Some("Localhost"), name) => AppArmorProfile::Localhost(name.unwrap_or_default()),
        (Some("Unconfined"), _) => AppArmorProfile::Unconfined,
        _ if is_privileged(own) => AppArmorProfile::Unconfined,
        (Some(_), _) => AppArmorProfile::RuntimeDefault,
        (None, _) => AppArmorProfile::Unset,
    }
}

/// `None` for a mount that says nothing of this.
fn mount_options(mount: &v1::VolumeMount) -> Option<MountOptions> {
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::HostToContainer,
        Some("Bidirectional") => MountPropagation::Bidirectional,
        _ => MountPropagation::None,
    };
    let recursive_read_only = match mount.recursive_read_only.as_deref() {
        Some("IfPossible") => RecursiveReadOnly::IfPossible,
        Some("Enabled") => RecursiveReadOnly::Enabled,
        _ => RecursiveReadOnly::Disabled,
    };
    let says = propagation != MountPropagation::None || recursive_read_only != RecursiveReadOnly::Disabled;
    says.then(|| MountOptions { path: mount.mount_path.clone(), propagation, recursive_read_only })
}

fn image_mount(mount: &v1::VolumeMount) -> ImageMount {
    ImageMount { volume: mount.name.clone(), path: mount.mount_path.clone(), part: volume_part(mount) }
}

/// `None` for a port of all addresses, or of none.
fn host_address(port: &v1::ContainerPort) -> Option<HostAddress> {
    let address = port.host_ip.clone().filter(|address| !address.is_empty())?;
    let is_everywhere = address.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
    let port = container_port(port.clone())?;
    let host_port = port.host_port.filter(|_| !is_everywhere)?;
    Some(HostAddress { host_port, protocol: port.protocol, address })
}

/// Of a user or a group; the API lets nothing else through.
fn id(id: i64) -> Option<u32> {
    u32::try_from(id).ok()
}

#[cfg(test)]
mod tests;
