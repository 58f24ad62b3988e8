//! Source files: headers, names, imports, comments, and traces of somebody's machine.

use regex_lite::Regex;

use super::File;

/// Checks every tracked text file.
pub(super) fn check(files: &[File], findings: &mut Vec<String>) {
    let patterns = Patterns::compile();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if patterns.machine_path.is_match(line) {
                findings.push(format!("{}:{} names a path of some machine", file.path, number + 1));
            }
        }
        if file.path.ends_with(".rs") {
            check_rust(file, &patterns, findings);
        }
    }
    for (crate_dir, dependency, module) in ONE_MODULE {
        check_one_module(files, crate_dir, dependency, module, findings);
    }
}

fn check_rust(file: &File, patterns: &Patterns, findings: &mut Vec<String>) {
    let path = &file.path;
    if !file.text.starts_with("//!") {
        findings.push(format!("{path} does not open with `//!`"));
    }
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    if FORBIDDEN_MODULES.contains(&stem) {
        findings.push(format!("{path}: a module is named after what it is about, not `{stem}`"));
    }
    if is_crate_root(path) && !file.text.contains("(unsafe_code)") && !path.contains("wasm-host") {
        findings.push(format!("{path} lacks `#![forbid(unsafe_code)]`"));
    }
    for (number, line) in file.text.lines().enumerate() {
        if patterns.glob_use.is_match(line)
            && !matches!(line.trim(), "use super::*;" | "use proptest::prelude::*;")
        {
            findings.push(format!("{path}:{} imports a glob", number + 1));
        }
        if patterns.comment.captures(line).is_some_and(|found| !found[1].is_ascii()) {
            findings.push(format!("{path}:{} has a comment that is not ASCII", number + 1));
        }
    }
}

/// A heavy dependency is named in one module of a crate, a file and the folder of the same name.
fn check_one_module(files: &[File], dir: &str, dependency: &str, module: &str, findings: &mut Vec<String>) {
    let (own_file, own_dir) = (format!("{dir}/src/{module}.rs"), format!("{dir}/src/{module}/"));
    let named =
        Regex::new(&format!(r"\b{dependency}::")).expect("dependency names have no pattern characters");
    let others = files.iter().filter(|file| {
        file.path.starts_with(&format!("{dir}/src/"))
            && file.path.ends_with(".rs")
            && file.path != own_file
            && !file.path.starts_with(&own_dir)
    });
    for file in others {
        if file.text.lines().any(|line| !line.trim_start().starts_with("//") && named.is_match(line)) {
            findings.push(format!("{} names {dependency}, which belongs to {own_file}", file.path));
        }
    }
}

fn is_crate_root(path: &str) -> bool {
    !path.starts_with("workloads/")
        && !path.starts_with("fuzz/")
        && !path.starts_with("clients/")
        && (path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs"))
}

#[derive(Debug)]
struct Patterns {
    glob_use: Regex,
    comment: Regex,
    machine_path: Regex,
}

impl Patterns {
    fn compile() -> Self {
        let compile = |pattern: &str| Regex::new(pattern).expect("the patterns are constants and tested");
        Self {
            glob_use: compile(r"^\s*(pub(\([a-z ]+\))? )?use .*(::\*|\{\*|, \*)"),
            comment: compile(r"^\s*//(.*)$"),
            // Written with classes, so that this line does not find itself.
            machine_path: compile(r"(^|[^\w./-])/(hom[e]/\w|User[s]/\w|roo[t]/\w|wor[k]/)"),
        }
    }
}

/// Names that say nothing of what is inside.
const FORBIDDEN_MODULES: &[&str] = &["mod", "utils", "util", "common", "helpers", "types"];

/// Crate folder, dependency, and the one module that may name it.
const ONE_MODULE: &[(&str, &str, &str)] = &[
    ("cli", "quinn", "client"),
    ("coordinator", "quinn", "quic"),
    ("coordinator", "redb", "store"),
    ("edge-node", "quinn", "session"),
    ("edge-node", "redb", "local"),
    ("edge-node", "hyper", "prober"),
];

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&[File { path: path.to_owned(), text: text.to_owned() }], &mut findings);
        findings
    }

    #[test]
    fn what_is_found() {
        let check =
            |path: &str, text: &str, expected: &[&str]| assert_eq!(findings(path, text), expected, "{path}");
        check("a/src/x.rs", "//! x\n", &[]);
        check("a/src/x.rs", "// x\n", &["a/src/x.rs does not open with `//!`"]);
        check(
            "a/src/util.rs",
            "//! x\n",
            &["a/src/util.rs: a module is named after what it is about, not `util`"],
        );
        check("a/src/x.rs", "//! x\nuse a::*;\n", &["a/src/x.rs:2 imports a glob"]);
        check("a/src/x.rs", "//! x\nuse a::{b, c};\nlet x = a * b;\n", &[]);
        check("a/src/x.rs", "//! \u{2026}\n", &["a/src/x.rs:1 has a comment that is not ASCII"]);
        check("README.md", &format!("see /{}/x", "home"), &["README.md:1 names a path of some machine"]);
        check(
            "cli/src/x.rs",
            "//! x\nuse quinn::Endpoint;\n",
            &["cli/src/x.rs names quinn, which belongs to cli/src/client.rs"],
        );
        check("cli/src/client/x.rs", "//! x\nuse quinn::Endpoint;\n", &[]);
    }
}
