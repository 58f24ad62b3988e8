//! `set resources`: what containers ask for, and what they may use at most.

use anyhow::{Result, bail};
use dunlin_api::quantity::Quantity;

use super::{
    Shared,
    template::{self, is_meant},
};
use crate::{builder::comma_separated, document::text, failure::UsageError, session::Session};

/// Options of `set resources`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set resources deployment/web --limits=cpu=200m,memory=64Mi --requests=cpu=100m
  dunlin set resources deployment/web -c sidecar --limits=memory=32Mi")]
pub(super) struct Args {
    /// TYPE NAME.., or TYPE/NAME..
    #[arg(value_name = "RESOURCE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    /// Names of containers; `*` stands for any letters.
    #[arg(long, short, value_name = "NAME", default_value = "*")]
    containers: String,
    /// At most, as RESOURCE=AMOUNT,..
    #[arg(long, value_name = "AMOUNTS", default_value = "", hide_default_value = true)]
    limits: String,
    /// At least, as RESOURCE=AMOUNT,..
    #[arg(long, value_name = "AMOUNTS", default_value = "", hide_default_value = true)]
    requests: String,
    #[command(flatten)]
    shared: Shared,
}

/// Sets them.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let (limits, requests) = (amounts(&args.limits)?, amounts(&args.requests)?);
    if limits.is_empty() && requests.is_empty() {
        let why = "you must specify an update to requests or limits (in the form of --requests/--limits)";
        return Err(UsageError(why.to_owned()).into());
    }
    let change = |found: &_| {
        template::edit(found, |spec| {
            let mut count = 0;
            let meant = template::containers_mut(spec)
                .filter(|container| is_meant(&args.containers, text(container, &["name"])));
            for container in meant {
                count += 1;
                for (field, amounts) in [("limits", &limits), ("requests", &requests)] {
                    for (resource, amount) in amounts {
                        container["resources"][field][resource] = amount.as_str().into();
                    }
                }
            }
            if count == 0 {
                bail!("unable to find container named {}", args.containers);
            }
            Ok(())
        })
    };
    args.shared.change(&args.resources, "resource requirements updated", change, session).await
}

/// `RESOURCE=AMOUNT,..` as pairs, each amount as Kubernetes writes it, so that an equal one is no change.
fn amounts(text: &str) -> Result<Vec<(String, String)>, UsageError> {
    let one = |word: &str| match word.split_once('=') {
        Some((resource, amount)) if !resource.is_empty() => {
            let quantity: Quantity = amount
                .parse()
                .map_err(|error| UsageError(format!("{word:?} is no amount of a resource: {error}")))?;
            Ok((resource.to_owned(), quantity.to_string()))
        }
        _ => Err(UsageError(format!("Invalid argument syntax {word}, expected <resource>=<value>"))),
    };
    comma_separated(text).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::amounts;

    #[test]
    fn amounts_are_written_as_kubernetes_does() {
        let pair = |resource: &str, amount: &str| (resource.to_owned(), amount.to_owned());
        assert_eq!(amounts("cpu=0.2,memory=64Mi").unwrap(), [pair("cpu", "200m"), pair("memory", "64Mi")]);
        assert_eq!(
            amounts("cpu").unwrap_err().to_string(),
            "Invalid argument syntax cpu, expected <resource>=<value>"
        );
        assert!(amounts("cpu=x").is_err());
    }
}
