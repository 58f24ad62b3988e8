//! `dunlin dev`: what its nodes are told beside what every test sees of them.

use crate::cluster::Cluster;

#[test]
fn nodes_have_the_runtime_that_is_asked_for() {
    let check = |options: &[&str], variables: &[(&str, &str)], words: &str| {
        let cluster = Cluster::start_with(1, options, variables);
        let wanted = "jsonpath={.status.conditions[?(@.type==\"ContainersUnavailable\")]}";
        let told = cluster.dunlin(&["get", "node", "node-1", "-o", wanted], "").stdout;
        assert!(told.contains(words), "{options:?} {variables:?}: {told}");
    };
    let none = "containers are switched off on this node";
    check(&["--runtime", "none"], &[], none);
    check(&[], &[("DUNLIN_RUNTIME", "/no/such/runtime")], "/no/such/runtime");
    // What is said at the command line counts.
    check(&["--runtime", "none"], &[("DUNLIN_RUNTIME", "/no/such/runtime")], none);
}
