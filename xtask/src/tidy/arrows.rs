//! Which crate may depend on which, and which crate may name a heavy dependency.

use serde_json::Value;

use super::{items, text};

/// Checks every member's direct dependencies, those of its tests included.
pub(super) fn check(metadata: &Value, findings: &mut Vec<String>) {
    for package in items(metadata, "packages") {
        let name = text(package, "name");
        for dependency in items(package, "dependencies") {
            check_one(name, text(dependency, "name"), dependency["kind"].as_str(), findings);
        }
    }
}

/// `kind` is `None` for what goes into the product, else `dev` or `build`.
fn check_one(name: &str, dependency: &str, kind: Option<&str>, findings: &mut Vec<String>) {
    if dependency.starts_with("dunlin") {
        match ARROWS.iter().find(|(from, _)| *from == name) {
            Some((_, allowed)) if allowed.contains(&dependency) => {}
            Some(_) => {
                findings.push(format!("{name} must not depend on {dependency} (docs/ARCHITECTURE.md)"))
            }
            None => findings.push(format!("{name} is not in the list of arrows in xtask/src/tidy/arrows.rs")),
        }
    }
    if PURE.contains(&name) && BANNED_IN_PURE.contains(&dependency) {
        findings.push(format!("{name} is pure and must not depend on {dependency}"));
    }
    // Tests may build whole systems from real parts, for instance a wasm module from text.
    if kind == Some("dev") {
        return;
    }
    if let Some((_, owners)) = OWNERS.iter().find(|(heavy, _)| *heavy == dependency)
        && !owners.contains(&name)
    {
        findings.push(format!("{name} must not name {dependency}, which belongs to {}", owners.join(", ")));
    }
}

/// Crates that decide: no clock, entropy, disk or socket.
pub(super) const PURE: &[&str] =
    &["dunlin-api", "dunlin-link", "dunlin-coordinator-core", "dunlin-edge-node-core"];

const BANNED_IN_PURE: &[&str] = &["tokio", "quinn", "redb", "wasmtime"];

/// From each crate, the crates of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    // One grammar of the annotations about guests.
    ("dunlin-api", &["dunlin-link"]),
    ("dunlin-link", &[]),
    ("dunlin-compiler", &[]),
    ("dunlin-tunnel", &[]),
    ("dunlin-zstd", &[]),
    ("dunlin-registry", &["dunlin-link", "dunlin-zstd"]),
    ("dunlin-coordinator-core", &["dunlin-api", "dunlin-link"]),
    ("dunlin-edge-node-core", &["dunlin-link"]),
    (
        "dunlin-coordinator",
        &[
            "dunlin-api",
            "dunlin-link",
            "dunlin-coordinator-core",
            "dunlin-registry",
            "dunlin-tunnel",
            "dunlin-compiler",
        ],
    ),
    ("dunlin-wasm-host", &["dunlin-link"]),
    ("dunlin-container-log", &[]),
    ("dunlin-layers", &["dunlin-link", "dunlin-zstd"]),
    ("dunlin-pod-network", &["dunlin-link"]),
    // It speaks to agents, so it knows the messages, which are in the core. It removes what strangers filled as layers do.
    ("dunlin-oci-shim", &["dunlin-link", "dunlin-edge-node-core", "dunlin-container-log", "dunlin-layers"]),
    (
        "dunlin-edge-node",
        &[
            "dunlin-link",
            "dunlin-edge-node-core",
            "dunlin-registry",
            "dunlin-tunnel",
            "dunlin-compiler",
            "dunlin-wasm-host",
            "dunlin-container-log",
            "dunlin-layers",
            "dunlin-oci-shim",
            "dunlin-pod-network",
        ],
    ),
    (
        "dunlin",
        &[
            "dunlin-api",
            "dunlin-link",
            // Archives of images are read where they lie.
            "dunlin-registry",
            "dunlin-coordinator",
            "dunlin-edge-node",
            "dunlin-tunnel",
        ],
    ),
    (
        "dunlin-bench",
        &[
            "dunlin-api",
            "dunlin-link",
            "dunlin-coordinator",
            "dunlin-coordinator-core",
            "dunlin-edge-node",
            "dunlin-edge-node-core",
            "dunlin-tunnel",
            "dunlin-wasm-host",
        ],
    ),
    ("dunlin-sim", &["dunlin-api", "dunlin-link", "dunlin-coordinator-core", "dunlin-edge-node-core"]),
    ("xtask", &[]),
];

/// Dependencies that few crates may name, so that replacing one stays small.
const OWNERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["dunlin-wasm-host"]),
    ("wasmtime-wasi", &["dunlin-wasm-host"]),
    ("wasmtime-wasi-http", &["dunlin-wasm-host"]),
    ("oci-spec", &["dunlin-oci-shim"]),
    ("redb", &["dunlin-coordinator", "dunlin-edge-node"]),
    // The bench is a client of the API of its own, so that it measures no start of a program.
    ("quinn", &["dunlin", "dunlin-bench", "dunlin-coordinator", "dunlin-edge-node", "dunlin-tunnel"]),
    ("postcard", &["dunlin-link"]),
    ("anyhow", &["dunlin", "dunlin-bench", "xtask"]),
];
