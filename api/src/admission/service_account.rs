//! ServiceAccount: the account of a pod, what it pulls images with, and the volume with its token.

use serde_json::{Value, json};

use crate::{
    kind::pod::mirror_of,
    pipeline::Creation,
    value::{default, has, list, list_mut, object_mut, set, text},
};

/// Gives a pod its account, and what comes with that when the account is known.
pub(super) fn admit(pod: &mut Value, creation: &Creation<'_>) {
    // What runs from a node's own disk needs no account, and its mirror may name none.
    if mirror_of(pod).is_some() {
        return;
    }
    let spec = object_mut(pod, "spec");
    if text(spec, "serviceAccountName").is_empty() {
        set(spec, "serviceAccountName", DEFAULT);
        set(spec, "serviceAccount", DEFAULT);
    }
    let Some(account) = &creation.surroundings.service_account else { return };
    if mounts_token(spec, account) {
        mount_token(spec, creation.suffix);
    }
    if list(spec, "imagePullSecrets").is_empty() && !list(account, "imagePullSecrets").is_empty() {
        set(spec, "imagePullSecrets", account["imagePullSecrets"].clone());
    }
}

/// Whether a volume, or a mount of one, is that of a pod's own token, which the system adds.
fn is_access_volume(named: &Value) -> bool {
    text(named, "name").starts_with(VOLUME_PREFIX)
}

/// What the pod says counts before what its account says.
fn mounts_token(spec: &Value, account: &Value) -> bool {
    let field = "automountServiceAccountToken";
    let says = [spec, account].into_iter().find(|holder| has(holder, field));
    says.is_none_or(|holder| holder[field] == true)
}

/// Mounts the token into every container that has nothing at its place.
fn mount_token(spec: &mut Value, suffix: &str) {
    let known = list(spec, "volumes").iter().find(|volume| is_access_volume(volume));
    let volume = known.map(|volume| text(volume, "name").to_owned());
    let is_known = volume.is_some();
    let volume = volume.unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut is_needed = false;
    for containers in ["initContainers", "containers"] {
        for container in list_mut(spec, containers) {
            if list(container, "volumeMounts").iter().any(|mount| text(mount, "mountPath") == MOUNT_PATH) {
                continue;
            }
            push(
                container,
                "volumeMounts",
                json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}),
            );
            is_needed = true;
        }
    }
    if is_needed && !is_known {
        push(spec, "volumes", json!({"name": volume, "projected": token_source()}));
    }
}

/// The token, the certificate by which the API is known, and the namespace.
fn token_source() -> Value {
    json!({
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": LIFETIME_SECONDS}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{
                "path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
            }]}},
        ],
    })
}

fn push(holder: &mut Value, key: &str, element: Value) {
    default(holder, key, Vec::<Value>::new());
    if let Some(list) = holder[key].as_array_mut() {
        list.push(element);
    }
}

/// The account that every namespace has.
pub(super) const DEFAULT: &str = "default";

/// What the name of the volume with a pod's token begins with.
const VOLUME_PREFIX: &str = "kube-api-access-";

/// Where programs look for their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// An hour, and a bit by which such tokens are known.
const LIFETIME_SECONDS: i64 = 3607;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        admission::Surroundings,
        pipeline::{Ownership, Requester},
    };

    fn admitted(mut pod: Value, account: Value) -> Value {
        let surroundings = Surroundings { service_account: Some(account), ..Surroundings::default() };
        let (namespace, uid, now, ownership) = ("d", "u", Timestamp::UNIX_EPOCH, Ownership::AsGiven);
        let requester = &Requester::default();
        admit(
            &mut pod,
            &Creation {
                namespace,
                now,
                uid,
                suffix: "abcde",
                requester,
                ownership,
                surroundings: &surroundings,
            },
        );
        pod["spec"].take()
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn every_container_gets_the_token() {
        let spec = admitted(
            pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]})),
            json!({}),
        );
        assert_eq!(spec["serviceAccountName"], "default");
        assert_eq!(spec["volumes"][0]["name"], "kube-api-access-abcde");
        let mount = json!({"name": "kube-api-access-abcde", "readOnly": true, "mountPath": MOUNT_PATH});
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        assert_eq!(spec["containers"][0]["volumeMounts"], json!([mount]));
    }

    #[test]
    fn pod_and_account_say_whether_there_is_a_token() {
        let container = || json!([{"name": "c"}]);
        let check = |pod_says: Option<Value>, account_says: Option<Value>, expected: usize| {
            let mut spec = json!({"containers": container()});
            let mut account = json!({});
            for (holder, says) in [(&mut spec, pod_says), (&mut account, account_says)] {
                if let Some(says) = says {
                    holder["automountServiceAccountToken"] = says;
                }
            }
            let spec = admitted(pod(spec), account);
            assert_eq!(list(&spec, "volumes").len(), expected, "{spec}");
        };
        check(None, None, 1);
        check(None, Some(json!(false)), 0);
        check(Some(json!(true)), Some(json!(false)), 1);
        check(Some(json!(false)), Some(json!(true)), 0);
    }

    #[test]
    fn what_is_mounted_there_stays() {
        let own = json!([{"name": "v", "mountPath": MOUNT_PATH}]);
        let spec = admitted(pod(json!({"containers": [{"name": "c", "volumeMounts": own}]})), json!({}));
        assert_eq!(spec["containers"][0]["volumeMounts"], own);
        assert!(list(&spec, "volumes").is_empty());
        // A pod that was copied from another one has its volume.
        let copied = json!({"volumes": [{"name": "kube-api-access-zzzzz"}], "containers": [{"name": "c"}]});
        let spec = admitted(pod(copied), json!({}));
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-zzzzz");
        assert_eq!(list(&spec, "volumes").len(), 1);
    }

    #[test]
    fn images_are_pulled_with_the_accounts_secrets() {
        let account = json!({"imagePullSecrets": [{"name": "s"}]});
        let spec = admitted(pod(json!({"containers": []})), account.clone());
        assert_eq!(spec["imagePullSecrets"], account["imagePullSecrets"]);
        let own = json!([{"name": "own"}]);
        let spec = admitted(pod(json!({"containers": [], "imagePullSecrets": own})), account);
        assert_eq!(spec["imagePullSecrets"], own);
    }

    #[test]
    fn mirrors_are_left_alone() {
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"containers": [{}]}});
        assert_eq!(admitted(mirror.clone(), json!({})), mirror["spec"]);
    }
}
