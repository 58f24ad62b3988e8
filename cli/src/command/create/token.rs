//! `create token`: a token of a service account.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Format;
use crate::{
    api,
    document::{self, text},
    resource,
    session::{self, Session},
    terminal,
};

/// Options of `create token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create token builder
  dunlin create token builder --duration 10m --audience https://vault.example
  dunlin create token builder --bound-object-kind Pod --bound-object-name build-1")]
pub(crate) struct Args {
    /// The service account.
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// For whom the token is; may be repeated. The default is the API.
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    audience: Vec<String>,
    /// How long it should be good; the coordinator may decide otherwise.
    #[arg(long, value_name = "TIME", value_parser = session::duration)]
    duration: Option<Duration>,
    /// End the token with an object of this kind: Pod, Secret or Node.
    #[arg(long, value_name = "KIND", requires = "bound_object_name")]
    bound_object_kind: Option<String>,
    /// The object's name.
    #[arg(long, value_name = "NAME", requires = "bound_object_kind")]
    bound_object_name: Option<String>,
    /// The object's uid, if it has to be this one.
    #[arg(long, value_name = "UID", requires = "bound_object_kind")]
    bound_object_uid: Option<String>,
    /// Print the whole answer.
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let account = args.account.strip_prefix("serviceaccount/").unwrap_or(&args.account);
    let path =
        format!("{}/token", api::object(resource::find("serviceaccounts")?, &session.namespace, account));
    let mut spec = json!({"audiences": args.audience});
    if let Some(duration) = args.duration {
        spec["expirationSeconds"] = duration.as_secs().into();
    }
    if let (Some(kind), Some(name)) = (&args.bound_object_kind, &args.bound_object_name) {
        let uid = args.bound_object_uid.as_deref().unwrap_or_default();
        spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": uid});
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = session.api.create(&path, &[], &request).await?;
    let shown = match args.output {
        None | Some(Format::Name) => format!("{}\n", text(&answer, &["status", "token"])),
        Some(Format::Yaml) => document::yaml(&answer),
        Some(Format::Json) => document::json(&answer)?,
    };
    Ok(terminal::print(&shown)?)
}
