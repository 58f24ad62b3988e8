//! `autoscale`: an autoscaler of a workload.

use anyhow::{Result, bail};

use crate::{
    builder::autoscaler::Autoscaler,
    failure::{Failures, UsageError},
    resource,
    session::Session,
};

use super::{
    create::{OutputArgs, create_object, print_outcome},
    target::{self, Found, ObjectArgs, Unnamed},
};

/// Options of `autoscale`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin autoscale deployment/web --min=2 --max=10
  dunlin autoscale deployment/web --max=5 --cpu=80%           of what its pods ask for
  dunlin autoscale deployment/web --max=5 --memory=200Mi      in each pod")]
pub(crate) struct Args {
    /// TYPE NAME, or TYPE/NAME.
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    objects: ObjectArgs,
    /// Fewest pods; the coordinator's choice when it is left out or negative.
    #[arg(long, value_name = "COUNT", default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    min: i32,
    /// Most pods.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    max: u32,
    /// How much of a processor to aim at: a share of what pods ask for, as 70%, or an amount in each, as 500m.
    #[arg(long, value_name = "SHARE|AMOUNT")]
    cpu: Option<String>,
    /// The older name of `--cpu` for a share.
    #[arg(long, value_name = "PERCENT", hide = true, conflicts_with = "cpu", value_parser = clap::value_parser!(u16).range(1..))]
    cpu_percent: Option<u16>,
    /// How much memory to aim at, in the same way.
    #[arg(long, value_name = "SHARE|AMOUNT")]
    memory: Option<String>,
    /// Name of the autoscaler; that of the workload when it is left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Makes one for every workload named.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let all = target::found(&args.resources, &args.objects, Unnamed::Refused, &session).await?;
    if all.is_empty() {
        return Err(UsageError("no objects passed to autoscale".to_owned()).into());
    }
    let mut failures = Failures::default();
    for found in all {
        let Some(found) = failures.note(found)? else { continue };
        failures.note(autoscale(&args, &found, &session).await)?;
    }
    failures.into_result()
}

async fn autoscale(args: &Args, found: &Found, session: &Session) -> Result<()> {
    let target = &found.target;
    if target.kind.scale.is_none() {
        bail!("cannot autoscale a {}: the {} has no scale", target.kind.kind, target.reference());
    }
    let version = target.kind.api_version();
    let share = args.cpu_percent.map(|percent| format!("{percent}%"));
    let autoscaler = Autoscaler {
        name: args.name.as_deref().unwrap_or(&target.name),
        target: (&version, target.kind.kind, &target.name),
        min: u32::try_from(args.min).ok(),
        max: args.max,
        cpu: args.cpu.as_deref().or(share.as_deref()),
        memory: args.memory.as_deref(),
    };
    let kind = resource::find("horizontalpodautoscalers")?;
    let object = autoscaler.object()?;
    let created = create_object(kind, object, args.output.dry_run, "kubectl-autoscale", session).await?;
    print_outcome(&args.output, kind, &created, "autoscaled")
}
