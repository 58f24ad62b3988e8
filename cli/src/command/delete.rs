//! `delete`: by name, by label, all of a type, or what manifests declare; then waits until the objects are gone.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::{
    api,
    document::{items, text},
    failure::{self, Failures, UsageError},
    manifest::{self, FileArgs},
    resource::{self, Kind},
    session::{self, Session},
    terminal,
};

use super::{create::DryRun, get::SelectArgs, target::Target};

/// Options of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin delete pod hello
  dunlin delete -f manifests/demo
  dunlin delete pods -l app=web --wait=false
  dunlin delete pod stuck --grace-period=0 --force")]
pub(crate) struct Args {
    /// TYPE NAME.., or TYPE/NAME..
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// All objects of the type in the namespace.
    #[arg(long)]
    all: bool,
    /// Seconds that a pod has to stop by itself; the default is the pod's own.
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u32>,
    /// Forget the object at once, without waiting until a node confirms; needs --grace-period=0.
    #[arg(long)]
    force: bool,
    /// Stop as soon as possible: --grace-period=1.
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// Wait until the objects are gone.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, require_equals = true)]
    wait: bool,
    /// How long to wait at most; 0 means as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "0")]
    timeout: Duration,
    /// What becomes of objects that these own.
    #[arg(long, value_enum, default_value = "background", num_args = 0..=1, default_missing_value = "background",
          require_equals = true)]
    cascade: Cascade,
    /// Take a missing object for success.
    #[arg(long)]
    ignore_not_found: bool,
    /// Only say what would happen.
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client",
          require_equals = true)]
    dry_run: DryRun,
}

/// What becomes of owned objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Cascade {
    /// Deleted afterwards.
    Background,
    /// Deleted first.
    Foreground,
    /// Left without an owner.
    Orphan,
}

/// An object that was deleted and may still be there for a while.
#[derive(Debug)]
pub(super) struct Leaving {
    path: String,
    uid: String,
    reference: String,
}

impl Leaving {
    /// What the answer to a deletion says of the object at `path`.
    pub(super) fn new(kind: &Kind, name: &str, path: String, answer: &Value) -> Self {
        // The answer is the object while it is still there, else a Status that says which it was.
        let uid = [text(answer, &["metadata", "uid"]), text(answer, &["details", "uid"])].concat();
        Self { path, uid, reference: resource::reference(kind, name) }
    }
}

/// Deletes every object named; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if args.force && args.grace_period.unwrap_or(0) != 0 {
        return Err(UsageError(
            "--force and --grace-period greater than 0 cannot be specified together".to_owned(),
        )
        .into());
    }
    let mut failures = Failures::default();
    let targets = targets(&args, &session, &mut failures).await?;
    if targets.is_empty() && failures.is_empty() {
        terminal::remark("No resources found");
    }
    if args.force {
        terminal::warn(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. \
             The resource may continue to run on the cluster indefinitely.",
        );
    }
    let mut leaving = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let deleted = delete(&args, target, &session).await;
        leaving.extend(failures.note_before(targets.len() - index - 1, deleted)?.flatten());
    }
    if args.wait && args.dry_run == DryRun::None {
        let start = Instant::now();
        for object in &leaving {
            failures.note(gone(object, args.timeout, start, &session).await)?;
        }
    }
    failures.into_result()
}

async fn targets(args: &Args, session: &Session, failures: &mut Failures) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    if !args.files.filenames.is_empty() {
        if !args.resources.is_empty() {
            return Err(UsageError("name either objects or files, not both".to_owned()).into());
        }
        let manifests = manifest::read(&args.files, session).await?;
        for manifest in manifests {
            targets.extend(failures.note(manifest)?.map(Target::from));
        }
        // Objects inside a namespace go before the namespace, or they would be gone by the time they are named.
        targets.reverse();
        return Ok(targets);
    }
    for selection in resource::resolve(&args.resources, &session.api).await? {
        if !selection.names.is_empty() {
            if args.all || args.select.selects() {
                return Err(
                    UsageError("name objects, or select them with -l or --all, not both".to_owned()).into()
                );
            }
            targets.extend(selection.names.into_iter().map(|name| Target {
                kind: selection.kind,
                namespace: session.namespace.clone(),
                name,
            }));
            continue;
        }
        if !args.all && !args.select.selects() {
            return Err(UsageError(
                "resource(s) were provided, but no name was specified; pass names, -l or --all".to_owned(),
            )
            .into());
        }
        let path = api::collection(selection.kind, args.select.namespace(session));
        let list = session.api.list(&path, &args.select.query()).await?;
        targets.extend(items(&list, &["items"]).iter().map(|object| Target {
            kind: selection.kind,
            namespace: text(object, &["metadata", "namespace"]).to_owned(),
            name: text(object, &["metadata", "name"]).to_owned(),
        }));
    }
    Ok(targets)
}

async fn delete(args: &Args, target: &Target, session: &Session) -> Result<Option<Leaving>> {
    let path = target.path();
    let answer = if args.dry_run == DryRun::Client {
        session.api.get(&path, &[]).await
    } else {
        let query: &[(&str, &str)] = if args.dry_run == DryRun::Server { &[("dryRun", "All")] } else { &[] };
        session.api.delete(&path, query, &options(args)).await
    };
    let answer = match answer {
        Err(error) if args.ignore_not_found && failure::is_reason(&error, "NotFound") => return Ok(None),
        other => other?,
    };
    let how = if args.force { "force deleted" } else { "deleted" };
    let place =
        if target.kind.namespaced { format!(" from {} namespace", target.namespace) } else { String::new() };
    let kind = resource::qualified_singular(target.kind);
    terminal::print(&format!("{kind} {:?} {how}{place}{}\n", target.name, args.dry_run.suffix()))?;
    Ok(Some(Leaving::new(target.kind, &target.name, path, &answer)))
}

fn options(args: &Args) -> Value {
    let policy = match args.cascade {
        Cascade::Background => "Background",
        Cascade::Foreground => "Foreground",
        Cascade::Orphan => "Orphan",
    };
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    let grace = if args.now { Some(1) } else { args.grace_period };
    // Zero means "at once, whatever still runs" and is meant only with --force; a lone zero becomes the shortest wait.
    let grace = match grace {
        Some(0) if !args.force => Some(1),
        None if args.force => Some(0),
        other => other,
    };
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = seconds.into();
    }
    options
}

/// Waits until the object is gone or is another one of the same name.
///
/// # Errors
/// When it is still there after `timeout`, if that is not zero, or cannot be asked for.
pub(super) async fn gone(
    object: &Leaving,
    timeout: Duration,
    start: Instant,
    session: &Session,
) -> Result<()> {
    loop {
        match session.api.get(&object.path, &[]).await {
            Err(error) if failure::is_reason(&error, "NotFound") => return Ok(()),
            Err(error) => {
                return Err(error.context(format!("cannot see whether {} is gone", object.reference)));
            }
            Ok(now) if text(&now, &["metadata", "uid"]) != object.uid => return Ok(()),
            Ok(now) => {
                if !timeout.is_zero() && start.elapsed() >= timeout {
                    return Err(still_there(&object.reference, &now));
                }
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn still_there(reference: &str, object: &Value) -> anyhow::Error {
    let finalizers: Vec<&str> =
        items(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str).collect();
    let why = match finalizers.as_slice() {
        [] => format!("`dunlin describe {reference}` shows what it waits for"),
        finalizers => format!("its finalizers {} keep it", finalizers.join(", ")),
    };
    anyhow!("timed out waiting for the condition on {reference}: {why}")
}

/// Answers come from the coordinator's memory, so that asking often is cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
