//! What a node may do by being one: as Kubernetes' node authorizer, with what its NodeRestriction admits.

use std::sync::LazyLock;

use dunlin_api::Kind;
use dunlin_coordinator_core::authorizer::{Attributes, PolicyRule, Rules, Target, policy};
use dunlin_link::NodeName;
use serde_json::Value;

use super::{Scope, list};

/// What the node authorizer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// It may, within this.
    Granted(Scope),
    /// It may, within this, when a pod that is bound to it names the object.
    IfNamed(Scope),
    /// Nothing; why, where Kubernetes says why. Roles may still allow it.
    Silent(String),
}

/// Decides by the attributes of a request.
pub(super) fn opinion(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    let Target::Resource { group, resource, .. } = asked.target else {
        return Opinion::Silent(String::new());
    };
    match (group, resource) {
        ("", "nodes") => own_node(node, asked),
        ("", "pods") => pods(node, asked),
        ("", "secrets" | "configmaps" | "persistentvolumeclaims") => named(asked),
        ("", "serviceaccounts") => tokens(node, asked),
        ("", "events") | ("events.k8s.io", "events") => events(node, asked),
        ("coordination.k8s.io", "leases") => own_lease(node, asked),
        ("storage.k8s.io", "csinodes") => own_csi_node(node, asked),
        _ if RULES.allow(asked) => Opinion::Granted(Scope::Full),
        _ => Opinion::Silent(String::new()),
    }
}

/// What a write that roles allow to a node is restricted to all the same.
///
/// # Errors
/// Why it may not be done by a node at all.
pub(super) fn restriction(node: &NodeName, asked: &Attributes<'_>) -> Result<Scope, String> {
    let Target::Resource { group: "", resource: resource @ ("pods" | "nodes" | "serviceaccounts"), .. } =
        asked.target
    else {
        return Ok(Scope::Full);
    };
    if matches!(asked.verb, "get" | "list" | "watch") {
        return Ok(Scope::Full);
    }
    match opinion(node, asked) {
        Opinion::Granted(scope) | Opinion::IfNamed(scope) => Ok(scope),
        Opinion::Silent(_) if resource == "serviceaccounts" => Ok(Scope::Full),
        Opinion::Silent(_) => {
            Err(format!("node \"{node}\" is not allowed to {} these {resource}", asked.verb))
        }
    }
}

/// Whether a pod names an object of this kind, anywhere that makes its node need it.
pub(super) fn names(pod: &Value, resource: &str, name: &str) -> bool {
    match resource {
        "secrets" => names_config(pod, &SECRET, name) || pulls_with(pod, name),
        "configmaps" => names_config(pod, &CONFIG_MAP, name),
        "persistentvolumeclaims" => {
            let volumes = list(&pod["spec"]["volumes"]).iter();
            let mut claims = volumes.map(|volume| claim_of(pod, volume));
            claims.any(|claim| claim.as_deref() == Some(name))
        }
        "serviceaccounts" => pod["spec"]["serviceAccountName"] == name,
        _ => false,
    }
}

/// How messages call objects that belong to a node by their name.
pub(super) fn shown(kind: &Kind) -> &'static str {
    if kind.plural == "leases" { "node lease" } else { kind.kind }
}

fn own_node(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    let (subresource, name) = parts(asked);
    let own = || Opinion::Granted(Scope::OwnNode(node.clone()));
    match asked.verb {
        "create" if subresource.is_empty() => own(),
        "get" | "update" | "patch" if ["", "status"].contains(&subresource) && name == node.as_str() => own(),
        // Its name may be in the selector, which is looked at with the list.
        "list" | "watch" if subresource.is_empty() && (name.is_empty() || name == node.as_str()) => own(),
        _ => Opinion::Silent(String::new()),
    }
}

fn pods(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    let (subresource, name) = parts(asked);
    match (asked.verb, subresource) {
        ("get" | "list" | "watch", "" | "status") | ("update" | "patch", "status") => {
            Opinion::Granted(Scope::BoundPods(node.clone()))
        }
        ("create", "") => Opinion::Granted(Scope::OwnMirrors(node.clone())),
        ("delete", "") if !name.is_empty() => Opinion::Granted(Scope::OwnMirrors(node.clone())),
        _ => Opinion::Silent(String::new()),
    }
}

fn named(asked: &Attributes<'_>) -> Opinion {
    let (subresource, name) = parts(asked);
    match asked.verb {
        "get" | "list" | "watch" if subresource.is_empty() && !name.is_empty() => {
            Opinion::IfNamed(Scope::Full)
        }
        "get" | "list" | "watch" if subresource.is_empty() => {
            Opinion::Silent("can only read namespaced object of this type".to_owned())
        }
        _ => Opinion::Silent(String::new()),
    }
}

