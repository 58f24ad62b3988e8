//! The dependency graph as built for Linux: sources, licences, and crates that come in two versions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{items, text};

/// Checks every package that is built for one target.
pub(super) fn check(metadata: &Value, findings: &mut Vec<String>) {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in items(metadata, "packages") {
        let (name, version) = (text(package, "name"), text(package, "version"));
        versions.entry(name).or_default().push(version);
        let Some(source) = package["source"].as_str() else { continue };
        if source != CRATES_IO {
            findings.push(format!("{name} {version} comes from {source}, not from crates.io"));
        }
        let licence = text(package, "license");
        if !allowed(licence) {
            findings.push(format!("{name} {version} has licence `{licence}`, which is not on the list"));
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        if !DUPLICATES.iter().any(|(known, _)| known == name) {
            findings.push(format!(
                "{name} comes in versions {}; agree on one, or list it with a reason in xtask/src/tidy/dependencies.rs",
                versions.join(" and ")
            ));
        }
    }
}

/// Whether an SPDX expression can be met with listed licences alone.
fn allowed(expression: &str) -> bool {
    // `/` is cargo's old way to write OR. No expression in use nests deeper than one pair of brackets.
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    flat.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates known to come in two versions, and who holds on to the older one.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "k8s-openapi is on 0.22"),
    ("chacha20", "hpke 0.13 is on 0.9, the rand 0.10 of quinn-proto on 0.10"),
    ("cpufeatures", "sha2 0.10 is on 0.2"),
    ("embedded-io", "postcard names both behind features; neither holds code that we use"),
    ("getrandom", "ring 0.17 is on 0.2, rand 0.9 on 0.3"),
    ("hashbrown", "gimli is on 0.16"),
    ("io-lifetimes", "fs-set-times is on 2"),
    ("rand", "ours is 0.9 as proptest's; quinn-proto and wasmtime-wasi are on 0.10"),
    ("rand_core", "follows rand"),
    ("syn", "build time only: many derive macros are still on 2"),
    ("synstructure", "build time only: follows syn"),
    ("thiserror", "build time only: witx is on 1"),
    ("thiserror-impl", "follows thiserror"),
    ("wasm-encoder", "wat is newer than the one wasmtime bundles"),
    ("wasmparser", "follows wasm-encoder"),
    ("wast", "build time only: witx is on 35"),
];

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions() {
        let check = |expression, expected| assert_eq!(allowed(expression), expected, "{expression}");
        check("MIT", true);
        check("MIT/Apache-2.0", true);
        check("Unlicense OR MIT", true);
        check("(Apache-2.0 OR MIT) AND BSD-3-Clause", true);
        check("GPL-3.0", false);
        check("MIT AND GPL-3.0", false);
        check("", false);
    }
}
