//! Profiles of kubectl's `debug`: what a container that looks into something may do, and what comes along.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// How much it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// What is mostly of use: see and trace processes, and a node's files.
    #[default]
    General,
    /// What a namespace of the level `baseline` takes.
    Baseline,
    /// What one of the level `restricted` takes.
    Restricted,
    /// Change the network.
    Netadmin,
    /// Everything.
    Sysadmin,
}

/// What is debugged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A pod, by a container that is added to it.
    Ephemeral,
    /// A copy of a pod.
    Copy,
    /// A node.
    Node,
}

impl Profile {
    /// Gives the container what the profile gives, and takes what it takes.
    pub(super) fn apply(self, container: &mut Value, style: Style) {
        let is_cleared = matches!(self, Self::Baseline | Self::Restricted)
            || (self, style) == (Self::General, Style::Node);
        if is_cleared && let Some(container) = container.as_object_mut() {
            container.remove("securityContext");
        }
        match self {
            Self::General if style != Style::Node => add_capabilities(container, &["SYS_PTRACE"]),
            Self::General | Self::Baseline => {}
            Self::Restricted => {
                container["securityContext"] = json!({
                    "runAsNonRoot": true,
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                });
            }
            Self::Netadmin => add_capabilities(container, &["NET_ADMIN", "NET_RAW"]),
            Self::Sysadmin => context(container)["privileged"] = true.into(),
        }
    }

    /// Gives the pod on a node, whose only container this is, what it sees of the node.
    pub(super) fn open_node(self, spec: &mut Value) {
        if matches!(self, Self::Baseline | Self::Restricted) {
            return;
        }
        for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
            spec[namespace] = true.into();
        }
        if self != Self::Netadmin {
            spec["volumes"] = json!([{"name": "host-root", "hostPath": {"path": "/"}}]);
            spec["containers"][0]["volumeMounts"] = json!([{"name": "host-root", "mountPath": "/host"}]);
        }
    }
}

/// The container's security context, made where there is none.
fn context(container: &mut Value) -> &mut Value {
    let context = &mut container["securityContext"];
    if !context.is_object() {
        *context = Map::new().into();
    }
    context
}

fn add_capabilities(container: &mut Value, names: &[&str]) {
    let context = context(container);
    if !context["capabilities"].is_object() {
        context["capabilities"] = Map::new().into();
    }
    let add = &mut context["capabilities"]["add"];
    match add.as_array_mut() {
        Some(list) => list.extend(names.iter().map(|name| (*name).into())),
        None => *add = names.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_gives_and_takes_as_kubectl_s_does() {
        let check = |profile: Profile, style, expected: Value| {
            let mut container = json!({"name": "c", "securityContext": {"runAsUser": 7}});
            profile.apply(&mut container, style);
            assert_eq!(container["securityContext"], expected, "{profile:?} {style:?}");
        };
        let with = |names: &[&str]| json!({"runAsUser": 7, "capabilities": {"add": names}});
        check(Profile::General, Style::Ephemeral, with(&["SYS_PTRACE"]));
        check(Profile::General, Style::Copy, with(&["SYS_PTRACE"]));
        check(Profile::General, Style::Node, Value::Null);
        check(Profile::Baseline, Style::Ephemeral, Value::Null);
        check(Profile::Netadmin, Style::Ephemeral, with(&["NET_ADMIN", "NET_RAW"]));
        check(Profile::Sysadmin, Style::Node, json!({"runAsUser": 7, "privileged": true}));
        let mut narrow = json!({"name": "c"});
        Profile::Restricted.apply(&mut narrow, Style::Copy);
        assert_eq!(narrow["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(narrow["securityContext"]["runAsNonRoot"], true);
    }

    #[test]
    fn a_pod_on_a_node_sees_what_its_profile_lets_it() {
        let check = |profile: Profile, sees_processes: bool, sees_files: bool| {
            let mut spec = json!({"containers": [{"name": "c"}]});
            profile.open_node(&mut spec);
            assert_eq!(spec["hostPID"] == true, sees_processes, "{profile:?}");
            assert_eq!(spec["containers"][0]["volumeMounts"].is_array(), sees_files, "{profile:?}");
        };
        check(Profile::General, true, true);
        check(Profile::Sysadmin, true, true);
        check(Profile::Netadmin, true, false);
        check(Profile::Baseline, false, false);
        check(Profile::Restricted, false, false);
    }
}