fn tokens(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    match (asked.verb, parts(asked)) {
        ("create", ("token", name)) if !name.is_empty() => Opinion::IfNamed(Scope::BoundTokens(node.clone())),
        _ => Opinion::Silent("can only create tokens for individual service accounts".to_owned()),
    }
}

fn events(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    match (asked.verb, parts(asked)) {
        ("create" | "patch" | "update", ("", _)) => Opinion::Granted(Scope::OwnEvents(node.clone())),
        _ => Opinion::Silent(String::new()),
    }
}

fn own_lease(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    let silent = |why: &str| Opinion::Silent(why.to_owned());
    let Target::Resource { namespace, name, .. } = asked.target else { return silent("") };
    match asked.verb {
        "create" | "get" | "update" | "patch" | "delete" if namespace != LEASE_NAMESPACE => {
            silent("can only access leases in the \"kube-node-lease\" system namespace")
        }
        "create" => Opinion::Granted(Scope::OwnName(node.clone())),
        "get" | "update" | "patch" | "delete" if name == node.as_str() => {
            Opinion::Granted(Scope::OwnName(node.clone()))
        }
        "get" | "update" | "patch" | "delete" => {
            silent("can only access node lease with the same name as the requesting node")
        }
        _ => silent("can only get, create, update, patch, or delete a node lease"),
    }
}

fn own_csi_node(node: &NodeName, asked: &Attributes<'_>) -> Opinion {
    let silent = |why: &str| Opinion::Silent(why.to_owned());
    match (asked.verb, parts(asked)) {
        (_, (subresource, _)) if !subresource.is_empty() => silent("cannot authorize CSINode subresources"),
        ("create", _) => Opinion::Granted(Scope::OwnName(node.clone())),
        ("get" | "update" | "patch" | "delete", (_, name)) if name == node.as_str() => {
            Opinion::Granted(Scope::OwnName(node.clone()))
        }
        ("get" | "update" | "patch" | "delete", _) => {
            silent("can only access CSINode with the same name as the requesting node")
        }
        _ => silent("can only get, create, update, patch, or delete a CSINode"),
    }
}

/// Subresource and name.
fn parts<'a>(asked: &Attributes<'a>) -> (&'a str, &'a str) {
    match asked.target {
        Target::Resource { subresource, name, .. } => (subresource, name),
        Target::Path(_) => ("", ""),
    }
}

/// Where pods name objects of configuration.
struct ConfigFields {
    /// In `env` and `envFrom`.
    references: [&'static str; 2],
    /// In volumes, and the field there that holds the name.
    volume: (&'static str, &'static str),
}

fn names_config(pod: &Value, fields: &ConfigFields, name: &str) -> bool {
    let (volume, volume_name) = fields.volume;
    let spec = &pod["spec"];
    let in_volumes = list(&spec["volumes"]).iter().any(|entry| {
        let sources = list(&entry["projected"]["sources"]);
        entry[volume][volume_name] == name || sources.iter().any(|source| source[volume]["name"] == name)
    });
    let is_named = |entry: &Value| {
        let mut references = fields.references.iter();
        references.any(|field| entry[*field]["name"] == name || entry["valueFrom"][*field]["name"] == name)
    };
    let in_containers = ["initContainers", "containers", "ephemeralContainers"].iter().any(|containers| {
        list(&spec[*containers])
            .iter()
            .any(|container| list(&container["envFrom"]).iter().chain(list(&container["env"])).any(is_named))
    });
    in_volumes || in_containers
}

fn pulls_with(pod: &Value, name: &str) -> bool {
    list(&pod["spec"]["imagePullSecrets"]).iter().any(|entry| entry["name"] == name)
}

/// The claim that a volume of a pod is, one made for the pod included.
fn claim_of(pod: &Value, volume: &Value) -> Option<String> {
    if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        return Some(claim.to_owned());
    }
    let (pod, volume_name) = (pod["metadata"]["name"].as_str()?, volume["name"].as_str()?);
    volume["ephemeral"].is_object().then(|| format!("{pod}-{volume_name}"))
}

const SECRET: ConfigFields =
    ConfigFields { references: ["secretRef", "secretKeyRef"], volume: ("secret", "secretName") };
const CONFIG_MAP: ConfigFields =
    ConfigFields { references: ["configMapRef", "configMapKeyRef"], volume: ("configMap", "name") };

/// Where nodes say that they are there.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// What every node may do beyond what is looked at above: the rules of the role `system:node`, which nobody can change here.
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let role = policy::objects()
        .find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "system:node");
    let rules = role.map(|role| role["rules"].clone()).unwrap_or_default();
    Rules::pack(&serde_json::from_value::<Vec<PolicyRule>>(rules).unwrap_or_default())
});
