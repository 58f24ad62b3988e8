//! Member manifests and the clippy configuration of pure crates.

use super::{File, arrows};

/// Checks every manifest of the workspace.
pub(super) fn check(files: &[File], findings: &mut Vec<String>) {
    let content = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let root_clippy = content("clippy.toml").unwrap_or_default();
    for file in files.iter().filter(|file| is_member_manifest(&file.path)) {
        let path = &file.path;
        if !file.text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{path} lacks `[lints] workspace = true`"));
        }
        let name = file.text.lines().find_map(|line| line.strip_prefix("name = "));
        if arrows::PURE.contains(&name.unwrap_or_default().trim_matches('"')) {
            let clippy = path.replace("Cargo.toml", "clippy.toml");
            match content(&clippy) {
                None => {
                    findings.push(format!("{clippy} is missing; a pure crate bans clocks and disks there"))
                }
                Some(text) => repeats(root_clippy, &clippy, text, findings),
            }
        }
    }
    if let Some(config) = content(".cargo/config.toml")
        && (config.contains("[source") || config.contains("[registr"))
    {
        findings.push(".cargo/config.toml names a registry; that is each machine's own affair".to_owned());
    }
}

/// A folder's clippy.toml replaces the root's instead of adding to it, so it must hold every line of it.
fn repeats(root: &str, path: &str, text: &str, findings: &mut Vec<String>) {
    for line in root.lines().filter(|line| !line.trim().is_empty()) {
        if !text.lines().any(|own| own == line) {
            findings.push(format!("{path} does not repeat the root's `{}`", line.trim()));
        }
    }
}

/// Guests, fuzz targets and other people's clients are workspaces of their own.
fn is_member_manifest(path: &str) -> bool {
    path.ends_with("/Cargo.toml")
        && !["workloads/", "fuzz/", "clients/"].iter().any(|folder| path.starts_with(folder))
}
