//! What level `restricted` asks for beyond `baseline`, in the order of Kubernetes' checks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    baseline::{bad_seccomp, bad_seccomp_words, changed_proc_mount},
    subject::{Check, Subject, Violation, named, plural, quoted, take_others, violation},
};
use crate::value::{has, list, text};

/// What a pod breaks.
pub(super) fn check(subject: &Subject<'_>) -> Vec<Violation> {
    let asked = CHECKS.iter().filter(|(since, _)| subject.version.has(*since));
    asked.filter_map(|(_, check)| check(subject)).collect()
}

/// By the version since which they are there.
const CHECKS: [(u32, Check); 7] = [
    (8, privilege_escalation),
    (22, capabilities),
    (35, changed_proc_mount),
    (0, volumes),
    (0, run_as_non_root),
    (23, run_as_user),
    (19, seccomp_profile),
];

fn privilege_escalation(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_for_windows() {
        return None;
    }
    let containers =
        subject.bad_containers(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    violation(&containers, "allowPrivilegeEscalation != false", || {
        format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&containers))
    })
}

fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_for_windows() {
        return None;
    }
    let of = |container| &container_context(container)["capabilities"];
    let keeping =
        subject.bad_containers(|container| !list(of(container), "drop").iter().any(|one| one == "ALL"));
    let mut added = BTreeSet::new();
    let adding = subject.bad_containers(|container| {
        take_others(list(of(container), "add"), &["NET_BIND_SERVICE"], &mut added)
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&adding),
            quoted(&added)
        ));
    }
    violation(&details, "unrestricted capabilities", || details.join("; "))
}

fn volumes(subject: &Subject<'_>) -> Option<Violation> {
    let is_good = |volume: &&Value| VOLUMES.iter().any(|kind| has(volume, kind));
    let bad: Vec<_> = list(subject.spec, "volumes").iter().filter(|volume| !is_good(volume)).collect();
    let kinds: BTreeSet<_> = bad
        .iter()
        .map(|volume| OTHER_VOLUMES.into_iter().find(|kind| has(volume, kind)).unwrap_or("unknown"))
        .collect();
    violation(&bad, "restricted volume types", || {
        format!(
            "{} {} {} {} {}",
            plural(bad.len(), "volume", "volumes"),
            quoted(bad.iter().map(|volume| text(volume, "name"))),
            plural(bad.len(), "uses", "use"),
            plural(kinds.len(), "restricted volume type", "restricted volume types"),
            quoted(&kinds)
        )
    })
}

fn run_as_non_root(subject: &Subject<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if subject.has_own_users() {
        return None;
    }
    let setters = subject.bad_setters(|context| context["runAsNonRoot"] == false);
    let is_root = violation(&setters, REASON, || {
        format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "))
    });
    is_root.or_else(|| {
        let is_said = subject.spec["securityContext"]["runAsNonRoot"] == true;
        let silent = subject
            .bad_containers(|container| !is_said && !has(container_context(container), "runAsNonRoot"));
        violation(&silent, REASON, || {
            format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent))
        })
    })
}

fn run_as_user(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() {
        return None;
    }
    let setters = subject.bad_setters(|context| context["runAsUser"] == 0);
    violation(&setters, "runAsUser=0", || format!("{} must not set runAsUser=0", setters.join(" and ")))
}

fn seccomp_profile(subject: &Subject<'_>) -> Option<Violation> {
    const REASON: &str = "seccompProfile";
    if subject.is_for_windows() {
        return None;
    }
    let (setters, kinds) = bad_seccomp(subject);
    violation(&setters, REASON, || bad_seccomp_words(&setters, &kinds)).or_else(|| {
        let is_said = has(&subject.spec["securityContext"], "seccompProfile");
        let silent =
            subject.bad_containers(|container| !is_said && !has(container_context(container), "seccompProfile"));
        violation(&silent, REASON, || {
            format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                named(&silent)
            )
        })
    })
}

fn container_context(container: &Value) -> &Value {
    &container["securityContext"]
}

const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];
