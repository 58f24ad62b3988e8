//! `node revoke` and `node replace`: a machine that must not be a node any more, and the one that comes after it.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::NODES;
use crate::{
    document::text,
    failure::Failures,
    session::{self, Session},
    terminal,
};

/// Options of `node revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(crate) struct RevokeArgs {
    /// Names as `node list` shows them.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

const REVOKE_EXAMPLES: &str = "\
The key of the node is refused from now on: its session ends, and it gets no assignment, module, certificate or answer of the API, nor
can it join again, whatever token it has. The machine itself is not reached: its pods go on where it is. The Node object stays and
says why it is not Ready; its pods are moved as those of any node that is gone.

To let a machine take its place use `dunlin node replace NAME`; to have no such node any more `dunlin delete node NAME`.

Examples:
  dunlin node revoke kiosk-7
  dunlin node revoke kiosk-7 kiosk-8";

/// Options of `node replace`.
#[derive(Debug, clap::Args)]
#[command(after_help = REPLACE_EXAMPLES)]
pub(crate) struct ReplaceArgs {
    /// Name as `node list` shows it.
    #[arg(value_name = "NAME")]
    name: String,
    /// How long the token can be used; 0 means for ever.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "24h")]
    ttl: Duration,
    /// Where the machine finds the coordinator, as HOST:PORT; the default is what the coordinator knows of itself.
    #[arg(long = "address", value_name = "HOST:PORT")]
    addresses: Vec<String>,
}

const REPLACE_EXAMPLES: &str = "\
Prints a token that is good for one machine and this name. The machine that joins with it gets the name and the pods of the node; from
that moment the old key is refused, as after `node revoke`. Until then nothing changes. It also lets a machine back in whose own key
was revoked, and it tells apart the copies of a cloned node: join the one that shall keep the name with it.

Examples:
  dunlin node replace kiosk-7
  dunlin edge-node --node-name kiosk-7 --join TOKEN      then, on the other machine";

/// Revokes each of them, and goes on after a failure.
pub(crate) async fn revoke(args: &RevokeArgs, session: Session) -> Result<()> {
    let mut failures = Failures::default();
    for name in &args.names {
        let answer = session.api.create(&format!("{NODES}/{name}/revoke"), &[], &json!({})).await;
        if let Some(answer) = failures.note(answer)? {
            let before = if answer["revoked"] == true { "" } else { " before" };
            terminal::print(&format!("node/{name} revoked{before}\n"))?;
        }
    }
    failures.into_result()
}

/// Prints the token on stdout, and what to do with it beside that.
pub(crate) async fn replace(args: &ReplaceArgs, session: Session) -> Result<()> {
    let ReplaceArgs { name, ttl, addresses } = args;
    let request = json!({
        "lifetimeSeconds": (!ttl.is_zero()).then_some(ttl.as_secs()),
        "addresses": (!addresses.is_empty()).then_some(addresses),
    });
    let answer = session.api.create(&format!("{NODES}/{name}/replace"), &[], &request).await?;
    terminal::print(&format!("{}\n", text(&answer, &["token"])))?;
    terminal::remark(&format!(
        "On the machine that takes its place: dunlin edge-node --node-name {name} --join TOKEN"
    ));
    Ok(())
}
