//! Which security settings keep a node from starting a container, because it must not ignore them.
//!
//! Users of a pod's own, another runtime, and options of SELinux where the machine has it, no Linux container gets yet; the rest is
//! named for WASM containers, and Linux containers honour it (`linux.rs`). Options of Windows mean nothing on Linux, as for a kubelet
//! there.
//!
//! A WASM guest has no user, no system calls, no root file system and no capabilities, so most settings hold by themselves
//! (`runAsNonRoot`, `readOnlyRootFilesystem`, dropped capabilities, the runtime's default seccomp profile), and those that would
//! give more than that give nothing. What remains are profiles written by the operator, which nothing here can enforce.

use std::net::IpAddr;

use k8s_openapi::api::core::v1;

/// Fields of the pod that apply to every container.
pub(super) fn refused_fields(spec: &v1::PodSpec) -> Vec<String> {
    let host_users = (spec.host_users == Some(false)).then(|| "spec.hostUsers".to_owned());
    // It is a wall around the container more often than not.
    let class = spec.runtime_class_name.as_ref().filter(|name| !name.is_empty());
    let class = class.map(|_| "spec.runtimeClassName".to_owned());
    let context = spec.security_context.as_ref().map(|context| {
        named(
            "spec.securityContext",
            &Profiles {
                seccomp: context.seccomp_profile.as_ref(),
                app_armor: context.app_armor_profile.as_ref(),
                se_linux: context.se_linux_options.as_ref(),
            },
        )
    });
    host_users.into_iter().chain(class).chain(context.into_iter().flatten()).collect()
}

/// Fields that apply to one container: its own, and the pod's that it does not replace.
pub(super) fn refused_in_container(context: Option<&v1::SecurityContext>, pod: &[String]) -> Vec<String> {
    let Some(context) = context else { return pod.to_vec() };
    let replaced = |field: &String| {
        (field.ends_with(SECCOMP) && context.seccomp_profile.is_some())
            || (field.ends_with(APP_ARMOR) && context.app_armor_profile.is_some())
            || (field.ends_with(SE_LINUX) && context.se_linux_options.is_some())
    };
    let mut fields: Vec<String> = pod.iter().filter(|field| !replaced(field)).cloned().collect();
    fields.extend(named(
        "securityContext",
        &Profiles {
            seccomp: context.seccomp_profile.as_ref(),
            app_armor: context.app_armor_profile.as_ref(),
            se_linux: context.se_linux_options.as_ref(),
        },
    ));
    fields
}

/// Where one address of the machine was asked for, a node that is not told which (`linux.rs`) would open the port to more.
pub(super) fn refused_in_ports(ports: &[v1::ContainerPort]) -> Vec<String> {
    let narrow = |port: &v1::ContainerPort| {
        let address = port.host_ip.as_deref().filter(|address| !address.is_empty());
        let everywhere =
            |address: &str| address.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
        port.host_port.is_some_and(|number| number > 0) && address.is_some_and(|address| !everywhere(address))
    };
    let narrow = ports.iter().enumerate().filter(|(_, port)| narrow(port));
    narrow.map(|(index, _)| format!("ports[{index}].hostIP")).collect()
}

/// Variables that no node can make: a container without them would not be what it should.
pub(super) fn refused_in_env(variables: &[v1::EnvVar]) -> Vec<String> {
    let of_file = |variable: &v1::EnvVar| {
        variable.value_from.as_ref().is_some_and(|source| source.file_key_ref.is_some())
    };
    let of_files = variables.iter().enumerate().filter(|(_, variable)| of_file(variable));
    of_files.map(|(index, _)| format!("env[{index}].valueFrom.fileKeyRef")).collect()
}

/// What both kinds of security contexts hold.
struct Profiles<'a> {
    seccomp: Option<&'a v1::SeccompProfile>,
    app_armor: Option<&'a v1::AppArmorProfile>,
    se_linux: Option<&'a v1::SELinuxOptions>,
}

fn named(place: &str, profiles: &Profiles<'_>) -> Vec<String> {
    let localhost = "Localhost";
    let fields = [
        (SECCOMP, profiles.seccomp.is_some_and(|profile| profile.type_ == localhost)),
        (APP_ARMOR, profiles.app_armor.is_some_and(|profile| profile.type_ == localhost)),
        (SE_LINUX, profiles.se_linux.is_some_and(|options| *options != v1::SELinuxOptions::default())),
    ];
    fields.iter().filter(|(_, refused)| *refused).map(|(field, _)| format!("{place}.{field}")).collect()
}

const SECCOMP: &str = "seccompProfile";
const APP_ARMOR: &str = "appArmorProfile";
const SE_LINUX: &str = "seLinuxOptions";
