//! Contexts for a dev cluster: in this program's own configuration, and in kubectl's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dunlin_coordinator::{ClientAccess, Coordinator};

use super::Args;
use crate::{
    context::{
        self, NewContext,
        kube::{self, Merged, Select},
    },
    terminal,
};

/// What is done to kubectl's configuration. Contexts of others always stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KubeContext {
    /// Add the context, and select it if none is selected.
    Add,
    /// Add the context and select it.
    Select,
    /// Leave the file alone.
    None,
}

/// Writes the context into this program's own configuration, and selects it; answers the file.
///
/// # Errors
/// When there is no certificate, or the file cannot be written.
pub(super) fn select(coordinator: &Coordinator, client_config: Option<&Path>, name: &str) -> Result<PathBuf> {
    let access = coordinator.admin_access().context("cannot issue the client certificate")?;
    // kubectl can read it as well where both share a file.
    let shared = kube::files().contains(&context::own(client_config)?);
    let scheme = if shared { "https" } else { "quic" };
    context::install(client_config, new_context(&access, name, &format!("{scheme}://{}", access.address)))
}

/// Puts the context into kubectl's configuration. What keeps it from being there keeps no cluster from running.
pub(super) fn add_for_kubectl(coordinator: &Coordinator, args: &Args, own: &Path) -> Option<Merged> {
    let select = match args.kube_context {
        KubeContext::Add => Select::IfNoneIs,
        KubeContext::Select => Select::Always,
        KubeContext::None => return None,
    };
    let files = kube::files();
    if files.is_empty() || files.iter().any(|path| path == own) {
        return None;
    }
    let merged =
        coordinator.admin_access().context("cannot issue the client certificate").and_then(|access| {
            let server = format!("https://{}", access.address);
            kube::merge(&files, new_context(&access, &args.context_name, &server), select)
        });
    match merged {
        Ok(merged) => Some(merged),
        Err(error) => {
            terminal::warn(&format!("kubectl gets no context: {error:#}"));
            None
        }
    }
}

fn new_context<'a>(access: &'a ClientAccess, name: &'a str, server: &'a str) -> NewContext<'a> {
    NewContext {
        name,
        server,
        authority_pem: &access.ca_pem,
        certificate_pem: &access.credentials.certificate_pem,
        key_pem: &access.credentials.key_pem,
    }
}
