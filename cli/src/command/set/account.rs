//! `set serviceaccount`: as whom pods ask the API.

use anyhow::Result;

use super::{Shared, template};
use crate::{failure::UsageError, session::Session};

/// Options of `set serviceaccount`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set serviceaccount deployment/web builder")]
pub(super) struct Args {
    /// TYPE NAME.. or TYPE/NAME.., then the service account.
    #[arg(value_name = "OBJECT|ACCOUNT", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Sets it.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let (account, objects) = match args.words.split_last() {
        Some((account, objects)) if !account.contains('/') => (account.as_str(), objects),
        _ => {
            return Err(UsageError("serviceaccount is required: name it after the objects".to_owned()).into());
        }
    };
    let change = |found: &_| {
        template::edit(found, |spec| {
            // The second is the older name, which the server keeps equal.
            spec["serviceAccountName"] = account.into();
            spec["serviceAccount"] = account.into();
            Ok(())
        })
    };
    args.shared.change(objects, "serviceaccount updated", change, session).await
}
