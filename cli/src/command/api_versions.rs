//! `api-versions`: the versions of all groups, as `apiVersion` spells them.

use anyhow::Result;

use crate::{
    document::{items, text},
    session::Session,
    terminal,
};

/// Options of `api-versions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints them, sorted.
pub(crate) async fn run(_args: Args, session: Session) -> Result<()> {
    let (core, groups) = session.api.discovery().await?;
    let mut versions = Vec::new();
    for group in items(&core, &["items"]).iter().chain(items(&groups, &["items"])) {
        let name = text(group, &["metadata", "name"]);
        for version in items(group, &["versions"]) {
            let version = text(version, &["version"]);
            versions.push(if name.is_empty() { version.to_owned() } else { format!("{name}/{version}") });
        }
    }
    versions.sort();
    Ok(terminal::print(&versions.into_iter().map(|version| version + "\n").collect::<String>())?)
}
