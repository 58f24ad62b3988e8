//! Which security settings a node must refuse instead of ignoring.
//!
//! What only some machines or no Linux node can do is refused for every container: options of SELinux and of Windows, and users of a
//! pod's own. The rest is named for WASM containers; Linux containers honour it (`linux.rs`).
//!
//! A WASM guest has no user, no system calls, no root file system and no capabilities, so most settings hold by themselves
//! (`runAsNonRoot`, `readOnlyRootFilesystem`, dropped capabilities, the runtime's default seccomp profile), and those that would
//! give more than that give nothing. What remains are profiles written by the operator, which nothing here can enforce.

use std::net::IpAddr;

use k8s_openapi::api::core::v1;

/// Fields of the pod that apply to every container.
pub(super) fn refused_fields(spec: &v1::PodSpec) -> Vec<String> {
    let host_users = (spec.host_users == Some(false)).then(|| "spec.hostUsers".to_owned());
    let context = spec.security_context.as_ref().map(|context| {
        named(
            "spec.securityContext",
            &Profiles {
                seccomp: context.seccomp_profile.as_ref(),
                app_armor: context.app_armor_profile.as_ref(),
                se_linux: context.se_linux_options.as_ref(),
                windows: context.windows_options.as_ref(),
            },
        )
    });
    host_users.into_iter().chain(context.into_iter().flatten()).collect()
}

/// Fields that apply to one container: its own, and the pod's that it does not replace.
pub(super) fn refused_in_container(context: Option<&v1::SecurityContext>, pod: &[String]) -> Vec<String> {
    let Some(context) = context else { return pod.to_vec() };
    let replaced = |field: &String| {
        (field.ends_with(SECCOMP) && context.seccomp_profile.is_some())
            || (field.ends_with(APP_ARMOR) && context.app_armor_profile.is_some())
            || (field.ends_with(SE_LINUX) && context.se_linux_options.is_some())
            || (field.ends_with(WINDOWS) && context.windows_options.is_some())
    };
    let mut fields: Vec<String> = pod.iter().filter(|field| !replaced(field)).cloned().collect();
    fields.extend(named(
        "securityContext",
        &Profiles {
            seccomp: context.seccomp_profile.as_ref(),
            app_armor: context.app_armor_profile.as_ref(),
            se_linux: context.se_linux_options.as_ref(),
            windows: context.windows_options.as_ref(),
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

/// What both kinds of security contexts hold.
struct Profiles<'a> {
    seccomp: Option<&'a v1::SeccompProfile>,
    app_armor: Option<&'a v1::AppArmorProfile>,
    se_linux: Option<&'a v1::SELinuxOptions>,
    windows: Option<&'a v1::WindowsSecurityContextOptions>,
}

fn named(place: &str, profiles: &Profiles<'_>) -> Vec<String> {
    let localhost = "Localhost";
    let fields = [
        (SECCOMP, profiles.seccomp.is_some_and(|profile| profile.type_ == localhost)),
        (APP_ARMOR, profiles.app_armor.is_some_and(|profile| profile.type_ == localhost)),
        (SE_LINUX, profiles.se_linux.is_some_and(|options| *options != v1::SELinuxOptions::default())),
        (
            WINDOWS,
            profiles.windows.is_some_and(|options| *options != v1::WindowsSecurityContextOptions::default()),
        ),
    ];
    fields.iter().filter(|(_, refused)| *refused).map(|(field, _)| format!("{place}.{field}")).collect()
}

const SECCOMP: &str = "seccompProfile";
const APP_ARMOR: &str = "appArmorProfile";
const SE_LINUX: &str = "seLinuxOptions";
const WINDOWS: &str = "windowsOptions";
