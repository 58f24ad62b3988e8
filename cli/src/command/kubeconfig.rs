//! `kubeconfig`: a context as kubectl and client libraries read it, over HTTPS: the current one, for which no coordinator is asked, or
//! that of another user with a certificate of its own.

mod user;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    context::{self, Access, NewContext},
    session::{self, ConnectionArgs},
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
    /// Make a key and a certificate for this user, instead of using your own. It takes the right to approve certificates; roles say
    /// what the user may do.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A group of that user; may be given several times.
    #[arg(long, value_name = "NAME", requires = "user", value_delimiter = ',')]
    group: Vec<String>,
    /// How long the certificate lasts, from 10m to 8760h.
    #[arg(long, value_name = "TIME", requires = "user", value_parser = session::duration, default_value = "8760h")]
    expiry: Duration,
}

const EXAMPLES: &str = "\
Examples:
  dunlin kubeconfig -o ~/.kube/config     then: kubectl get nodes
  dunlin kubeconfig > cluster.kubeconfig  and: kubectl --kubeconfig cluster.kubeconfig get nodes
  dunlin kubeconfig --user jane --group dev --expiry 720h > jane.kubeconfig";

/// Writes or prints the configuration.
///
/// # Errors
/// When there is no context, the file is no configuration or cannot be written, or the user gets no certificate.
pub(crate) fn run(args: Args, connection: &ConnectionArgs) -> Result<()> {
    let path = context::locate(connection.config.as_deref())?;
    let access = context::access(&context::load(&path)?, connection.context.as_deref())?;
    let Some(user) = &args.user else { return write(&args, &access) };
    let new = user::NewUser { name: user.clone(), groups: args.group.clone(), expiry: args.expiry };
    session::run(connection, async move |session| {
        let issued = user::issue(&session, new).await?;
        write(
            &args,
            &Access {
                context: issued.context,
                certificate_pem: issued.certificate_pem,
                key_pem: issued.key_pem,
                ..access
            },
        )
    })
}

fn write(args: &Args, access: &Access) -> Result<()> {
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
