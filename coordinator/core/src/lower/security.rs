//! Which security settings a node must refuse instead of ignoring.
//!
//! A WASM guest has no user, no system calls, no root file system and no capabilities, so most settings hold by themselves
//! (`runAsNonRoot`, `readOnlyRootFilesystem`, dropped capabilities, the runtime's default seccomp profile), and those that would
//! give more than that give nothing. What remains are profiles written by the operator, which nothing here can enforce.

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
