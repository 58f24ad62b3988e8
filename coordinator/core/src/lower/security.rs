//! Which security settings a node must refuse instead of ignoring.
//!
//! A WASM guest has no user, no system calls, no root file system and no capabilities, so most settings hold by themselves
//! (`runAsNonRoot`, `readOnlyRootFilesystem`, dropped capabilities, the runtime's default seccomp profile), and those that would
//! give more than that give nothing. What remains are profiles written by the operator, which nothing here can enforce.

use std::net::IpAddr;

use k8s_openapi::api::core::v1;

/// Fields of the pod's security context that apply to every container.
pub(super) fn refused_fields(context: Option<&v1::PodSecurityContext>) -> Vec<String> {
    let Some(context) = context else { return Vec::new() };
    named(
        "spec.securityContext",
        context.seccomp_profile.as_ref(),
        context.app_armor_profile.as_ref(),
        context.se_linux_options.as_ref(),
    )
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
        context.seccomp_profile.as_ref(),
        context.app_armor_profile.as_ref(),
        context.se_linux_options.as_ref(),
    ));
    fields
}

/// Nodes listen for a host port on all their addresses. Where one of them was asked for, that would open the port to more.
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

fn named(
    place: &str,
    seccomp: Option<&v1::SeccompProfile>,
    app_armor: Option<&v1::AppArmorProfile>,
    se_linux: Option<&v1::SELinuxOptions>,
) -> Vec<String> {
    let localhost = "Localhost";
    let fields = [
        (SECCOMP, seccomp.is_some_and(|profile| profile.type_ == localhost)),
        (APP_ARMOR, app_armor.is_some_and(|profile| profile.type_ == localhost)),
        (SE_LINUX, se_linux.is_some_and(|options| *options != v1::SELinuxOptions::default())),
    ];
    fields.iter().filter(|(_, refused)| *refused).map(|(field, _)| format!("{place}.{field}")).collect()
}

const SECCOMP: &str = "seccompProfile";
const APP_ARMOR: &str = "appArmorProfile";
const SE_LINUX: &str = "seLinuxOptions";
