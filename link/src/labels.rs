//! Which labels a node may give itself: what the coordinator refuses and what a node does not even ask for.
//!
//! Kubernetes' list for its kubelets. Whoever takes a node over must not steer other pods to it by a role or a mark of trust that
//! administrators give.

/// Whether a node may set the label `key` on its own Node: any outside of `kubernetes.io` and `k8s.io`, and of those the ones that say
/// what and where a machine is.
pub fn is_own_label(key: &str) -> bool {
    let Some((namespace, _)) = key.split_once('/') else { return true };
    let is_in = |zone: &&str| {
        namespace.strip_suffix(*zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !RESERVED.iter().any(is_in) || OWN_KEYS.contains(&key) || OWN_NAMESPACES.iter().any(is_in)
}

/// The label in which a node says what kind of machine it runs compiled code of. The coordinator compiles for it.
pub const TARGET_LABEL: &str = "dunlin.dev/target";

/// What may be set in these, and below them, is Kubernetes' to say.
const RESERVED: [&str; 2] = ["kubernetes.io", "k8s.io"];

/// What a machine is, and where.
const OWN_KEYS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Everything in these, and below them, is left to nodes.
const OWN_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_what_it_is_and_not_what_it_may() {
        let own = OWN_KEYS.iter().copied().chain([
            "zone",
            "site/harbour",
            "dunlin.dev/runtime",
            "example.com/kubernetes.io",
            "notkubernetes.io/x",
            "notk8s.io/x",
            "kubernetes.io.example/x",
            "kubelet.kubernetes.io/x",
            "node.kubernetes.io/x",
            "a.node.kubernetes.io/x",
        ]);
        for key in own {
            assert!(is_own_label(key), "{key}");
        }
        for key in [
            "node-role.kubernetes.io/control-plane",
            "node-restriction.kubernetes.io/x",
            "a.node-restriction.kubernetes.io/x",
            "kubernetes.io/x",
            "k8s.io/x",
            "a.k8s.io/x",
            "topology.kubernetes.io/rack",
            "xnode.kubernetes.io/x",
            "Node.kubernetes.io/x",
        ] {
            assert!(!is_own_label(key), "{key}");
        }
    }
}
