//! `set`: a field of the pods that workloads make, or of a Service, without a manifest.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;

use crate::{
    api::Patch,
    failure::{Failures, UsageError},
    session::Session,
    terminal,
};

use super::{
    create::{DryRun, OutputArgs, print_outcome},
    target::{self, Found, ObjectArgs, Unnamed},
};

mod account;
mod env;
mod image;
mod resources;
mod selector;
mod template;

/// Options of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set image deployment/web web=dunlin.local/http-hello:2
  dunlin set resources deployment/web --limits=cpu=200m,memory=64Mi
  dunlin set env deployment/web MODE=fast OLD-
  dunlin set env deployment/web --from=configmap/settings
  dunlin set serviceaccount deployment/web builder")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set the images of containers.
    Image(image::Args),
    /// Set what containers ask for and may use.
    Resources(resources::Args),
    /// Set, remove and list variables of containers' environment.
    Env(env::Args),
    /// Set the service account of pods.
    #[command(name = "serviceaccount", visible_alias = "sa")]
    ServiceAccount(account::Args),
    /// Set the labels by which a Service finds its pods.
    Selector(selector::Args),
}

/// Which objects, and how to write them.
#[derive(Debug, clap::Args)]
struct Shared {
    #[command(flatten)]
    objects: ObjectArgs,
    /// All objects of the type in the namespace.
    #[arg(long)]
    all: bool,
    /// Name under which the changed fields are managed.
    #[arg(long, value_name = "NAME", default_value = "kubectl-set")]
    field_manager: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    match args.what {
        What::Image(args) => image::run(&args, &session).await,
        What::Resources(args) => resources::run(&args, &session).await,
        What::Env(args) => env::run(&args, &session).await,
        What::ServiceAccount(args) => account::run(&args, &session).await,
        What::Selector(args) => selector::run(&args, &session).await,
    }
}

/// What a change made of one object.
#[derive(Clone, Debug)]
struct Changed {
    /// The object with it.
    object: Value,
    /// The patch that makes it; `None` when nothing is different.
    patch: Option<Value>,
}

impl Shared {
    /// Reads the objects that words name.
    async fn found(&self, words: &[String], session: &Session) -> Result<Vec<Result<Found>>> {
        let unnamed = if self.all { Unnamed::All } else { Unnamed::Refused };
        target::found(words, &self.objects, unnamed, session).await
    }

    /// Changes every object named; one that fails does not stop the others. `what` tells what was done.
    async fn change(
        &self,
        words: &[String],
        what: &str,
        change: impl Fn(&Found) -> Result<Changed>,
        session: &Session,
    ) -> Result<()> {
        let mut failures = Failures::default();
        let all = self.found(words, session).await?;
        let mut untried = all.len();
        for found in all {
            untried -= 1;
            let Some(found) = failures.note(found)? else { continue };
            let written = match change(&found) {
                Ok(changed) => self.write(&found, changed, what, session).await,
                Err(error) => Err(error),
            };
            failures.note_before(untried, written)?;
        }
        failures.into_result()
    }

    async fn write(&self, found: &Found, changed: Changed, what: &str, session: &Session) -> Result<()> {
        let Some(patch) = changed.patch else {
            // As kubectl, which is silent of what is so already.
            return match self.output.output {
                Some(_) => print_outcome(&self.output, found.target.kind, &found.object, what),
                None => Ok(()),
            };
        };
        let object = match self.output.dry_run {
            DryRun::Client => changed.object,
            dry_run => {
                let query = dry_run.query(&self.field_manager);
                session.api.patch(&found.target.path(), &query, Patch::Strategic, &patch).await?
            }
        };
        print_outcome(&self.output, found.target.kind, &object, what)
    }
}

/// Divides words into those that name objects and those that change them, which come after.
fn split(words: &[String], is_change: impl Fn(&str) -> bool) -> Result<(&[String], &[String])> {
    let objects = words.iter().take_while(|word| !is_change(word)).count();
    let (objects, changes) = words.split_at(objects);
    match changes.iter().find(|word| !is_change(word)) {
        Some(word) => Err(UsageError(format!("{word:?} comes after a change; objects come first")).into()),
        None => Ok((objects, changes)),
    }
}

/// Says that an object has no container of that name.
fn without_match(found: &Found, containers: &str) {
    terminal::warn(&format!(
        "{}/{} does not have any containers matching {containers:?}",
        found.target.kind.kind, found.target.name
    ));
}
