//! `scale`: how many pods a workload is to have.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::{
    api::Patch,
    document::text,
    failure::{self, Failures, UsageError},
    session::{self, Session},
    terminal::progress::Line,
};

use super::{
    create::{DryRun, OutputArgs, print_outcome},
    reasons,
    target::{self, Found, ObjectArgs, Unnamed},
};

/// Options of `scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin scale deployment/web --replicas=3
  dunlin scale deployment/web --current-replicas=2 --replicas=3     only if it has two now
  dunlin scale statefulset/db deployment/web --replicas=0
  dunlin scale deployment -l tier=web --replicas=5 --timeout=1m     and wait until they are there")]
pub(crate) struct Args {
    /// TYPE NAME.., or TYPE/NAME..
    #[arg(value_name = "RESOURCE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    objects: ObjectArgs,
    /// All objects of the type in the namespace.
    #[arg(long)]
    all: bool,
    /// How many pods.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    replicas: i64,
    /// Only if it is to have so many now; -1 means any number.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true)]
    current_replicas: i64,
    /// Only if the object is of this version.
    #[arg(long, value_name = "VERSION")]
    resource_version: Option<String>,
    /// Wait so long until the pods are there; 0 means not to wait.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "0")]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// Scales every object named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if args.replicas < 0 {
        let why = "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0";
        return Err(UsageError(why.to_owned()).into());
    }
    let unnamed = if args.all { Unnamed::All } else { Unnamed::Refused };
    let all = target::found(&args.resources, &args.objects, unnamed, &session).await?;
    if all.is_empty() {
        bail!("no objects passed to scale");
    }
    if all.len() > 1 && args.resource_version.is_some() {
        return Err(UsageError("cannot use --resource-version with multiple resources".to_owned()).into());
    }
    let mut failures = Failures::default();
    let mut untried = all.len();
    for found in all {
        untried -= 1;
        let Some(found) = failures.note(found)? else { continue };
        let scaled = scale(&args, &found, &session).await;
        if let Some(object) = failures.note_before(untried, scaled)? {
            failures.note(print_outcome(&args.output, found.target.kind, &object, "scaled"))?;
        }
    }
    failures.into_result()
}

async fn scale(args: &Args, found: &Found, session: &Session) -> Result<Value> {
    if args.output.dry_run == DryRun::Client {
        return Ok(found.object.clone());
    }
    let path = found.target.path_of(Some("scale"));
    let query = args.output.dry_run.query("kubectl-scale");
    if args.current_replicas < 0 && args.resource_version.is_none() {
        let patch = json!({"spec": {"replicas": args.replicas}});
        session.api.patch(&path, &query, Patch::Merge, &patch).await?;
    } else {
        set(args, &path, &query, session).await?;
    }
    if !args.timeout.is_zero() && !args.output.is_dry_run() {
        let late = |_| Err(anyhow!("timed out waiting for {:?} to be synced", found.target.name));
        tokio::time::timeout(args.timeout, wait(args, found, session)).await.unwrap_or_else(late)?;
    }
    match args.output.output {
        Some(_) if !args.output.is_dry_run() => session.api.get(&found.target.path(), &[]).await,
        _ => Ok(found.object.clone()),
    }
}

/// Sets the number if what was expected holds; a change by another in between is looked at again.
async fn set(args: &Args, path: &str, query: &[(&str, &str)], session: &Session) -> Result<()> {
    for _ in 0..CONFLICTS_MAX {
        let mut scale = session.api.get(path, &[]).await?;
        check(args, &scale)?;
        scale["spec"]["replicas"] = args.replicas.into();
        match session.api.replace(path, query, &scale).await {
            Err(error) if failure::is_reason(&error, "Conflict") && args.resource_version.is_none() => {}
            other => return other.map(|_| ()),
        }
    }
    Err(anyhow!("the object keeps being changed by others; try again"))
}

fn check(args: &Args, scale: &Value) -> Result<()> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if args.current_replicas >= 0 && replicas != args.current_replicas {
        bail!("Expected replicas to be {}, was {replicas}", args.current_replicas);
    }
    let version = text(scale, &["metadata", "resourceVersion"]);
    match &args.resource_version {
        Some(expected) if expected != version => {
            bail!("Expected resource version to be {expected}, was {version}")
        }
        _ => Ok(()),
    }
}

/// Until there are as many pods as are wanted.
async fn wait(args: &Args, found: &Found, session: &Session) -> Result<()> {
    let line = Line::start();
    loop {
        let scale = session.api.get(&found.target.path_of(Some("scale")), &[]).await?;
        let (wanted, there) =
            (scale["spec"]["replicas"].as_i64(), scale["status"]["replicas"].as_i64().unwrap_or(0));
        if wanted == Some(args.replicas) && there == args.replicas {
            return Ok(());
        }
        if line.is_shown() {
            let reasons = reasons::of(&found.object, session).await;
            line.say(
                &format!("{} has {there} of {} replicas", found.target.reference(), args.replicas),
                &reasons,
            );
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Retries against a controller that writes as often as we do.
const CONFLICTS_MAX: usize = 10;

/// Answers come from the coordinator's memory, so that asking often is cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
