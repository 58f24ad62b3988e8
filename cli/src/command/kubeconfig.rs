//! `kubeconfig`: the current context as kubectl and client libraries read it, over HTTPS; asks no coordinator.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    context::{self, NewContext},
    session::ConnectionArgs,
    terminal,
};

/// Options of `kubeconfig`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File to write the context into and select it there; everything else in it is kept. Without it the configuration is printed,
    /// with the client's key.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Address by which kubectl reaches the coordinator, when it is another than that of the context.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  dunlin kubeconfig -o ~/.kube/config     then: kubectl get nodes
  dunlin kubeconfig > cluster.kubeconfig  and: kubectl --kubeconfig cluster.kubeconfig get nodes";

/// Writes or prints the configuration.
///
/// # Errors
/// When there is no context, or the file is no configuration or cannot be written.
pub(crate) fn run(args: &Args, connection: &ConnectionArgs) -> Result<()> {
    let path = context::locate(connection.config.as_deref())?;
    let access = context::access(&context::load(&path)?, connection.context.as_deref())?;
    let server = format!("https://{}", args.server.as_deref().unwrap_or(&access.server));
    let text = |pem: &[u8]| String::from_utf8(pem.to_vec()).context("the context holds no PEM");
    let (authority, certificate, key) =
        (text(&access.authority_pem)?, text(&access.certificate_pem)?, text(&access.key_pem)?);
    let new = NewContext {
        name: &access.context,
        server: &server,
        authority_pem: &authority,
        certificate_pem: &certificate,
        key_pem: &key,
    };
    match &args.output {
        Some(path) => {
            let path = context::install(Some(path), new)?;
            terminal::remark(&format!("context \"{}\" selected in {}", access.context, path.display()));
        }
        None => terminal::print(&context::standalone(new)?)?,
    }
    Ok(())
}
