//! `set selector`: the labels by which a Service finds its pods.

use anyhow::{Result, bail};
use serde_json::json;

use super::{Changed, Shared, split};
use crate::{builder::selector, command::target::Found, failure::UsageError, merge, session::Session};

/// Options of `set selector`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set selector service/web app=web,tier=front")]
pub(super) struct Args {
    /// service NAME or service/NAME, then the labels: KEY=VALUE,..
    #[arg(value_name = "OBJECT|LABELS", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Sets it.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let is_selector = |word: &str| word.contains('=') || word.contains('(') || word.contains('!');
    let (objects, selectors) = split(&args.words, is_selector)?;
    let [text] = selectors else {
        return Err(UsageError("one selector is required: name it after the objects".to_owned()).into());
    };
    let selector = selector::object(text)?;
    if selector["matchExpressions"].is_array() {
        bail!("only labels of the form KEY=VALUE can be selected by here: {text:?}");
    }
    let labels = &selector["matchLabels"];
    let change = |found: &Found| {
        if found.target.kind.kind != "Service" {
            bail!("setting a selector is only supported for Services");
        }
        let mut object = found.object.clone();
        object["spec"]["selector"] = labels.clone();
        let patch = json!({"spec": {"selector": merge::patch(&found.object["spec"]["selector"], labels)}});
        Ok(Changed { object, patch: Some(patch) })
    };
    args.shared.change(objects, "selector updated", change, session).await
}
