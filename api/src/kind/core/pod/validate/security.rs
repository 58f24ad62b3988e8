//! Rules for security contexts.

use serde_json::Value;

use super::{check_choice, check_range};
use crate::{
    field::{FieldError, Path},
    value::{has, is_true, list, text},
};

pub(super) fn check_pod(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if is_true(spec, "hostPID") && is_true(spec, "shareProcessNamespace") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(field.child("shareProcessNamespace"), true, detail));
    }
    let context = &spec["securityContext"];
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_range(context, key, field, ID_RANGE, errors);
    }
    for (position, group) in list(context, "supplementalGroups").iter().filter_map(Value::as_i64).enumerate()
    {
        if !(ID_RANGE[0]..=ID_RANGE[1]).contains(&group) {
            let detail = format!("must be between {} and {}, inclusive", ID_RANGE[0], ID_RANGE[1]);
            let field = field.child("supplementalGroups").index(position);
            errors.push(FieldError::invalid(field, group, &detail));
        }
    }
    check_sysctls(context, &field.child("sysctls"), errors);
    check_choice(context, "fsGroupChangePolicy", field, &["Always", "OnRootMismatch"], errors);
    check_profiles(context, field, errors);
}

pub(super) fn check_container(context: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for key in ["runAsUser", "runAsGroup"] {
        check_range(context, key, field, ID_RANGE, errors);
    }
    check_choice(context, "procMount", field, &["Default", "Unmasked"], errors);
    check_profiles(context, field, errors);
    if context["allowPrivilegeEscalation"] == false {
        let detail = if is_true(context, "privileged") {
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        } else if list(&context["capabilities"], "add").iter().any(|name| name == "CAP_SYS_ADMIN") {
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        } else {
            return;
        };
        errors.push(FieldError::invalid_json(field, &context.to_string(), detail));
    }
}

/// Only containers with users of their own may see all of `/proc`; `field` is that of `spec`.
pub(super) fn check_proc_mounts(spec: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    if spec["hostUsers"] == false {
        return;
    }
    for key in ["containers", "initContainers", "ephemeralContainers"] {
        for (position, container) in list(spec, key).iter().enumerate() {
            let mount = text(&container["securityContext"], "procMount");
            if mount == "Unmasked" {
                let field = field.child(key).index(position).child("securityContext").child("procMount");
                errors.push(FieldError::invalid(field, mount, "hostUsers must be false to use Unmasked"));
            }
        }
    }
}

fn check_profiles(context: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (key, name) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        if !has(context, key) {
            continue;
        }
        let (profile, field) = (&context[key], field.child(key));
        let path = text(profile, "localhostProfile");
        match text(profile, "type") {
            "Localhost" if path.is_empty() => {
                let detail = format!("must be set when {name} type is Localhost");
                errors.push(FieldError::required(field.child("localhostProfile"), &detail));
            }
            "Localhost" => {}
            kind => {
                if has(profile, "localhostProfile") {
                    let detail = format!("can only be set when {name} type is Localhost");
                    errors.push(FieldError::invalid(field.child("localhostProfile"), path, &detail));
                }
                if kind.is_empty() {
                    errors.push(FieldError::required(
                        field.child("type"),
                        "type is required when seccompProfile is set",
                    ));
                } else {
                    check_choice(
                        profile,
                        "type",
                        &field,
                        &["Localhost", "RuntimeDefault", "Unconfined"],
                        errors,
                    );
                }
            }
        }
    }
}

fn check_sysctls(context: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    let mut seen = Vec::new();
    for (position, sysctl) in list(context, "sysctls").iter().enumerate() {
        let field = field.index(position).child("name");
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(field, name, detail));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(field, name));
        }
        seen.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let inner =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
            end(part.as_bytes().first()) && end(part.as_bytes().last()) && part.bytes().all(inner)
        })
}

/// User and group ids.
const ID_RANGE: [i64; 2] = [0, i32::MAX as i64];
